"""A contact sheet: some clips, a row each, all eight cameras beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .paint import picture
from .render import render
from .world import Clip


def contact_sheet(clips: Sequence[Clip], frame: int, zoom: int, path: Path) -> None:
    """Write a PNG with one row a clip, cameras from left to right."""
    rows = []
    for clip in clips:
        world, views = render(clip)
        pictures = [picture(clip, world, view)[frame] for view in views]
        height = max(p.shape[0] for p in pictures)
        rows.append(np.concatenate([np.pad(p, ((0, height - p.shape[0]), (0, 2), (0, 0))) for p in pictures], axis=1))
    sheet = np.concatenate([np.pad(row, ((0, 2), (0, 0), (0, 0))) for row in rows])
    Image.fromarray(sheet.repeat(zoom, 0).repeat(zoom, 1)).save(path)
