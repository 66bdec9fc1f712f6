"""Cost of a run on a stack of 48 networks and 1,000 predictions beside the bare passes of the same programs.

    python -m benchmarks.bench_run [--work FOLDER] [--repeat 3] [--camvid FOLDER] [--only run,memory,compare,camvid]

Every figure is of a fresh process with all that it starts. Outside the clock: imports, torch's among them, and reading
suite and bundle. The bare passes decode the same pictures and call the same programs on the same batches with as many
threads, which wait as their library lets them, and keep nothing. The two sides of a ratio are measured in turns;
medians are told. Processor time counts where other work shares the machine; seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.stack import CHANGED, write_stack
from gate.cli.app import tuned

ROOT = Path(__file__).resolve().parents[1]
TICK = os.sysconf("SC_CLK_TCK")


def family(root: int) -> dict[int, list[str]]:
    """Process -> fields of its `stat` behind the name, of a process and all that it started."""
    found: dict[int, list[str]] = {}
    pending = [root]
    while pending:
        pid = pending.pop()
        try:
            found[pid] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            pending += [
                int(c) for task in Path(f"/proc/{pid}/task").glob("*/children") for c in task.read_text().split()
            ]
        except OSError:
            continue
    return found


def clock() -> tuple[float, float]:
    """Wall and processor seconds so far, of this process and all that it started, ended ones too."""
    ticks = sum(int(field) for fields in family(os.getpid()).values() for field in fields[11:15])
    return time.perf_counter(), ticks / TICK


class Spent:
    """Wall and processor seconds by name."""

    def __init__(self) -> None:
        self.by: dict[str, list[float]] = {}

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        wall, processor = clock()
        try:
            yield
        finally:
            now = clock()
            have = self.by.setdefault(name, [0.0, 0.0])
            have[0] += now[0] - wall
            have[1] += now[1] - processor


def bare(suite: Path, bundle: Path) -> Spent:
    """The programs in a plain loop over the decoded pictures, nothing kept. Networks that remember run as the engine
    must run them: one instant of sixteen clips at a time.
    """
    import numpy as np
    import torch
    import torch.export._trace
    import torch.export.pt2_archive

    from gate.bundle import read_bundle
    from gate.cores import cores
    from gate.run.partition import rounds_of, steps_of
    from gate.suite import read_suite
    from gate.suite.inputs import as_fed, read_inputs

    exam, made, spent = read_suite(suite), read_bundle(bundle), Spent()
    read_inputs(exam.inputs, exam.input_files, exam.root, exam.frames, np.arange(1))
    torch.set_num_threads(cores())
    torch.set_deterministic_debug_mode("warn")
    torch.utils.deterministic.fill_uninitialized_memory = False
    with spent.on("loading"):
        programs = {n.name: torch.export.load(io.BytesIO(n.program.read_bytes())) for n in made.networks}
        modules = {name: program.module() for name, program in programs.items()}

    def call(network: Any, given: dict[str, Any]) -> dict[str, Any]:
        said = modules[network.name](*(given[name] for name in programs[network.name].graph_signature.user_inputs))
        values = said if isinstance(said, tuple) else (said,)
        return {f"{network.name}.{head}": value for head, value in zip(network.heads, values, strict=True)}

    late = [n for n in made.networks if n.state or n.window]
    early = [n for n in made.networks if n not in late]
    sources = {source for n in late for name, source in n.inputs if name not in n.state}
    with torch.inference_mode(), spent.on("work"):
        for part in rounds_of(exam.frames):  # every clip has as many frames as a round has steps
            kept: dict[str, list[Any]] = {source: [] for source in sources}
            for rows in part.batches:
                with spent.on("decoding"):
                    read = read_inputs(exam.inputs, exam.input_files, exam.root, exam.frames, rows)
                now = {name: torch.from_numpy(as_fed(a)) for name, a in read.items()}
                for network in early:
                    now |= call(network, {name: now[source] for name, source in network.inputs})
                for source, values in kept.items():
                    values.append(now[source])
            past = {source: torch.cat(values) for source, values in kept.items()}
            memory = {n.name: torch.zeros(len(part.lengths), *_state(programs[n.name])) for n in late if n.state}
            windows: dict[str, Any] = {}
            for _, at in steps_of(part.lengths):
                now = {source: values[torch.from_numpy(at)] for source, values in past.items()}
                for network in late:
                    ((name, source),) = [pair for pair in network.inputs if pair[0] not in network.state]
                    if network.window:
                        here = now[source][:, None]
                        before = windows.get(name, here.repeat(1, network.window, 1))
                        windows[name] = torch.cat([before[:, 1:], here], 1)
                        call(network, {name: windows[name]})
                    else:
                        said = call(network, {name: now[source], "memory": memory[network.name]})
                        memory[network.name] = said[f"{network.name}.memory"]
    return spent


def _state(program: Any) -> tuple[int, ...]:
    (node,) = [n for n in program.graph.nodes if n.name == "memory"]
    return tuple(node.meta["val"].shape[1:])


def product(suite: Path, bundle: Path, store: Path | None, against: Path | None = None) -> Spent:
    """`gate.run.run`; against: only the judged heads that the change from this bundle can reach."""
    import numpy as np
    import safetensors.numpy  # noqa: F401

    from gate.bundle import impact_of, read_bundle
    from gate.run import outputs_of, process, run, session
    from gate.run.store import open_store
    from gate.suite import read_suite
    from gate.suite.inputs import read_inputs

    exam, made, spent = read_suite(suite), read_bundle(bundle), Spent()
    read_inputs(exam.inputs, exam.input_files, exam.root, exam.frames, np.arange(1))  # imports what decodes
    kept = open_store(store, print, required=True) if store else None
    process.end(process.start())  # its imports are torch's
    plain = session.load

    def timed(*given: Any) -> str:
        with spent.on("loading"):
            return plain(*given)

    session.load = timed  # type: ignore[assignment]
    with spent.on("work"):
        heads = None
        if against is not None:
            impact = impact_of(read_bundle(against), made)
            heads = [h.name for h in exam.heads if not all(impact.is_identical(o) for o in outputs_of(h))]
        answers = run(made, exam, heads, store=kept)
    assert not answers.faults()
    return spent


def command(*given: str) -> Spent:
    """A command line of gate, imports and all."""
    spent = Spent()
    with spent.on("work"):
        done = subprocess.run([sys.executable, "-m", "gate", *given], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1, 3), done.stderr
    return spent


def measured(mode: str, *given: Path | str) -> dict[str, Any]:
    """What a fresh process spent, and the peak of what all its processes need of memory, MB; shared pages count once.

    Pages of files are not counted, the libraries' nor those of evidence that waits: the system takes them back when it
    wants to, and how much of them is whose hangs on who else has them open.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bench_run", "--mode", mode, *map(str, given)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_needed_kb, family(process.pid))))
        time.sleep(0.2)
    assert process.stdout is not None
    if process.returncode:
        raise SystemExit(f"{mode} failed")
    return json.loads(process.stdout.read().splitlines()[-1]) | {"peak_mb": peak / 1024}


def _needed_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def one(mode: str, given: list[str]) -> None:
    """A measurement, in its own process."""
    tuned()
    paths = [Path(text) if text != "-" else None for text in given]
    work: dict[str, Callable[[], Spent]] = {
        "bare": lambda: bare(*paths),  # type: ignore[arg-type]
        "product": lambda: product(*paths),  # type: ignore[arg-type]
        "command": lambda: command(*given),
    }
    print(json.dumps(work[mode]().by))


class Table:
    """Rows of medians, and of the medians of ratios that were taken in turns."""

    def __init__(self, rounds: list[dict[str, dict[str, Any]]]) -> None:
        self.rounds = rounds

    def seconds(self, name: str, part: str = "work", kind: int = 1) -> float:
        return statistics.median(r[name].get(part, [0.0, 0.0])[kind] for r in self.rounds)

    def ratio(self, top: str, bottom: str, kind: int, *, apart: str = "") -> float:
        """Work of one over work of another; apart: what is taken off the work of both."""

        def work(row: dict[str, Any]) -> float:
            return row["work"][kind] - (row.get(apart, [0.0, 0.0])[kind] if row is not None else 0.0)

        return statistics.median(work(r[top]) / work(r[bottom]) for r in self.rounds)

    def row(self, text: str, name: str, part: str = "work") -> None:
        wall, processor = self.seconds(name, part, 0), self.seconds(name, part)
        peak = statistics.median(r[name]["peak_mb"] for r in self.rounds)
        print(f"{text:58}{wall:9.2f}{processor:9.2f}" + (f"{peak:9.0f}" if part == "work" else ""))


def heading(text: str) -> None:
    print(f"\n{text:58}{'wall s':>9}{'proc. s':>9}{'peak MB':>9}")


def told(text: str, by_wall: float, by_processor: float, aim: str) -> None:
    print(f"{text:58}{by_wall:9.4f}{by_processor:9.4f}  aim {aim}")


def runs(work: Path, repeat: int) -> None:
    """Full run, second run, and one network changed, beside the bare passes."""
    rounds = []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) / "store"
            rounds.append(
                {
                    "bare": measured("bare", work / "suite", work / "old"),
                    "full": measured("product", work / "suite", work / "old", store),
                    "second": measured("product", work / "suite", work / "old", store),
                    "changed": measured("product", work / "suite", work / "new", store),
                }
            )
    table = Table(rounds)
    heading("48 networks, 1,000 predictions, 768 frames of 8 cameras")
    table.row("bare passes with decoding", "bare")
    table.row("  of which decoding", "bare", "decoding")
    table.row("  loading all programs, besides", "bare", "loading")
    table.row("full run", "full")
    table.row("  of which loading all programs", "full", "loading")
    table.row("second run", "second")
    table.row(f"one network of 48 changed ({CHANGED}, with its trunk)", "changed")
    for r in rounds:
        r["bare whole"] = {"work": [a + b for a, b in zip(r["bare"]["work"], r["bare"]["loading"], strict=True)]}
        r["full at work"] = {"work": [a - b for a, b in zip(r["full"]["work"], r["full"]["loading"], strict=True)]}
    print(f"\n{'':58}{'wall':>9}{'proc.':>9}")
    pairs = [
        ("full run / bare, loading apart", "full at work", "bare", "1.10"),
        ("full run / bare, loading in both", "full", "bare whole", "1.10"),
        ("second run / full run", "second", "full", "0.02"),
        ("one network changed / full run", "changed", "full", "0.05"),
    ]
    for text, top, bottom, aim in pairs:
        told(text, table.ratio(top, bottom, 0), table.ratio(top, bottom, 1), aim)


def memory(work: Path) -> None:
    """Peaks of a full run on 256 frames and on eight times as many."""
    rounds = [{name: measured("product", work / name, work / "old", "-") for name in ("short", "long")}]
    heading("memory of all processes")
    table = Table(rounds)
    table.row("256 frames (16 clips)", "short")
    table.row("2,048 frames (128 clips)", "long")


def comparisons(work: Path, repeat: int) -> None:
    """`gate compare`, as it is called: imports, contracts, statistics and report too."""
    rounds = []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            places = ["--suite", str(work / "suite"), "--policy", str(work / "policy.toml")]
            places += ["--out", f"{folder}/out", "--store", f"{folder}/store"]
            alone = measured("command", "run", str(work / "old"), *places[:2], "--out", f"{folder}/alone", *places[-2:])
            given = ["compare", str(work / "old"), str(work / "new"), *places]
            changed, second = (measured("command", *given) for _ in range(2))
            shutil.rmtree(f"{folder}/store")
            first = measured("command", *given)
            rounds.append({"alone": alone, "first": first, "second": second, "changed": changed})
    table = Table(rounds)
    heading("gate compare old new, whole")
    table.row("first: nothing is in the store", "first")
    table.row("the incumbent is in the store, one network changed", "changed")
    table.row("second: all is in the store", "second")


def camvid(folder: Path, repeat: int) -> None:
    """A bundle in which one head changed: the full pass beside what the change can reach."""
    if not (folder / "suite.toml").is_file():
        print(f"\nskipped: there is no CamVid suite at {folder}")
        return
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(shutil.copytree(folder, Path(temporary) / "camvid", copy_function=shutil.copyfile))
        copy.chmod(0o755)  # the original may be read-only
        subprocess.run([sys.executable, "-m", "gate", "suite", "freeze", str(copy)], check=True, capture_output=True)
        bundles = copy / "bundles"
        rounds = [
            {
                "full": measured("product", copy, bundles / "bad_head", "-"),
                "head": measured("product", copy, bundles / "bad_head", "-", bundles / "incumbent"),
            }
            for _ in range(repeat)
        ]
    table = Table(rounds)
    heading("CamVid, one head of nine changed")
    table.row("full run", "full")
    table.row("only what the change reaches", "head")
    told("changed head / full run", table.ratio("head", "full", 0), table.ratio("head", "full", 1), "none")


def main() -> None:
    if sys.argv[1:2] == ["--mode"]:
        one(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "gate-stack")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--camvid", type=Path, default=ROOT.parent / "shared" / "camvid")
    parser.add_argument("--only", default="run,memory,compare,camvid")
    args = parser.parse_args()
    write_stack(args.work)
    work = args.work.resolve()
    parts: dict[str, Callable[[], None]] = {
        "run": lambda: runs(work, args.repeat),
        "memory": lambda: memory(work),
        "compare": lambda: comparisons(work, args.repeat),
        "camvid": lambda: camvid(args.camvid, args.repeat),
    }
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name in args.only.split(","):
        parts[name]()


if __name__ == "__main__":
    main()
