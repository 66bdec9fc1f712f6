"""Pictures small enough for a page: camera frames as WebP, rasters as palette PNG to lie over them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Bundle, Network
from gate.errors import SuiteError
from gate.heads import Head
from gate.suite import Suite
from gate.suite.inputs import picture

#: Pixels of the long side of a thumbnail. A page of 60 stays below a megabyte, and a pole is still a pole.
LONG_SIDE = 320
#: WebP quality, 0..100: blocks do not yet look like objects.
QUALITY = 72
#: Pictures up to this long side are kept bit for bit: lossy WebP halves the resolution of colour, and in a small
#: picture a lamp is two pixels.
EXACT_SIDE = 128
#: What a raster's values mean, and red, green, blue, opacity of each. Readers who confuse red with green tell blue,
#: orange and magenta apart; what is right stays faint, so that what is wrong is seen first.
RASTER_COLOURS: dict[int, tuple[str, tuple[int, int, int, int]]] = {
    0: ("nothing", (0, 0, 0, 0)),
    1: ("right", (0, 114, 255, 100)),
    2: ("false alarm", (255, 149, 0, 205)),
    3: ("missed", (230, 0, 126, 205)),
    255: ("ignored", (128, 128, 128, 110)),
}


def thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) RGB as WebP without metadata, the long side at most `LONG_SIDE`; nothing is enlarged, and small
    pictures lose nothing."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    scale = LONG_SIDE / max(image.size)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "WEBP", lossless=max(image.size) <= EXACT_SIDE, quality=QUALITY, method=4)
    return out.getvalue()


def overlay(raster: NDArray[np.uint8]) -> bytes:
    """A raster of kinds, (H, W), as a PNG with one palette entry a kind and transparency.

    One pixel a place: whoever enlarges it keeps the edges (`image-rendering: pixelated`).
    """
    from PIL import Image

    kinds = sorted(RASTER_COLOURS)
    colours = [RASTER_COLOURS[k][1] for k in kinds]
    image = Image.fromarray(np.searchsorted(kinds, raster).astype(np.uint8), "P")
    image.putpalette([part for colour in colours for part in colour[:3]])
    out = io.BytesIO()
    image.save(out, "PNG", transparency=bytes(colour[3] for colour in colours), optimize=True)
    return out.getvalue()


def camera(bundle: Bundle, suite: Suite, head: Head) -> str | None:
    """The suite's picture input that a head looks at: the nearest one upstream of its network.

    Of recorded predictions nobody knows what they were made from: the input of the network's name, else the first
    picture. None when there is no picture.
    """
    pictures = [name for name, given in suite.inputs.items() if given.kind == "image"]
    network = bundle.network(head.outputs[0][1].partition(".")[0])
    if network is None or network.program is None:
        return head.network if head.network in pictures else next(iter(pictures), None)
    return next((source for source in _sources(bundle, network) if source in pictures), None)


def _sources(bundle: Bundle, network: Network) -> list[str]:
    """Suite inputs that a network reads, its own first, then those of the networks that it reads."""
    found, waiting, seen = list[str](), [network], set[str]()
    while waiting:
        one = waiting.pop(0)
        found += [source for _, source in one.inputs if "." not in source]
        upstream = [name for name in one.upstream() if name not in seen]
        seen |= set(upstream)
        waiting += [n for name in dict.fromkeys(upstream) if (n := bundle.network(name)) is not None]
    return found


def camera_picture(suite: Suite, name: str, row: int) -> bytes | None:
    """Thumbnail of a picture input at a frame; None when it cannot be decoded any more: a report is no exam."""
    try:
        pixels: NDArray[Any] = picture(suite.inputs[name], name, suite.input_files, suite.root, suite.frames, row)
    except SuiteError:
        return None
    return thumbnail(pixels)
