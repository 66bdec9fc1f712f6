"""What a change cannot reach is not run and not tested, what it can reach is; and the claim is checked on frames."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gate import changed
from gate.bundle import Bundle, Impact, Network, digests_of, impact_of, read_bundle, scanned
from gate.errors import BundleError, LockError, RefusedError
from gate.judge import Decision
from gate.pipeline import Result, compare_bundles
from gate.run import Store, Watch, local, open_store, partition, program, run, session, stack, watched
from gate.run.resume import made_by
from gate.run.signature import Forward
from gate.suite import read_suite
from tests.support.hydra import archive, edited, nodes_of
from tests.support.processes import kill
from tests.support.tiny import IMAGE, POLICY, SUITE, World, gate, refreeze, with_images

HEADS = ("sign", "range", "spare")


class Signs(nn.Module):
    """Two judged heads and a spare one on a shared gain; each head has a weight of its own."""

    def __init__(self, heads: Collection[str] = HEADS, gain: float = 8.0, **own: float) -> None:
        super().__init__()
        self.names = tuple(heads)
        self.gain = nn.Parameter(torch.tensor(gain))
        self.own = nn.ParameterDict({name: nn.Parameter(torch.tensor(own.get(name, 0.0))) for name in heads})

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        seen = (image.mean((2, 3)) - 0.5) * self.gain
        answers = {name: seen[:, :2] + weight for name, weight in self.own.items()}
        return {name: values[:, :1] if name == "range" else values for name, values in answers.items()}


def _from_elsewhere(document: dict[str, Any]) -> None:
    for node in nodes_of(document):
        node["metadata"] = {"stack_trace": "another file"}


@pytest.fixture(scope="module")
def programs() -> dict[str, bytes]:
    return {
        "old": archive(Signs()),
        "again": edited(archive(Signs()), _from_elsewhere),
        "range": archive(Signs(range=0.5)),
        "gain": archive(Signs(gain=7.0)),
    }


@pytest.fixture
def exam(small_world: World, tmp_path: Path) -> Path:
    """A suite that judges `cam.sign` and `cam.range` from pictures."""
    folder = with_images(tmp_path / "suite", small_world, freeze=False)
    sign, _, distance = SUITE.split("[[heads]]")[1:]
    (folder / "suite.toml").write_text("[[heads]]".join([SUITE.split("[[heads]]")[0], sign, distance]) + IMAGE)
    (folder / "policy.toml").write_text(POLICY + '\n[[rules]]\nmatch = "cam.spare"\ntier = "advisory"\n')
    refreeze(folder)
    return folder


def bundle(folder: Path, cam: bytes, *, heads: Collection[str] = HEADS, **more: bytes) -> Path:
    """Networks by name; `cam` has the named heads, the others read `cam.sign` and have one head `out`."""
    folder.mkdir(parents=True)
    text = '[bundle]\nname = "tiny"\nversion = "1"\n'
    for name, data in {"cam": cam, **more}.items():
        (folder / f"{name}.pt2").write_bytes(data)
        fed = 'image = "image"' if name == "cam" else 'signs = "cam.sign"'
        names = ", ".join(f'"{h}"' for h in (heads if name == "cam" else ("out",)))
        text += f'\n[networks.{name}]\nprogram = "{name}.pt2"\ninputs = {{ {fed} }}\nheads = [{names}]\n'
    (folder / "bundle.toml").write_text(text)
    return folder


def impact(old: Path, new: Path) -> Impact:
    return impact_of(read_bundle(old), read_bundle(new))


class Reader(nn.Module):
    def forward(self, signs: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": signs.sum(1, keepdim=True) * 3}


# Across networks


def test_a_head_reaches_the_networks_that_read_it_and_no_other_head_does(
    programs: Mapping[str, bytes], tmp_path: Path
) -> None:
    top = archive(Reader(), (2,))
    old = bundle(tmp_path / "old", programs["old"], top=top)
    other_head, trunk = (bundle(tmp_path / n, programs[n], top=top) for n in ("range", "gain"))
    found = impact(old, other_head)
    assert set(found.reached) == {"cam.range"}
    assert set(found.identical) == {"cam.sign", "cam.spare", "top.out"}
    found = impact(old, trunk)
    assert set(found.reached) == {"cam.sign", "cam.range", "cam.spare", "top.out"}
    assert ("upstream", ("cam.sign",), ("top.out",)) in [(c.kind, c.names, c.heads) for c in found.causes]


def test_heads_that_come_and_go_and_networks_that_are_fed_otherwise(
    programs: Mapping[str, bytes], tmp_path: Path
) -> None:
    old = bundle(tmp_path / "old", programs["old"], top=archive(Reader(), (2,)))
    fewer = bundle(tmp_path / "new", archive(Signs(("sign", "extra"))), heads=("sign", "extra"))
    found = impact(old, fewer)
    assert (found.identical, found.added) == (("cam.sign",), ("cam.extra",))
    assert set(found.removed) == {"cam.range", "cam.spare", "top.out"}
    other = bundle(tmp_path / "other", programs["old"], top=archive(Reader(), (2,)))
    (other / "bundle.toml").write_text((other / "bundle.toml").read_text().replace("cam.sign", "cam.spare"))
    found = impact(old, other)
    assert found.reached == ("top.out",)
    assert [c.kind for c in found.causes] == ["wiring"]


def test_a_digest_of_an_output_is_the_same_whoever_asks_and_wherever_the_bundle_lies(
    programs: Mapping[str, bytes], tmp_path: Path
) -> None:
    wanted = ["cam.sign", "cam.range"]
    old, range_ = (digests_of(read_bundle(bundle(tmp_path / n, programs[n])), wanted) for n in ("old", "range"))
    again = digests_of(read_bundle(bundle(tmp_path / "deeper" / "again", programs["again"])), wanted)
    assert old == again
    assert old["cam.sign"] == range_["cam.sign"]
    assert old["cam.range"] != range_["cam.range"]


# The command


def test_bundle_diff_says_what_is_reached_and_why(programs: Mapping[str, bytes], tmp_path: Path) -> None:
    bundle(tmp_path / "old", programs["old"])
    bundle(tmp_path / "new", programs["gain"])
    bundle(tmp_path / "one", programs["range"])
    ended = gate("bundle", "diff", "old", "new", cwd=tmp_path)
    assert (ended.code, ended.made) == (0, ())
    assert "The change reaches 3 of 3 heads; 0 are identical." in ended.out
    assert "trunk of cam: weights of gain differ (gain)\n  reaches 3 of 3 heads" in ended.out
    ended = gate("bundle", "diff", "old", "one", cwd=tmp_path)
    assert "The change reaches 1 of 3 heads; 2 are identical." in ended.out
    assert "cam.range: weights of own differ (own.range)\n  reaches 1 of 3 heads: cam.range" in ended.out
    told = json.loads(gate("bundle", "diff", "old", "one", "--json", cwd=tmp_path).out)
    assert told["schema"] == "gate.impact/1"
    assert {h["head"]: h["impact"] for h in told["heads"]} == {
        "cam.sign": "identical",
        "cam.range": "reached",
        "cam.spare": "identical",
    }
    assert told["causes"] == [
        {"network": "cam", "kind": "weights", "names": ["own.range"], "heads": ["cam.range"]},
    ]


def test_bundle_diff_names_the_first_node_that_differs(programs: Mapping[str, bytes], tmp_path: Path) -> None:
    class Wider(Signs):
        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            answers = super().forward(image)
            return {**answers, "range": answers["range"].tanh()}

    bundle(tmp_path / "old", programs["old"])
    bundle(tmp_path / "new", archive(Wider()))
    ended = gate("bundle", "diff", "old", "new", cwd=tmp_path)
    assert "cam.range: the program differs from node tanh (aten.tanh.default) on" in ended.out


def test_a_weight_that_only_goes_by_another_name_is_no_cause(programs: Mapping[str, bytes], tmp_path: Path) -> None:
    class Renamed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inner = Signs()
            self.names, self.strength, self.each = inner.names, inner.gain, inner.own

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            seen = (image.mean((2, 3)) - 0.5) * self.strength
            answers = {name: seen[:, :2] + weight for name, weight in self.each.items()}
            return {**answers, "range": answers["range"][:, :1].tanh()}

    found = impact(bundle(tmp_path / "old", programs["old"]), bundle(tmp_path / "new", archive(Renamed())))
    assert found.reached == ("cam.range",)
    assert [(c.kind, c.names) for c in found.causes] == [("program", ("tanh (aten.tanh.default)",))]


class Stairs(nn.Module):
    """Head k adds the first k + 1 weights."""

    def __init__(self, count: int, by: float) -> None:
        super().__init__()
        self.steps = nn.ParameterList([torch.tensor(k + by) for k in range(count)])

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        seen, answers = image.mean((2, 3)), {}
        for k, step in enumerate(self.steps):
            seen = seen + step
            answers[f"h{k}"] = seen
        return answers


def test_weights_that_reach_very_many_heads_each_are_told_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = [f"h{k}" for k in range(4)]
    both = [bundle(tmp_path / str(by), archive(Stairs(4, by)), heads=heads) for by in (0.0, 0.5)]
    found = impact(*both).causes
    assert [(c.names, len(c.heads)) for c in found] == [((f"steps.{k}",), 4 - k) for k in range(4)]
    monkeypatch.setattr("gate.bundle.impact.MAX_TOLD", 9)
    (together,) = impact(*both).causes
    assert together.names == tuple(f"steps.{k}" for k in range(4))
    assert together.heads == tuple(f"cam.{head}" for head in heads)


def test_equal_programs_that_are_fed_the_same_are_opened_once(
    programs: Mapping[str, bytes], tmp_path: Path, opened: list[str]
) -> None:
    top, other = archive(Reader(), (2,)), edited(archive(Reader(), (2,)), _from_elsewhere)
    old = bundle(tmp_path / "old", programs["old"], top=top, more=top)
    found = impact(old, bundle(tmp_path / "new", programs["range"], top=other, more=other))
    assert opened == ["cam", "top", "cam", "top"]  # `more` is equal to `top`
    assert found.reached == ("cam.range",)


def test_bundle_diff_imports_neither_torch_nor_numbers(programs: Mapping[str, bytes], tmp_path: Path) -> None:
    bundle(tmp_path / "old", programs["old"])
    bundle(tmp_path / "new", programs["range"])
    code = (
        "import sys\nsys.argv = ['gate', 'bundle', 'diff', 'old', 'new']\nfrom gate.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code)\n"
        "print([m for m in ('torch', 'pandas', 'sklearn', 'great_expectations') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "[]"]


def test_bundle_show_prints_a_digest_for_each_head(programs: Mapping[str, bytes], tmp_path: Path) -> None:
    folder = bundle(tmp_path / "old", programs["old"])
    shown = gate("bundle", "show", "old", cwd=tmp_path).out
    for output, made in digests_of(read_bundle(folder), [f"cam.{h}" for h in HEADS]).items():
        (line,) = (line for line in shown.splitlines() if line.split()[:1] == [output])
        assert line.endswith(f" {made[:12]}")


# What is run


def compared(old: Path, new: Path, exam: Path, lines: list[str] | None = None, store: Store | None = None) -> Result:
    return compare_bundles(
        old,
        new,
        suite=exam,
        policy=exam / "policy.toml",
        thresholds=exam / "none",
        store=store,
        tell=(lines if lines is not None else []).append,
    )


@pytest.mark.usefixtures("without_contract_worker")
def test_only_the_reached_head_runs_and_the_decision_is_that_of_a_full_run(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bundle(tmp_path / "old", programs["old"]), bundle(tmp_path / "new", programs["range"])
    lines: list[str] = []
    part = compared(old, new, exam, lines)
    assert lines == [
        "candidate: ran 1 of 3 heads (cam.range); 2 identical by construction, "
        "1 of these compared bit for bit on a batch of frames"
    ]
    everything = Impact((), ("cam.sign", "cam.range", "cam.spare"), (), (), ("cam",), ())
    monkeypatch.setattr("gate.pipeline.impact_of", lambda old, new: everything)
    whole = compared(old, new, exam)
    cells = {(c.prediction, c.metric, c.slice): c for c in part.decision.cells}
    assert {c.impact for c in whole.decision.cells} == {"reached"}
    for cell in whole.decision.cells:
        same = cells[cell.prediction, cell.metric, cell.slice]
        assert same.impact == ("reached" if cell.prediction == "cam.range" else "identical")
        if cell.prediction == "cam.range":
            assert replace(same, p_adjusted=None) == replace(cell, p_adjusted=None)
        elif cell.delta is not None:  # an identical head needs no floor of evidence, one that was run does
            assert (same.incumbent, same.candidate, same.delta) == (cell.incumbent, cell.candidate, cell.delta)
    assert part.decision.networks[0].impact == "reached"


@pytest.mark.usefixtures("without_contract_worker")
def test_what_a_store_has_noted_of_unreached_heads_changes_nothing_and_serves_the_next_candidate(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path
) -> None:
    old, new = bundle(tmp_path / "old", programs["old"]), bundle(tmp_path / "new", programs["range"])
    plain, store = compared(old, new, exam).decision, open_store(tmp_path / "kept", print, required=True)
    assert plain.probabilities
    assert [compared(old, new, exam, store=store).decision for _ in range(2)] == [plain, plain]

    def about_cells() -> set[str]:
        answers = [json.loads(path.read_text())["answer"] for path in (store.root / "notes").iterdir()]
        return {answer for answer in answers if isinstance(answer, str) and len(answer) > 64}

    noted = about_cells()
    assert len(noted) == 2, "of one network: what is judged, and losses of its probabilities"
    third = bundle(tmp_path / "third", archive(Signs(range=0.9)))
    assert compared(old, third, exam, store=store).decision == compared(old, third, exam).decision
    assert about_cells() == noted


@pytest.mark.usefixtures("without_contract_worker")
def test_a_release_that_was_only_exported_anew_answers_one_batch_and_is_identical(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bundle(tmp_path / "old", programs["old"]), bundle(tmp_path / "new", programs["again"])
    frames: list[int] = []
    ask = session.ask

    def counted(worker: Any, about: Any, inputs: Any, counts: list[int], *more: Any) -> Any:
        frames.extend(counts)
        return ask(worker, about, inputs, counts, *more)

    monkeypatch.setattr(session, "ask", counted)
    lines: list[str] = []
    result = compared(old, new, exam, lines)
    assert "candidate: ran 0 of 3 heads; 3 identical by construction, 2 of these compared" in lines[0]
    assert {c.impact for c in result.decision.cells} == {"identical"}
    assert result.decision.networks[0].impact == "identical"
    once = frames.copy()
    frames.clear()
    run(read_bundle(old), read_suite(exam))
    # The whole programs of the candidate ran on one batch, and the incumbent on all of them.
    assert sum(once) - sum(frames) <= 2 * partition.BATCH


@pytest.mark.usefixtures("without_contract_worker")
def test_equal_bytes_load_no_program_of_the_candidate(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bundle(tmp_path / "old", programs["old"]), bundle(tmp_path / "new", programs["old"])
    loaded: list[Path] = []
    load = session.load
    monkeypatch.setattr(session, "load", lambda worker, n, shapes: loaded.append(n.program) or load(worker, n, shapes))
    compared(old, new, exam)
    assert loaded == [old / "cam.pt2"]


@pytest.mark.usefixtures("without_contract_worker")
def test_a_false_claim_of_identity_breaks_its_predictions_and_everything_runs(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bundle(tmp_path / "old", programs["old"]), bundle(tmp_path / "new", programs["range"])
    lie = replace(impact(old, new), identical=("cam.sign", "cam.range", "cam.spare"), reached=())
    monkeypatch.setattr("gate.pipeline.impact_of", lambda old, new: lie)
    lines: list[str] = []
    decision = compared(old, new, exam, lines).decision
    assert decision.decision == "NO-GO"
    cells = [c for c in decision.cells if c.slice == "all"]
    assert {(c.prediction, c.verdict) for c in cells if c.verdict == "broken"} == {("cam.range", "broken")}
    (reason,) = {c.reason for c in cells if c.prediction == "cam.range"}
    assert "not equal bit for bit in the spot check on frames f00" in reason
    assert {c.impact for c in decision.cells} == {"reached"}
    assert "cam.range differ, so nothing is taken to be identical and all heads ran" in lines[0]


@pytest.mark.usefixtures("without_contract_worker")
def test_a_difference_in_the_last_bit_is_seen_by_the_spot_check(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path
) -> None:
    nearly = archive(Signs(gain=float(np.nextafter(np.float32(8), np.float32(9)))))
    suite, watch = read_suite(exam), Watch(1, frozenset({"cam.sign"}))
    first, again, other = (
        watched(read_bundle(bundle(tmp_path / name, data)), suite, watch)["cam.sign"]
        for name, data in (("a", programs["old"]), ("b", programs["again"]), ("c", nearly))
    )
    assert first == again
    assert first != other


def blamed(decision: Decision) -> set[str]:
    return {c.prediction for c in decision.cells if c.verdict == "broken"}


@pytest.mark.usefixtures("without_contract_worker")
def test_a_false_claim_about_what_a_second_stage_reads_is_seen_there(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Second(nn.Module):
        def forward(self, signs: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"out": signs * 1.0}

    for name in ("suite.toml", "policy.toml"):
        (exam / name).write_text((exam / name).read_text().replace("cam.sign", "top.out"))
    refreeze(exam)
    top = archive(Second(), (2,))
    old, new = (bundle(tmp_path / k, programs[p], top=top) for k, p in (("old", "old"), ("new", "gain")))
    lie = replace(impact(old, new), identical=("cam.sign", "cam.spare", "top.out"), reached=("cam.range",))
    monkeypatch.setattr("gate.pipeline.impact_of", lambda old, new: lie)
    decision = compared(old, new, exam).decision
    assert decision.decision == "NO-GO"
    assert blamed(decision) == {"top.out[stop]", "top.out[yield]"}


@pytest.mark.usefixtures("without_contract_worker")
def test_what_one_side_could_not_be_asked_in_the_spot_check_is_run_instead(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bundle(tmp_path / "old", programs["old"]), bundle(tmp_path / "new", programs["range"])
    lie = replace(impact(old, new), identical=("cam.sign", "cam.range", "cam.spare"), reached=())
    monkeypatch.setattr("gate.pipeline.impact_of", lambda old, new: lie)
    begin = local.Session

    def dying(*given: Any, **named: Any) -> Any:
        begun = begin(*given, **named)
        if named.get("whole"):
            kill(*(worker.pid for worker in session._kept.values()))
        return begun

    monkeypatch.setattr(local, "Session", dying)
    lines: list[str] = []
    decision = compared(old, new, exam, lines).decision
    assert "0 identical by construction, 0 of these compared bit for bit" in lines[0]
    assert "2 could not be compared, so nothing is taken to be identical" in lines[0]
    assert {c.impact for c in decision.cells} == {"reached"}
    assert blamed(decision) == set()


@pytest.mark.usefixtures("without_contract_worker")
def test_a_worker_that_was_killed_before_the_spot_check_is_replaced(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bundle(tmp_path / "old", programs["old"]), bundle(tmp_path / "new", programs["again"])
    differing = changed._differing

    def killed(*given: Any) -> Any:
        kill(*(worker.pid for worker in session._kept.values()))
        return differing(*given)

    monkeypatch.setattr(changed, "_differing", killed)
    lines: list[str] = []
    decision = compared(old, new, exam, lines).decision
    assert "3 identical by construction, 2 of these compared bit for bit" in lines[0]
    assert blamed(decision) == set()


@pytest.mark.usefixtures("without_contract_worker")
def test_after_a_false_claim_nothing_of_the_candidate_comes_from_the_store(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bundle(tmp_path / "old", programs["old"]), bundle(tmp_path / "new", programs["range"])

    def blind(bundle: Bundle, outputs: Collection[str], noted: object) -> dict[str, str]:
        return {output: f"blind {output}" for output in outputs}

    lie = replace(impact(old, new), identical=("cam.sign", "cam.range", "cam.spare"), reached=())
    monkeypatch.setattr("gate.pipeline.impact_of", lambda old, new: lie)
    monkeypatch.setattr("gate.run.resume.digests_of", blind)
    lines: list[str] = []
    store = open_store(tmp_path / "store", print, required=True)
    files = {"suite": exam, "policy": exam / "policy.toml", "thresholds": exam / "none"}
    compare_bundles(old, new, **files, store=store, tell=lines.append)
    (line,) = lines  # none says that heads came from the store
    assert line.startswith("candidate: ran 2 of 3 heads")
    assert "cam.range differ, so nothing is taken to be identical and all heads ran" in line


# Sub-programs


def loaded(network: Network) -> Forward:
    assert network.program is not None
    return program.load_program(network, network.program.read_bytes(), {"image": (3, 8, 8)}).forward


class Trunk(nn.Module):
    """Heads of all shapes, a write in place, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.map, self.fc = nn.Conv2d(6, 2, 1), nn.Linear(6, 3)
        self.eval()

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.stem(image)
        y = x * 2
        y[:, 0].add_(1)
        halves = x.split(3, dim=1)
        best = x.flatten(2).max(dim=2)
        return self.map(x), self.fc(x.mean((2, 3))), y, halves[1], best.values, x


def test_a_sub_program_answers_the_bits_of_the_whole(tmp_path: Path) -> None:
    heads = ("map", "fc", "written", "half", "best", "trunk")
    network = read_bundle(bundle(tmp_path / "b", archive(Trunk()), heads=heads)).networks[0]
    forward = loaded(network)
    images = {"image": np.random.default_rng(0).random((5, 3, 8, 8), np.float32)}
    whole = forward(images)
    for wanted in [*([h] for h in heads), ["map", "half"], ["fc", "written", "trunk"]]:
        part = forward(images, wanted)
        assert sorted(part) == sorted(wanted)  # nothing else was computed
        assert all(part[h][0].tobytes() == whole[h][0].tobytes() for h in wanted)
        assert all(part[h][1] == whole[h][1] for h in wanted)


def test_a_sub_program_runs_fewer_operators_and_keeps_the_limits_of_the_whole(tmp_path: Path) -> None:
    network = read_bundle(bundle(tmp_path / "b", archive(Signs()))).networks[0]
    forward = loaded(network)
    calls: list[str] = []

    class Counted(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            calls.append(str(func))
            return func(*args, **(kwargs or {}))

    def counted(heads: Collection[str] | None) -> int:
        calls.clear()
        with Counted():
            forward({"image": np.zeros((2, 3, 8, 8), np.float32)}, heads)
        return sum("add" in call for call in calls)

    assert (counted(None), counted(["sign"]), counted(["sign", "spare"])) == (3, 1, 2)
    for heads in (None, ["sign"]):
        with pytest.raises(BundleError, match="the program failed"):
            forward({"image": np.zeros((300, 3, 8, 8), np.float32)}, heads)


def test_a_program_that_is_not_understood_runs_whole(tmp_path: Path) -> None:
    class Branch(nn.Module):
        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            seen = image.mean((2, 3))
            return {"sign": torch.cond(seen.sum() > 0, lambda a: a.sin(), lambda a: a.cos(), (seen,)), "spare": seen}

    network = read_bundle(bundle(tmp_path / "b", archive(Branch()), heads=("sign", "spare"))).networks[0]
    forward = loaded(network)
    assert sorted(forward({"image": np.ones((2, 3, 8, 8), np.float32)}, ["spare"])) == ["sign", "spare"]


def test_a_program_that_writes_into_its_input_changes_nobody_elses(tmp_path: Path) -> None:
    class Writer(nn.Module):
        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"sign": image.add_(1).mean((2, 3))}

    network = read_bundle(bundle(tmp_path / "b", archive(Writer()), heads=("sign",))).networks[0]
    images = {"image": np.zeros((2, 3, 8, 8), np.float32)}
    answer = loaded(network)(images)
    assert (answer["sign"][0] == 1).all()
    assert not images["image"].any()


def test_a_sub_program_that_differs_from_the_whole_is_not_used(
    programs: Mapping[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = read_bundle(bundle(tmp_path / "b", programs["old"]))
    images = {"image": np.random.default_rng(0).random((5, 3, 8, 8), np.float32)}

    def answered() -> stack.Outputs:
        shapes = {"image": (3, 8, 8)}
        known = {n.name: program.load_program(n, n.program.read_bytes(), shapes) for n in made.networks if n.program}
        give = [f"cam.{head}" for head in HEADS]
        (told,) = stack.Stack(made.networks, known, {"cam": ["range"]}, give).batch([images.copy()])
        return dict(told.outputs)

    honest = answered()
    assert list(honest) == ["cam.range"]

    def wrong(exported: Any, graph: Any, network: Any, heads: tuple[str, ...]) -> Any:
        return lambda image: tuple(image.mean((2, 3))[:, :1] for _ in heads)

    monkeypatch.setattr(program, "_part", wrong)
    held = answered()
    assert list(held) == [f"cam.{head}" for head in HEADS]
    assert stack.bits(held["cam.range"]) == stack.bits(honest["cam.range"])


@pytest.mark.usefixtures("without_contract_worker")
def test_heads_that_a_release_left_alone_are_not_run_again_when_it_ships(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "store", print, required=True)
    old, new = (read_bundle(bundle(tmp_path / name, programs[name])) for name in ("old", "range"))
    first = run(old, read_suite(exam), store=store)
    assert first.ran == ("cam.sign", "cam.range")
    assert run(new, read_suite(exam), ["cam.range"], store=store).ran == ("cam.range",)
    shipped = run(new, read_suite(exam), store=store)  # the candidate is the incumbent now
    assert (shipped.ran, sorted(shipped.stored)) == ((), ["cam.range", "cam.sign"])
    assert shipped.evidence["cam.sign"] == first.evidence["cam.sign"]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the programs that were read for the digests of their heads."""
    found: list[str] = []
    scan = scanned
    monkeypatch.setattr("gate.bundle.impact.scanned", lambda path: found.append(path.stem) or scan(path))
    return found


def test_what_a_program_is_made_of_is_noted_and_a_damaged_note_is_made_again(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path, opened: list[str]
) -> None:
    store, suite = open_store(tmp_path / "store", print, required=True), read_suite(exam)
    made = read_bundle(bundle(tmp_path / "old", programs["old"]))
    first = made_by(made, suite.heads, store)
    assert made_by(made, suite.heads, store) == first == made_by(made, suite.heads)
    assert opened == ["cam"] * 2  # of these three, the second read the note
    (kept,) = (tmp_path / "store" / "notes").iterdir()
    kept.write_text(kept.read_text().replace('"sign": ["', '"sign": ["0'))
    assert made_by(made, suite.heads, store) == first
    assert opened == ["cam"] * 3


def test_of_a_new_release_only_programs_that_are_new_or_read_something_new_are_opened(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path, opened: list[str]
) -> None:
    store, suite = open_store(tmp_path / "store", print, required=True), read_suite(exam)
    top = archive(Reader(), (2,))
    old, other_head, trunk = (
        read_bundle(bundle(tmp_path / name, programs[name], top=top, more=top)) for name in ("old", "range", "gain")
    )
    made_by(old, suite.heads, store)
    assert opened == ["cam", "top"]  # equal programs that read the same are one
    for release, read in ((other_head, ["cam"]), (trunk, ["cam", "top"])):
        opened.clear()
        found = made_by(release, suite.heads, store)
        assert opened == read
        assert found == made_by(release, suite.heads)


def test_a_program_under_the_name_of_another_format_is_refused_though_its_bytes_are_known(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path
) -> None:
    store, suite = open_store(tmp_path / "store", print, required=True), read_suite(exam)
    made_by(read_bundle(bundle(tmp_path / "old", programs["old"])), suite.heads, store)
    other = bundle(tmp_path / "new", programs["old"])
    (other / "cam.pt2").rename(other / "cam.onnx")
    (other / "bundle.toml").write_text((other / "bundle.toml").read_text().replace("cam.pt2", "cam.onnx"))
    with pytest.raises(RefusedError, match="under the name of"):
        made_by(read_bundle(other), suite.heads, store)


def test_a_program_that_was_changed_since_it_was_digested_leaves_no_note(
    programs: Mapping[str, bytes], exam: Path, tmp_path: Path
) -> None:
    store, suite = open_store(tmp_path / "store", print, required=True), read_suite(exam)
    folder = bundle(tmp_path / "old", programs["old"])
    made = read_bundle(folder)
    (folder / "cam.pt2").write_bytes(programs["range"])
    with pytest.raises(LockError, match="changed while it was read"):
        made_by(made, suite.heads, store)
    assert not (tmp_path / "store" / "notes").exists()
