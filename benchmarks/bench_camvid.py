"""Cost of a whole comparison on CamVid beside the bare forward passes of the same programs: wall time, peak memory.

    python benchmarks/bench_camvid.py [CAMVID_FOLDER] [--repeat 3]

Each figure comes from a process of its own, so that peaks do not mix; imports and loading are timed apart. The bare
passes run the same batches of the same frames with the same library and threads and keep nothing. Ratios count;
seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INCUMBENT, CANDIDATE = "incumbent", "bad_head"


def peak_mb() -> float:
    """Peak resident memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bare(folder: Path) -> dict[str, float]:
    """Both programs over all frames, nothing kept; pictures are decoded outside the clock."""
    import numpy as np

    from gate.bundle import read_bundle, scanned
    from gate.run.partition import BATCH
    from gate.run.program import load_program
    from gate.suite import read_suite
    from gate.suite.inputs import as_fed, read_inputs

    suite = read_suite(folder)
    spent = loading = 0.0
    for name in (INCUMBENT, CANDIDATE):
        start = time.perf_counter()
        network = read_bundle(folder / "bundles" / name).networks[0]
        shapes = {"image": suite.inputs["image"].shape}
        forward = load_program(network, scanned(network.program), shapes).forward
        loading += time.perf_counter() - start
        for first in range(0, len(suite.frames.ids), BATCH):
            rows = np.arange(first, min(first + BATCH, len(suite.frames.ids)))
            read = read_inputs(suite.inputs, suite.input_files, suite.root, suite.frames, rows)
            batch = {name: as_fed(values) for name, values in read.items()}
            start = time.perf_counter()
            forward(batch)
            spent += time.perf_counter() - start
    return {"forward_s": spent, "loading_s": loading, "peak_mb": peak_mb()}


def product(folder: Path) -> dict[str, float]:
    """`gate.pipeline.compare_bundles` of the same two bundles, with the time spent running networks apart."""
    from gate import changed, pipeline

    spent: dict[str, float] = {"running_s": 0.0}
    plain = pipeline.run

    def timed(*args, **options):  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        try:
            return plain(*args, **options)
        finally:
            spent["running_s"] += time.perf_counter() - start

    pipeline.run = changed.run = timed
    start = time.perf_counter()
    result = pipeline.compare_bundles(
        folder / "bundles" / INCUMBENT,
        folder / "bundles" / CANDIDATE,
        suite=folder,
        policy=folder / "policy.toml",
        thresholds=folder / "no-thresholds",
    )
    spent["whole_s"] = time.perf_counter() - start
    return {
        **spent,
        "peak_mb": peak_mb(),
        "predictions": result.decision.predictions,
        "cells": len(result.decision.cells),
    }


def measured(mode: str, folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, str(folder), "--mode", mode], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parents[2] / "shared" / "camvid"
    parser.add_argument("camvid", type=Path, nargs="?", default=default)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--mode", choices=("bare", "product"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.mode:
        print(json.dumps((bare if args.mode == "bare" else product)(args.camvid)))
        return
    if not (args.camvid / "suite.toml").is_file():
        print(f"skipped: there is no CamVid suite at {args.camvid}")
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(args.camvid, Path(folder) / "camvid", copy_function=shutil.copyfile))
        copy.chmod(0o755)  # the original may be read-only
        subprocess.run([sys.executable, "-m", "gate", "suite", "freeze", str(copy)], check=True, capture_output=True)
        rounds = [(measured("bare", copy), measured("product", copy)) for _ in range(args.repeat)]
    report(rounds)


def report(rounds: list[tuple[dict[str, float], dict[str, float]]]) -> None:
    """Medians over the rounds, and the median of the ratios taken round by round."""
    bares, products = zip(*rounds, strict=True)

    def median(rows: tuple[dict[str, float], ...], key: str) -> float:
        return statistics.median(row[key] for row in rows)

    last = products[-1]
    print(f"{last['predictions']:.0f} predictions, {last['cells']:.0f} cells, two bundles, {os.cpu_count()} cores")
    print(f"{'':42}{'s':>8}{'x bare':>8}{'peak MB':>9}")
    ratios = {key: statistics.median(p[key] / b["forward_s"] for b, p in rounds) for key in ("running_s", "whole_s")}
    print(f"{'bare forward passes':42}{median(bares, 'forward_s'):8.1f}{1.0:8.2f}{median(bares, 'peak_mb'):9.0f}")
    print(f"{'  loading both programs':42}{median(bares, 'loading_s'):8.1f}")
    print(f"{'run: load, decode, forward, reduce':42}{median(products, 'running_s'):8.1f}{ratios['running_s']:8.2f}")
    whole, peak = median(products, "whole_s"), median(products, "peak_mb")
    print(f"{'whole comparison, contracts included':42}{whole:8.1f}{ratios['whole_s']:8.2f}{peak:9.0f}")


if __name__ == "__main__":
    main()
