"""Freezing: every contract of the data is checked before the digests are written down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gate.errors import SuiteError
from gate.lock import write_lock
from gate.suite.contract import ContractResult, check_labels, check_splits
from gate.suite.definition import read_definition
from gate.suite.frames import SPLITS, read_table, select_frames, text_columns
from gate.suite.inputs import read_inputs
from gate.suite.suite import DEFINITION, EXPECTATIONS, LOCK, Suite
from gate.suite.truth import check_truth

BATCH = 64


def freeze(suite: Suite, progress: Callable[[int, int], None] = lambda done, total: None) -> tuple[ContractResult, ...]:
    """Check all data of a suite and write `suite.lock`; answers the contracts, all of which hold.

    Raises SuiteError naming what is wrong; then no lock is written.
    """
    results = check_data(suite, progress)
    write_lock(suite.root / LOCK, suite.lock)
    return results


def check_data(
    suite: Suite, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[ContractResult, ...]:
    """All contracts of a suite's tables, pictures and truths. Raises SuiteError for the first that does not hold."""
    results = contracts(suite.root)
    broken = [r for r in results if not r.success and r.severity == "critical"]
    if broken:
        lines = "\n".join(f"  {r.name}: {r.expectation}: {r.observed} ({r.where})" for r in broken)
        raise SuiteError(f"{len(broken)} data contracts do not hold:\n{lines}", where=str(suite.root))
    total = len(suite.frames.ids)
    shapes: dict[str, tuple[int, ...]] = {}
    for start in range(0, total, BATCH):
        rows = np.arange(start, min(start + BATCH, total))
        read_inputs(suite.inputs, suite.input_files, suite.root, suite.frames, rows)
        for truths in suite.truths:
            if not len(judged := truths.judged(rows)):
                continue
            shape = check_truth(truths, suite.frames, judged)
            if shapes.setdefault(truths.head.name, shape) != shape:
                raise SuiteError("truths of different shapes", where=f"{truths.where}, head {truths.head.name}")
        progress(len(rows), total)
    return results


def contracts(root: Path) -> tuple[ContractResult, ...]:
    """The table contracts: frame table, splits by clip, and the suite's own expectations."""
    definition, _ = read_definition(root / DEFINITION)
    about, splits = definition.suite, definition.splits
    columns = read_table(root / about.frames, text_columns(definition, set()))
    frames = select_frames(definition, columns, root / about.frames)
    named = [h.truth.columns for h in definition.heads if h.truth.columns and "{" not in h.truth.columns]
    own = root / EXPECTATIONS
    labels = check_labels(
        columns,
        file=about.frames,
        frame_id=about.frame_id,
        clip_id=about.clip_id,
        order_by=about.order_by,
        split_column=splits.column,
        split_values=[splits.calibration, splits.validation],
        slices=about.slices,
        columns_required=named,
        rows=len(next(iter(columns.values()))),
        extra=own if own.is_file() else None,
    )
    names, clips = np.array(SPLITS)[frames.split], np.array(frames.clips)[frames.clip]
    return labels + check_splits(clips.tolist(), names.tolist(), file=about.frames, required=SPLITS)
