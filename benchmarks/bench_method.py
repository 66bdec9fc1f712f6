"""Cost of the method beside named peers, on the same data in the same run: ratios count, seconds depend on the machine.

    python -m benchmarks.bench_method [calibration|flips|decision] [--quick] [--rounds 3]

Each part runs in a process of its own, so that peaks do not mix, and prints one table; nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.wide import write_wide
from gate.calibrate import Asked, OperatingPoint, Settled, as_points, settle
from gate.cores import each
from gate.curves import average_precision, curves
from gate.heads import Series
from gate.lattice import encode
from gate.run.reducing import TOGETHER
from gate.table import ClipIndex, EvidenceTable, Floats, Ints, blocks, by_score, histogram

#: Heads that the peers are timed on; their time is scaled to all heads.
SAMPLE = 20
#: Seconds within which the contract engine has loaded.
LOADING_S = 12


#: Seconds, and processor seconds of all threads of this process, which other work on the machine changes less.
Spent = tuple[float, float]


def spent(work: Callable[[], object]) -> Spent:
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


def rounds_of(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[Spent]]:
    """What each work took, round by round: all works in every round, so that a busy machine slows all alike."""
    found: dict[str, list[Spent]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(spent(work))
    return found


def scores(heads: int, events: int) -> tuple[np.ndarray, np.ndarray]:
    """(float32 logits, labels), (heads, events): 2 % positives, normal logits."""
    rng = np.random.default_rng(7)
    labels = rng.random((heads, events)) < 0.02
    return (rng.normal(size=(heads, events)) * 1.5 - 3 + 3 * labels).astype(np.float32), labels


def evidence_of(logits: np.ndarray, labels: np.ndarray) -> EvidenceTable:
    """Evidence of all heads in one cell, as many reduced together as in a run."""
    heads, events = logits.shape
    cell = np.zeros(TOGETHER * events, np.int64)

    def reduced(first: int) -> tuple[Ints, Ints]:
        some = slice(first, first + TOGETHER)
        codes = encode(logits[some]).reshape(-1)
        series = np.repeat(np.arange(len(codes) // events), events)
        keys, counts = histogram(series, cell[: len(codes)], labels[some].reshape(-1), codes)
        return keys + (first << 39), counts

    parts = each(reduced, range(0, heads, TOGETHER))
    rows = tuple(Series(f"cam.it[{k}]", 0.0) for k in range(heads))
    keys, counts = (np.concatenate([part[n] for part in parts]) for n in (0, 1))
    return EvidenceTable(rows, 1, keys, counts, (), np.zeros((heads, 1, 0), np.int64))


def points_of(table: EvidenceTable) -> tuple[list[OperatingPoint], Floats]:
    """Operating points by `max f1` and average precision of every head."""
    index = ClipIndex(np.zeros(1, np.int64), 1)
    names = [row.prediction for row in table.series]
    objectives = ["max f1"] * len(names)
    asked = Asked.of(names, objectives)

    def settled(rows: Ints) -> tuple[Settled, Floats]:
        curve = curves(by_score(table.take(rows)), index.clip >= 0)
        return settle(curve, index, asked.take(rows)), average_precision(curve)

    parts = each(settled, blocks(table.sizes, np.arange(len(names))))
    points = as_points(names, objectives, [part for part, _ in parts])
    return list(points), np.concatenate([ap for _, ap in parts])


def calibration(rounds: int, quick: bool) -> None:
    """Operating points and average precision of all heads, from scores and from evidence."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    heads, events = (100, 20_000) if quick else (1000, 20_000)
    logits, labels = scores(heads, events)
    table = evidence_of(logits, labels)
    sample = min(SAMPLE, heads)

    def sklearn() -> None:
        for k in range(sample):
            precision_recall_curve(labels[k], logits[k])
            average_precision_score(labels[k], logits[k])

    def sort_only() -> None:
        for k in range(sample):
            np.sort(logits[k])

    works: dict[str, Callable[[], object]] = {
        "scikit-learn, a loop over heads": sklearn,
        "np.sort of the scores alone, a loop": sort_only,
        "from scores": lambda: points_of(evidence_of(logits, labels)),
        "from evidence": lambda: points_of(table),
    }
    if find_spec("torchmetrics"):
        works["torchmetrics, a loop over heads"] = torchmetrics(logits[:sample], labels[:sample])
    found = rounds_of(works, rounds)
    for name in found:
        if "loop" in name:
            found[name] = [(s * heads / sample, used * heads / sample) for s, used in found[name]]
    base = "scikit-learn, a loop over heads"
    title = (
        f"operating points + average precision: {heads:,} heads x {events:,} events, one cell, {os.cpu_count()} cores"
    )
    show(f"{title}; loops timed on {sample} heads and scaled", found, base)
    if "torchmetrics, a loop over heads" not in found:
        print("torchmetrics: not installed")
    print(f"entries of evidence a head: {len(table.keys) / heads:,.0f}\n")


def torchmetrics(logits: np.ndarray, labels: np.ndarray) -> Callable[[], None]:
    """The loop over heads, imported and ready."""
    import torch
    from torchmetrics.functional.classification import binary_average_precision, binary_precision_recall_curve

    torch.set_num_threads(1)  # as fast as two where cores are free, ten times faster where they are not

    def loop() -> None:
        for score, truth in zip(logits, labels.astype(np.int64), strict=True):
            binary_precision_recall_curve(torch.from_numpy(score), torch.from_numpy(truth))
            binary_average_precision(torch.from_numpy(score), torch.from_numpy(truth))

    return loop


def flips(rounds: int, quick: bool) -> None:
    """The test of one family beside the float32 matrix product of its size."""
    from gate.compare import prove_loss, sign_vectors

    cells, clips, resamples = (2_000, 500, 9_999) if quick else (20_000, 500, 9_999)
    d = np.random.default_rng(5).standard_normal((cells, clips))
    weight, effect, tested = np.full((cells, clips), 1 / clips), np.full(cells, 0.005), np.ones(cells, bool)
    signs = sign_vectors(clips, resamples, 1)

    def product() -> None:
        flip = np.concatenate([signs, -signs]).T.astype(np.float32)
        left = d.astype(np.float32)
        for first in range(0, cells, 128):
            left[first : first + 128] @ flip

    works = {
        "bare float32 matrix product, in blocks": product,
        "sign flips, step-down, one family": lambda: prove_loss(d, weight, effect, tested, signs, 0.05),
    }
    found = rounds_of(works, rounds)
    show(f"{cells:,} cells x {clips} clips x {resamples + 1:,} sign vectors", found, next(iter(works)))
    print(f"peak of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB\n")


def decision(rounds: int, quick: bool) -> None:
    """A whole comparison of recorded predictions: tables read, contracts, thresholds, statistics, verdicts."""
    heads, items = (100, 1_000) if quick else (1_000, 1_000)
    with tempfile.TemporaryDirectory() as folder:
        write_wide(Path(folder), heads, items, items // 2)
        found = [compared(Path(folder)) for _ in range(rounds + 1)]
    name = f"{heads:,} heads x {items:,} items, {items // 2} calibration"
    show("a whole decision over recorded predictions, after imports", {name: found[1:]}, name)


def compared(root: Path) -> Spent:
    """What one comparison took; the contract engine, a process of its own, is loaded before."""
    import gate.pipeline as pipeline
    from gate.suite.worker import contract_worker

    with contract_worker(root) as worker:
        time.sleep(LOADING_S)
        loaded = mock.patch("gate.run.contracts.contract_worker", return_value=nullcontext(worker))
        asked = {"suite": root, "policy": root / "policy.toml", "thresholds": root / "thresholds"}
        with loaded:
            return spent(lambda: pipeline.compare_bundles(root / "bundles/old", root / "bundles/new", **asked))


def show(title: str, found: dict[str, list[Spent]], base: str) -> None:
    """Median seconds and processor seconds, and the median over rounds of how many times the baseline takes."""
    print(title)
    print(f"{'':44}{'s':>9}{'times faster':>14}{'processor s':>13}{'times less':>12}")
    for name, rounds in found.items():
        s, used = (statistics.median(values) for values in zip(*rounds, strict=True))
        pairs = list(zip(found[base], rounds, strict=True))
        faster, less = (statistics.median(b[k] / r[k] for b, r in pairs) for k in (0, 1))
        print(f"{name:44}{s:9.3f}{faster:14.1f}{used:13.3f}{less:12.1f}")


PARTS = {"calibration": calibration, "flips": flips, "decision": decision}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=PARTS)
    parser.add_argument("--quick", action="store_true", help="a tenth of the heads")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.part:
        PARTS[args.part](args.rounds, args.quick)
        return
    for part in PARTS:
        more = ["--rounds", str(args.rounds), *(["--quick"] if args.quick else [])]
        subprocess.run([sys.executable, "-m", "benchmarks.bench_method", part, *more], check=True)


if __name__ == "__main__":
    main()
