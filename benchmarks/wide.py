"""A suite of many small heads whose predictions are recorded: nothing runs but the decision itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gate.lock import write_lock
from gate.suite import open_suite
from gate.suite.suite import LOCK

SUITE = """\
[suite]
name = "wide"
version = "1"
frames = "frames.parquet"
frame_id = "frame_id"
clip_id = "clip_id"

[splits]
column = "split"
calibration = "calibration"
validation = "validation"
"""
HEAD = """
[[heads]]
head = "cam.h{k}"
task = "binary"
score = "sigmoid"
truth = {{ columns = "y{k}" }}
"""
POLICY = '[[rules]]\nmatch = "*"\nmetrics = ["f1"]\nmargin = 0.05\n'
BUNDLE = '[bundle]\nname = "wide"\nversion = "{name}"\n\n[networks.cam]\npredictions = "cam.parquet"\n'


def write_wide(root: Path, heads: int, items: int, calibration: int) -> None:
    """Suite, policy and the bundles `old` and `new`, equally good. Every item is a frame and a clip of its own."""
    rng = np.random.default_rng(3)
    frames = items + calibration
    ids = [f"f{k:06d}" for k in range(frames)]
    truth = rng.random((frames, heads)) < 0.2
    columns: dict[str, object] = {"frame_id": ids, "clip_id": ids}
    columns["split"] = ["validation"] * items + ["calibration"] * calibration
    pq.write_table(
        pa.table(columns | {f"y{k}": truth[:, k].astype(np.int8) for k in range(heads)}), root / "frames.parquet"
    )
    (root / "suite.toml").write_text(SUITE + "".join(HEAD.format(k=k) for k in range(heads)))
    (root / "policy.toml").write_text(POLICY)
    shared = rng.normal(size=truth.shape) + 2 * truth
    for name in ("old", "new"):
        folder = root / "bundles" / name
        folder.mkdir(parents=True)
        logits = (shared + 0.3 * rng.normal(size=truth.shape)).astype(np.float32)
        pq.write_table(
            pa.table({"frame_id": ids} | {f"h{k}": logits[:, k] for k in range(heads)}), folder / "cam.parquet"
        )
        (folder / "bundle.toml").write_text(BUNDLE.format(name=name))
    write_lock(root / LOCK, open_suite(root).lock)
