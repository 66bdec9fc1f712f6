"""What stands behind made-up decisions: details and frames as plausible as the decisions are."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from gate.calibrate import OperatingPoint
from gate.judge.decision import Cell
from gate.report import words
from gate.report.details import Curve, CurvePair, Detail, Histogram, Strip
from gate.report.moved import Moved, Picture
from gate.report.thumbnails import thumbnail
from gate.tasks import Drawing


def a_detail(prediction: str = "front.road_edge", loss: float = 0.12, clips: int = 200, seed: int = 0) -> Detail:
    """Two smooth curves, the candidate's below the incumbent's, scores, clips of which a quarter lose most."""
    rng = random.Random(ascii(prediction) + str(seed))

    def curve(bundle: Any, steep: float, threshold: float) -> Curve:
        bend, wave = 2 + 3 * rng.random(), 30 + 20 * rng.random()
        recall = tuple(k / 63 for k in range(64))
        precision = tuple(1 - steep * r**bend - 0.01 * math.sin(wave * r) ** 2 for r in recall)
        return Curve(bundle, recall, precision, (recall[50], precision[50]), threshold, sum(precision) / 64)

    def bell(at: float) -> tuple[int, ...]:
        return tuple(round(rng.uniform(0.8, 1.2) * 900 * math.exp(-(((k - at) / 4) ** 2))) for k in range(24))

    values = sorted(-loss * rng.expovariate(1.0) / clips if rng.random() < 0.7 else 0.2 / clips for _ in range(clips))
    point = OperatingPoint(
        prediction, "max recall where precision >= 0.9 at 0.95", "calibrated", 0.46, 0.93, 0.81, 812, -0.2, 0.7, 0.905
    )
    return Detail(
        prediction,
        (CurvePair(0.0, curve("incumbent", 0.15, 0.65), curve("candidate", 0.15 + loss, 0.46)),),
        Histogram(-6.0, 6.0, (bell(7), bell(15), bell(8), bell(13.5))),
        None,
        Strip("f1", (*values[:60], *values[-60:]), ("drive-07/clip-3", "drive-02/clip-9"), clips),
        (point, point),
    )


def a_moved(prediction: str = "front.road_edge", pictures: int = 2, name: str = "f", seed: int = 0) -> Moved:
    """Frames of smooth noise, about as hard to compress as a street, with boxes and a raster over them."""
    rng = np.random.default_rng(seed)
    drawing = Drawing(
        ("3 hits, 1 false alarm, 2 missed",),
        ((40.0, 30.0, 90.0, 80.0, "hit", "0.91"), (120.0, 40.0, 150.0, 75.0, "missed", "missed")),
        rng.choice(np.array([0, 0, 0, 1, 1, 2, 3, 255], np.uint8), (24, 32)),
    )
    found = []
    for k in range(pictures):
        coarse = Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((320, 240), Image.Resampling.BICUBIC))
        pixels = smooth // 2 + rng.integers(0, 12, smooth.shape, dtype=np.uint8)
        found.append(
            Picture(f"{name}{k:04d}", f"clip-{k}", thumbnail(pixels), 320, 240, drawing, drawing, 3, 1,
                    "3 boxes missed that the incumbent found", "incumbent 5 hits · candidate 2 hits")
        )  # fmt: skip
    kinds = (("missed", 3, 9), ("false", 1, 2), ("localisation", 0, 4), ("duplicate", 1, 1))
    return Moved(prediction, ("clip-0", "clip-1"), 0.63, 32, 41, 7, kinds, tuple(found))


def details_of(cells: Iterable[Cell]) -> list[Detail]:
    """A detail of every prediction that the change reaches, worst first."""
    return [
        a_detail(c.prediction, loss=0.12 if c.verdict == "regressed" else 0.002)
        for c in words.leads(cells)
        if c.impact == "reached" and c.delta is not None and not words.is_group(c)
    ]
