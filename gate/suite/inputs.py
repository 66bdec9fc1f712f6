"""What programs read: pictures, arrays and columns of the frame table, decoded a batch at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.errors import ConfigError, SuiteError, shown
from gate.strict import relative_path
from gate.suite.definition import Input
from gate.suite.frames import Frames
from gate.suite.rows import open_rows, rows_of

Array = NDArray[Any]
_EIGHT_BIT = ("RGB", "L", "P", "1", "CMYK", "YCbCr")  # all others lose depth or transparency on the way to RGB
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")  # some others start programs, whatever a file's name ends in
#: Of one picture: 400 MB when it is decoded.
MAX_PIXELS = 1 << 25
_FIELD = re.compile(r"\{([^{}]*)\}")


def template_columns(template: str) -> set[str]:
    """Columns named in a file template such as `images/{sample_id}.jpg`."""
    return set(_FIELD.findall(template))


def file_names(
    template: str, frames: Frames, root: Path, *, where: str, wanted: NDArray[np.bool_] | None = None
) -> list[str]:
    """The file of each frame, (F,), relative to `root`; "" for frames that are not wanted, (F,) bool.

    Raises ConfigError for unknown columns or forbidden paths.
    """
    for name in template_columns(template):
        if name not in frames.columns:
            raise ConfigError(f"there is no column '{shown(name)}' in the frame table", where=where)
    names = [
        _FIELD.sub(lambda m, k=k: str(frames.columns[m[1]][k]), template)  # type: ignore[misc]
        if wanted is None or wanted[k]
        else ""
        for k in range(len(frames.ids))
    ]
    first: dict[str, str] = {}  # frame of each file; an array is the file of all frames
    for name, frame in zip(names, frames.ids.tolist(), strict=True):
        first.setdefault(name, frame)
    for name, frame in first.items():
        if name or wanted is None:
            relative_path(name, root, where=f"{where}, frame {shown(frame)}")
    return names


def optional_names(template: str, frames: Frames, root: Path, *, where: str) -> list[str]:
    """The same, with "" for frames in which a column of the template is empty, or whose file is not there."""
    columns = [frames.columns[name] for name in template_columns(template) if name in frames.columns]
    filled = np.all([np.ones(len(frames.ids), bool), *(column != "" for column in columns)], axis=0)
    names = file_names(template, frames, root, where=where, wanted=filled)
    return [name if name and os.path.lexists(root / name) else "" for name in names]


def read_picture(path: Path, mode: str) -> Array:
    """Pixels of an image file, (H, W, 3) uint8 for mode RGB, (H, W) class values for mode L or P.

    Raises SuiteError when it is missing or does not decode.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SuiteError(f"a picture of {image.width} x {image.height} pixels", where=str(path))
            if mode == "RGB":
                if image.mode not in _EIGHT_BIT:
                    what = f"a picture of mode {image.mode}"
                    raise SuiteError(
                        what, where=str(path), mend='write 8-bit RGB, or declare the input as kind = "array"'
                    )
                return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
            if image.mode not in ("L", "P", "1", "I", "I;16"):
                raise SuiteError(
                    f"a label picture of mode {image.mode}", where=str(path), mend="write one value a pixel"
                )
            return np.asarray(image)
    except FileNotFoundError as error:
        raise SuiteError("no such file", where=str(path)) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SuiteError(
            f"the picture cannot be decoded: {shown(error)}", where=str(path), mend="restore the file"
        ) from error


def read_array(path: Path) -> Array:
    """A .npy or .safetensors file (its only tensor). Raises SuiteError; nothing is unpickled."""
    try:
        if path.suffix == ".npy":
            with path.open("rb") as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            tensors = load_file(path)
            if len(tensors) != 1:
                raise SuiteError(f"holds {len(tensors)} tensors instead of one", where=str(path))
            return next(iter(tensors.values()))
    except SuiteError:
        raise
    except Exception as error:  # safetensors and numpy raise many kinds; each means "not such a file"
        raise SuiteError(f"the array cannot be read: {shown(error)}", where=str(path)) from error
    raise SuiteError("arrays are .npy or .safetensors files", where=str(path))


def picture(given: Input, name: str, files: Mapping[str, list[str]], root: Path, frames: Frames, k: int) -> Array:
    """Pixels of an image input at the frame at position k, (H, W, 3) uint8. Raises SuiteError."""
    path = root / files[name][k]
    if given.array is None:
        return read_picture(path, "RGB")
    return _pixels(given, path, frames, np.array([k]))[0]


def _pixels(given: Input, path: Path, frames: Frames, at: Array) -> Array:
    """Rows of an array of pictures, (len(at), H, W, 3) uint8."""
    array = open_rows(path)
    if array.dtype != np.uint8 or len(array.shape) != 4 or array.shape[3] != 3:
        raise SuiteError(
            f"pictures of shape {array.shape} and type {array.dtype}",
            where=str(path),
            mend="write (frames, height, width, 3) uint8, RGB",
        )
    return array.read(rows_of(str(given.row), frames, array, where=str(path))[at])


def read_inputs(
    inputs: Mapping[str, Input], files: Mapping[str, list[str]], root: Path, frames: Frames, rows: Array
) -> dict[str, Array]:
    """name -> (len(rows), *shape) float32, for the frames at positions `rows`; images RGB, channels first, as uint8.

    Where an optional input has no file there are zeros. Raises SuiteError when a file has another shape than declared.
    """
    return {
        name: np.stack([_one(given, name, files, root, frames, int(k)) for k in rows])
        if given.array is None
        else _packed(given, name, files, root, frames, rows)
        for name, given in inputs.items()
    }


def _packed(given: Input, name: str, files: Mapping[str, list[str]], root: Path, frames: Frames, rows: Array) -> Array:
    """The frames at positions `rows` of an array that holds all of them, (len(rows), *shape)."""
    path = root / files[name][0]
    if given.kind == "image":
        values = np.ascontiguousarray(_pixels(given, path, frames, rows).transpose(0, 3, 1, 2))
    else:
        array = open_rows(path)
        values = array.read(rows_of(str(given.row), frames, array, where=str(path))[rows])
    return _checked(values, given, name, str(path), values.shape[1:])


def as_fed(values: Array) -> Array:
    """What programs are given of what `read_inputs` answers: float32, pixels as 0..1. They are divided this late
    because they wait, and travel, in a quarter of the memory.
    """
    return values / np.float32(255) if values.dtype == np.uint8 else values


def _one(given: Input, name: str, files: Mapping[str, list[str]], root: Path, frames: Frames, k: int) -> Array:
    if given.kind == "column":
        value = np.asarray(frames.columns[str(given.column)][k])
        value = value[None] if given.shape == (1,) else value
        where = f"column {given.column}, frame {frames.ids[k]}"
    elif not files[name][k]:
        return np.zeros(given.shape, np.uint8 if given.kind == "image" else np.float32)
    else:
        path = root / files[name][k]
        where = str(path)
        if given.kind == "image":
            # In this order in memory too: programs were exported for it.
            value = np.ascontiguousarray(read_picture(path, "RGB").transpose(2, 0, 1))
        else:
            value = read_array(path)
    return _checked(value, given, name, where, value.shape)


def _checked(value: Array, given: Input, name: str, where: str, shape: tuple[int, ...]) -> Array:
    """The same as float32. Raises SuiteError for no numbers, another shape of a frame, NaN or infinity."""
    if value.dtype.kind not in "biuf":
        raise SuiteError(f"input '{name}' does not hold real numbers", where=where)
    if given.kind != "image":
        value = value.astype(np.float32, copy=False)
    if shape != given.shape:
        raise SuiteError(f"input '{name}' has shape {shape}, declared {given.shape}", where=where)
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise SuiteError(f"input '{name}' holds NaN or infinity", where=where)
    return value
