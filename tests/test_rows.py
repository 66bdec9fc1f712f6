"""Inputs and truths in one array for all frames: the same as in a file a frame, and refused when they are not."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gate.suite.rows
from gate.errors import ConfigError, SuiteError
from gate.suite import open_suite
from gate.suite.freeze import check_data
from gate.suite.inputs import as_fed, picture, read_inputs
from gate.suite.rows import open_member
from gate.suite.truth import _reader
from tests.support.tiny import World, sign_only, with_images, write_suite

PACKED = '\n[inputs.image]\narray = "images.npy"\nrow = "at"\nkind = "image"\nshape = [3, 8, 8]\n'


def packed(folder: Path, world: World, text: str = PACKED, pixels: np.ndarray | None = None) -> Path:
    """The suite of `with_images`, its pictures in one array."""
    with_images(folder, world, freeze=False)
    files = [folder / "images" / f"{name}.png" for name in world.ids]
    np.save(folder / "images.npy", np.stack([np.asarray(Image.open(f)) for f in files]) if pixels is None else pixels)
    (folder / "suite.toml").write_text(sign_only() + text)
    return folder


def test_pictures_in_one_array_are_read_as_pictures_in_files(tmp_path: Path, world: World) -> None:
    one, many = open_suite(packed(tmp_path / "a", world)), open_suite(with_images(tmp_path / "b", world))
    rows = np.array([5, 0, 17])
    read = [as_fed(read_inputs(s.inputs, s.input_files, s.root, s.frames, rows)["image"]) for s in (one, many)]
    assert read[0].dtype == np.float32
    assert read[0].tobytes() == read[1].tobytes()
    for k in rows:
        pictures = [picture(s.inputs["image"], "image", s.input_files, s.root, s.frames, int(k)) for s in (one, many)]
        assert np.array_equal(*pictures)


def test_the_lock_holds_the_array_once(tmp_path: Path, world: World) -> None:
    suite = open_suite(packed(tmp_path, world))
    assert [name for name, _ in suite.lock.files if name.startswith("images")] == ["images.npy"]


def test_numbers_in_one_array_are_an_input(tmp_path: Path, world: World) -> None:
    text = PACKED.replace('"image"\nshape = [3, 8, 8]', '"array"\nshape = [2]')
    values = np.arange(2 * len(world.ids), dtype=np.int16).reshape(-1, 2)
    suite = open_suite(packed(tmp_path, world, text, values))
    read = read_inputs(suite.inputs, suite.input_files, suite.root, suite.frames, np.array([3]))["image"]
    at = int(suite.frames.columns["at"][3])
    assert read.tolist() == [[2 * at, 2 * at + 1]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PACKED.replace('row = "at"\n', ""), "`array` and `row` go together"),
        (PACKED + 'file = "images/{frame_id}.png"\n', "has `file` or `array`, one of them"),
        (PACKED.replace('array = "images.npy"\nrow = "at"\n', ""), "has `file` or `array`, one of them"),
    ],
)
def test_an_input_has_a_file_a_frame_or_an_array_with_rows(tmp_path: Path, world: World, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_suite(packed(tmp_path, world, text))


@pytest.mark.parametrize(
    ("text", "change", "words"),
    [
        (PACKED, lambda a: a[:3], "does not hold rows of an array of 3 rows"),
        (PACKED, lambda a: a.astype(np.float32), "type float32"),
        (PACKED, lambda a: a[..., :2], "pictures of shape"),
        (PACKED.replace("[3, 8, 8]", "[3, 8, 9]"), lambda a: a, "declared"),
        (PACKED.replace('"at"', '"light"'), lambda a: a, "does not hold rows"),
        (PACKED.replace('"at"', '"nowhere"'), lambda a: a, "no column 'nowhere'"),
    ],
)
def test_an_array_of_other_pictures_is_refused(
    tmp_path: Path, world: World, text: str, change: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    whole = np.zeros((len(world.ids), 8, 8, 3), np.uint8)
    suite = open_suite(packed(tmp_path, world, text, change(whole)))
    with pytest.raises((SuiteError, ConfigError), match=words):
        read_inputs(suite.inputs, suite.input_files, suite.root, suite.frames, np.array([0]))


def test_pickles_are_not_opened(tmp_path: Path, world: World) -> None:
    suite = open_suite(packed(tmp_path, world))
    np.save(tmp_path / "images.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(SuiteError, match="cannot be read"):
        read_inputs(suite.inputs, suite.input_files, suite.root, suite.frames, np.array([0]))


SIGN = 'truth = { array = "signs.npy", row = "at" }'


def signs(folder: Path, world: World, values: np.ndarray, truth: str = SIGN) -> Path:
    text = sign_only().replace('truth = { columns = "has_{channel}" }', truth)
    assert truth in text
    write_suite(folder, world, text=text, freeze=False)
    np.save(folder / "signs.npy", values)
    return folder


def test_a_truth_in_an_array_of_all_frames_is_the_truth_of_the_columns(tmp_path: Path, world: World) -> None:
    columns = write_suite(tmp_path / "b", world, text=sign_only(), freeze=False)
    suites = [open_suite(folder) for folder in (signs(tmp_path / "a", world, world.signs), columns)]
    every = np.arange(len(world.ids))
    assert np.array_equal(*(suite.truths[0].read(every) for suite in suites))


def test_a_truth_with_a_row_names_no_keys(tmp_path: Path, world: World) -> None:
    with pytest.raises(ConfigError, match="`key` and `rows`, or `row`"):
        open_suite(signs(tmp_path, world, world.signs, SIGN.replace(" }", ', key = "signs" }')))


def test_a_truth_of_too_few_channels_is_refused(tmp_path: Path, world: World, without_table_contracts: None) -> None:
    suite = open_suite(signs(tmp_path, world, world.signs[:, :1]))
    with pytest.raises(SuiteError, match=r"2 channels want \(2,\)"):
        check_data(suite)


def test_a_truth_of_too_few_rows_is_refused(tmp_path: Path, world: World) -> None:
    with pytest.raises(SuiteError, match="does not hold rows"):
        open_suite(signs(tmp_path, world, world.signs[:-1]))


@pytest.mark.parametrize(
    "values", [[0.0, 1.0, np.nan], [-0.0, 0.1, 65520.0], [np.float32(0.1), 3e38, -1e-40], [0.1, 1e300, 5e-324], []]
)
def test_numbers_of_a_table_keep_every_bit_however_narrow_they_are_kept(values: list[float]) -> None:
    numbers = np.array(values, np.float64)[:, None]
    rows = np.arange(len(numbers))[::-1]
    assert _reader(numbers)(rows).tobytes() == numbers[rows].tobytes()


KEYED = 'truth = { array = "signs.npz", key = "signs", rows = "frame_id" }'


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("values", [np.asarray, np.asfortranarray, lambda a: a.astype(">f8"), lambda a: a.astype("?")])
def test_rows_of_an_archive_are_those_of_the_array(
    tmp_path: Path, world: World, save: Callable[..., None], values: Callable[[np.ndarray], np.ndarray]
) -> None:
    text = sign_only().replace('truth = { columns = "has_{channel}" }', KEYED)
    write_suite(tmp_path, world, text=text, freeze=False)
    order = np.argsort(world.ids)[::-1]
    save(tmp_path / "signs.npz", signs=values(world.signs[order]), frame_id=np.array(world.ids)[order])
    truths = open_suite(tmp_path).truths[0]
    for rows in ([3, 4, 5], [7, 2, 2, 3], [0], []):
        at = np.array(rows, np.int64)
        assert np.array_equal(truths.read(at), world.signs[at])


@pytest.mark.parametrize(("truth", "name"), [(SIGN, "signs.npy"), (KEYED, "signs.npz")])
@pytest.mark.parametrize("harm", [lambda file: os.truncate(file, 130), os.unlink])
def test_rows_that_are_gone_are_told(
    tmp_path: Path, world: World, truth: str, name: str, harm: Callable[[Path], None]
) -> None:
    signs(tmp_path, world, world.signs, truth)
    np.savez(tmp_path / "signs.npz", signs=world.signs, frame_id=np.array(world.ids))
    truths = open_suite(tmp_path).truths[0]
    harm(tmp_path / name)
    with pytest.raises(SuiteError, match=f"{name}: the array cannot be read"):
        truths.read(np.arange(3))


def test_an_array_that_ends_too_early_is_refused_when_it_is_opened(tmp_path: Path, world: World) -> None:
    os.truncate(signs(tmp_path, world, world.signs) / "signs.npy", 130)
    with pytest.raises(SuiteError, match="the array cannot be read: it ends too early"):
        open_suite(tmp_path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_archive_is_refused_when_it_is_opened(
    tmp_path: Path, world: World, save: Callable[..., None]
) -> None:
    signs(tmp_path, world, world.signs, KEYED)
    save(tmp_path / "signs.npz", signs=world.signs, frame_id=np.array(world.ids))
    with zipfile.ZipFile(tmp_path / "signs.npz") as archive:
        inside = archive.getinfo("signs.npy")
    data = bytearray((tmp_path / "signs.npz").read_bytes())
    data[inside.header_offset + inside.compress_size] ^= 1
    (tmp_path / "signs.npz").write_bytes(data)
    with pytest.raises(SuiteError, match="the arrays cannot be read"):
        open_suite(tmp_path)


@pytest.mark.parametrize("large", ["signs", "frame_id"])
def test_a_compressed_array_of_any_size_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: str
) -> None:
    monkeypatch.setattr(gate.suite.rows, "_MAX_HELD", 1 << 16)
    sizes = {name: (1 << 14) if name == large else 1 for name in ("signs", "frame_id")}
    arrays = {name: np.zeros(size) for name, size in sizes.items()}
    np.savez(tmp_path / "plain.npz", **arrays)
    assert open_member(tmp_path / "plain.npz", "signs", "frame_id", where="")[0].shape == (sizes["signs"],)
    np.savez_compressed(tmp_path / "signs.npz", **arrays)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", pytest.fail)
    words = (
        f"signs.npz, array {large}: a compressed array of 131,200 bytes; the most is 65,536\n  to mend: save it with"
    )
    with pytest.raises(SuiteError, match=words):
        open_member(tmp_path / "signs.npz", "signs", "frame_id", where="")
