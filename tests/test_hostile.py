"""Files that somebody made to do harm, each refused with exit code 4 and one line; nothing in them runs.

What only the scan of programs or the strict readers see has tests of its own: `test_scan.py`, `test_strict.py`,
`test_bad_input.py`. Here are the files as a command meets them.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gate.bundle import bundle as bundles
from gate.bundle import scan
from gate.errors import BundleError
from gate.run import local, predictions, process, session
from tests.support.hydra import edited, nodes_of
from tests.support.programs import Programs, added, archive_of, entries_of, replaced
from tests.support.tiny import (
    World,
    frame_table,
    gate,
    program_bundle,
    refused,
    sign_only,
    write_suite,
)

COMPARE = ("compare", "old", "new", "--suite", "suite", "--out", "out")
CHECK = ("bundle", "check", "new")
fifos = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")


class Payload:
    """Pickled, it makes a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outside") / "it-ran"


def pickled(marker: Path) -> dict[str, bytes]:
    """Pickles in every coat that people ship them in."""
    raw = pickle.dumps(Payload(marker), 2)
    array = io.BytesIO()
    np.save(array, np.array([Payload(marker)], dtype=object), allow_pickle=True)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as file:
        for name in ("data.pkl", "../../escaped"):
            file.addfile(entry := tarfile.TarInfo(name), io.BytesIO(raw))
            entry.size = len(raw)
    return {
        "raw": raw,
        "protocol 0": pickle.dumps(Payload(marker), 0),
        "joblib": zlib.compress(raw),
        "torch.save": archive_of({"archive/data.pkl": raw, "archive/version": b"3\n"}),
        "old torch.save": pickle.dumps(0x1950A86A20F9469CFC6C, 2) + raw,
        "object array": array.getvalue(),
        "object arrays": archive_of({"edge.npy": array.getvalue(), "frame_id.npy": array.getvalue()}),
        "tar": tar.getvalue(),
    }


COATS = ["raw", "protocol 0", "joblib", "torch.save", "old torch.save", "object array", "object arrays", "tar"]


# Pickles under any name


@pytest.mark.parametrize("coat", COATS)
def test_a_pickle_named_like_a_program_is_refused(tmp_path: Path, marker: Path, coat: str) -> None:
    program_bundle(tmp_path / "new", pickled(marker)[coat])
    refused(gate(*CHECK, cwd=tmp_path), 4, "new/cam.pt2")
    assert not marker.exists()


@pytest.mark.parametrize("coat", COATS)
@pytest.mark.parametrize("suffix", [".parquet", ".safetensors"])
def test_a_pickle_named_like_recorded_predictions_is_refused(
    releases: Path, marker: Path, without_contract_worker: None, suffix: str, coat: str
) -> None:
    recorded(releases / "new", pickled(marker)[coat], suffix)
    refused(gate(*COMPARE, cwd=releases), 4, f"new/cam{suffix}")
    assert not marker.exists()


def recorded(folder: Path, data: bytes, suffix: str = ".parquet") -> None:
    """The predictions of a bundle are these bytes."""
    (folder / "cam.parquet").unlink()
    (folder / f"cam{suffix}").write_bytes(data)
    manifest = (folder / "bundle.toml").read_text().replace("cam.parquet", f"cam{suffix}")
    (folder / "bundle.toml").write_text(manifest)


ARRAY = '\n[inputs.points]\nkind = "array"\nfile = "points/{{frame_id}}{suffix}"\nshape = [2]\n'
FREEZE = ("suite", "freeze", "suite")


@pytest.mark.parametrize("coat", COATS)
@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_a_pickle_named_like_an_input_is_refused(
    tmp_path: Path, small_world: World, marker: Path, without_table_contracts: None, suffix: str, coat: str
) -> None:
    text = sign_only() + ARRAY.format(suffix=suffix)
    write_suite(tmp_path / "suite", small_world, text=text, freeze=False)
    (tmp_path / "suite" / "points").mkdir()
    for name in small_world.ids:
        (tmp_path / "suite" / "points" / f"{name}{suffix}").write_bytes(pickled(marker)[coat])
    refused(gate(*FREEZE, cwd=tmp_path), 4, f"suite/points/f0000{suffix}", "the array cannot be read")
    assert not marker.exists()


@pytest.mark.parametrize("coat", COATS)
def test_a_pickle_among_truths_is_refused(
    tmp_path: Path, small_world: World, marker: Path, without_table_contracts: None, coat: str
) -> None:
    write_suite(tmp_path / "suite", small_world, freeze=False)
    (tmp_path / "suite" / "rasters.npz").write_bytes(pickled(marker)[coat])
    refused(gate(*FREEZE, cwd=tmp_path), 4, "rasters.npz")
    assert not marker.exists()


# Programs that would run more than arithmetic


def hostile(folder: Path, archive: bytes, *words: str) -> None:
    """The program is refused by every command that could load it."""
    program_bundle(folder / "new", archive)
    refused(gate(*CHECK, cwd=folder), 4, "new/cam.pt2", *words)
    refused(gate("bundle", "show", "new", cwd=folder), 4, "new/cam.pt2", *words)


def with_target(programs: Programs, target: str) -> bytes:
    return edited(programs.honest, lambda model: nodes_of(model)[0].update(target=target))


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "torch.load",
        "torch.hub.load",
        "torch.ops.load_library",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.higher_order.aoti_call_delegate",
        "torch.ops.higher_order.call_torchbind",
        "torch.ops.higher_order.inline_asm_elementwise",
        "torch.ops.inductor._alloc_from_pool.default",
        "torch.ops.mylib.mine.default",
        "torch.ops.aten.add.Tensor\n",
        "#triton:kernel",
        "",
    ],
)
def test_what_is_no_operator_that_computes_is_refused(programs: Programs, tmp_path: Path, target: str) -> None:
    hostile(tmp_path, with_target(programs, target), "models/model.json", "in `target` would be run")


def test_an_operator_given_as_an_argument_is_refused_alike(programs: Programs, tmp_path: Path) -> None:
    def change(model: dict[str, Any]) -> None:
        nodes_of(model)[0]["inputs"][1]["arg"] = {"as_operator": "torch.load"}

    hostile(tmp_path, edited(programs.honest, change), "'torch.load' in `as_operator` would be run")


TREES = {
    "an enum": {
        "type": "builtins.dict",
        "context": json.dumps([{"__enum__": True, "fqn": "antigravity:x", "name": "y"}]),
    },
    "a dict of an enum": {
        "type": "builtins.dict",
        "context": json.dumps({"__enum__": True, "fqn": "this", "name": "y"}),
    },
    "a defaultdict": {
        "type": "collections.defaultdict",
        "context": {"default_factory_module": "antigravity", "default_factory_name": "x", "dict_context": []},
    },
    "a namedtuple": {"type": "collections.namedtuple", "context": '"os.stat_result"'},
    "a context that is a number": {"type": "builtins.dict", "context": "7"},
}


@pytest.mark.parametrize("where", ["in_spec", "out_spec"])
@pytest.mark.parametrize("kind", list(TREES))
def test_inputs_and_outputs_that_would_import_a_module_are_refused(
    programs: Programs, tmp_path: Path, kind: str, where: str
) -> None:
    """`torch.export.load` imports what these name: `antigravity`, of Python's own library, opens a browser."""

    def change(model: dict[str, Any]) -> None:
        signature = model["graph_module"]["module_call_graph"][0]["signature"]
        signature[where] = json.dumps([1, {**TREES[kind], "children_spec": []}])

    hostile(tmp_path, edited(programs.honest, change), "models/model.json", "containers that are not plain")


def test_a_weight_whose_name_is_a_program_is_refused(programs: Programs, tmp_path: Path, marker: Path) -> None:
    """Names of weights become Python source: `getattr(self, "…")`."""
    name = f'training"), getattr(__import__("os"), "system")("touch {marker.name}"), ("'

    def renamed(data: bytes) -> bytes:
        return data.replace(b'"gain"', json.dumps(name).encode())

    model = replaced(programs.honest, "models/model.json", renamed)
    hostile(tmp_path, model, "in `parameter_name` would be run")
    hostile(tmp_path, replaced(programs.honest, "model_weights_config.json", renamed), "a name that would be run")


@pytest.mark.parametrize("name", ["custom_obj_0", "opaque_obj_0", "../../weight_0", "weight_0.so"])
def test_constants_that_are_no_plain_tensors_are_refused(programs: Programs, tmp_path: Path, name: str) -> None:
    config = json.dumps({"config": {"thing": {"path_name": name, "use_pickle": False}}}).encode()
    archive = replaced(programs.honest, "constants_config.json", lambda data: config)
    hostile(tmp_path, archive, f"tensor thing is kept as {name}")


def test_weights_in_the_legacy_layout_are_refused(programs: Programs, tmp_path: Path, marker: Path) -> None:
    words = ("data/weights/model.pt", "an entry that a torch.export archive of plain tensors does not have")
    hostile(tmp_path, added(programs.honest, "data/weights/model.pt", pickle.dumps(Payload(marker))), *words)
    assert not marker.exists()


def test_entries_that_differ_by_case_alone_are_refused(programs: Programs, tmp_path: Path) -> None:
    """The loader takes the first of them, whatever its case; digests are made of the one in lower case."""
    config = next(data for name, data in entries_of(programs.honest).items() if name.endswith("weights_config.json"))
    archive = added(programs.honest, "data/weights/MODEL_weights_config.json", config)
    hostile(tmp_path, archive, "too many entries, or an entry twice")


def test_a_second_model_is_refused(programs: Programs, tmp_path: Path) -> None:
    model = next(data for name, data in entries_of(programs.honest).items() if name.endswith("models/model.json"))
    hostile(tmp_path, added(programs.honest, "models/other.json", model), "it holds 2 models")


def test_entries_that_lie_over_each_other_are_refused(programs: Programs, tmp_path: Path) -> None:
    """Weights that hold each other: a thousand of them would be read as a thousand times the file."""
    inner = bytes(4096)
    for k in range(40, 20, -1):
        inner = archive_of({f"archive/data/weights/weight_{k}": inner})
    data = bytearray(added(programs.honest, "data/weights/weight_20", inner))
    whole = bytes(data)
    end = data.rfind(b"PK\x05\x06")
    size, start = struct.unpack("<II", data[end + 12 : end + 20])
    directory, count = bytes(data[start : start + size]), struct.unpack("<H", data[end + 10 : end + 12])[0]
    for k in range(21, 41):
        name = f"archive/data/weights/weight_{k}".encode()
        at = whole.index(b"PK\x03\x04" + whole[4:4] + whole[whole.index(name) - 26 : whole.index(name)])
        length = struct.unpack_from("<I", whole, at + 18)[0]
        crc = whole[at + 14 : at + 18]
        fields = struct.pack("<HHHHHH", 20, 20, 0, 0, 0, 0) + crc + struct.pack("<II", length, length)
        directory += b"PK\x01\x02" + fields + struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, at) + name
        count += 1
    tail = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), start, 0)
    archive = whole[:start] + directory + tail
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert sum(entry.file_size for entry in opened.infolist()) > len(archive)
    hostile(tmp_path, archive, "entries that lie over each other")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"graph_module": {}, "graph_module": {}}', "duplicate key"),
        (b'{"a": NaN}', "cannot be represented"),
        (b'{"a": Infinity}', "cannot be represented"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "cannot be represented"),
        (b"[" * 100_000, "nested deeper than"),
        (b'{"a": "\\ud800"}', "half of a surrogate pair"),
        (b'{"a": ', "not valid JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "not valid JSON"),
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused_in_a_program(
    programs: Programs, tmp_path: Path, text: bytes, words: str
) -> None:
    for entry in ("models/model.json", "model_weights_config.json"):
        hostile(tmp_path, replaced(programs.honest, entry, lambda data: text), entry, words)


def test_an_operator_that_nobody_knows_breaks_the_heads_with_its_name(
    pictures: Path, programs: Programs, without_contract_worker: None
) -> None:
    program_bundle(pictures / "old", programs.honest)
    program_bundle(pictures / "new", with_target(programs, "torch.ops.aten.never_heard_of.default"))
    assert gate(*COMPARE, cwd=pictures).code == 1
    told = json.loads((pictures / "out" / "verdict.json").read_text())
    assert {c["verdict"] for c in told["cells"]} == {"broken"}
    words = "network cam: the program cannot be loaded: there is no operator torch.ops.aten.never_heard_of.default"
    assert all(c["reason"].startswith(words) for c in told["cells"])


# Bombs

LIMITED = """\
import resource, sys
from gate.cli import main
import gate.pipeline, pyarrow.parquet, safetensors.numpy
spent = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
resource.setrlimit(resource.RLIMIT_CPU, (spent + 5, spent + 5))
sys.argv = ["gate", *sys.argv[1:]]
try:
    main()
finally:
    with open("/proc/self/status") as status:
        print(next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmHWM")), file=sys.stderr)
"""


def bomb(folder: Path, *words: str, command: tuple[str, ...] = CHECK) -> None:
    """The command refuses it within five seconds of processor time, imports apart, and 1 GiB."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *command], cwd=folder, capture_output=True, text=True, check=False
    )
    *said, peak = done.stderr.strip().splitlines()
    assert done.returncode == 4, done.stderr
    assert int(peak) < 1024
    assert sum(line.startswith("gate: ") for line in said) == 1
    for word in words:
        assert word in done.stderr


def directory_of(count: int) -> bytes:
    """A zip archive whose directory lists one small entry so many times."""
    small = archive_of({"a/b": b""})
    end = small.rfind(b"PK\x05\x06")
    size, start = struct.unpack("<II", small[end + 12 : end + 20])
    listed = small[start : start + size] * count
    tail = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, len(listed), start, 0)
    return small[:start] + listed + tail


@pytest.mark.parametrize("count", [50_000, 2_000_000])
def test_an_archive_of_very_many_entries_is_refused_unread(tmp_path: Path, count: int) -> None:
    program_bundle(tmp_path / "new", directory_of(count))
    bomb(tmp_path, "new/cam.pt2", "too many entries")


def test_sample_inputs_of_very_many_entries_are_refused_unread(programs: Programs, tmp_path: Path) -> None:
    archive = replaced(programs.honest, "sample_inputs/model.pt", lambda data: directory_of(1_000_000))
    program_bundle(tmp_path / "new", archive)
    bomb(tmp_path, "sample_inputs/model.pt", "too many entries")


def test_a_long_pickle_among_sample_inputs_is_refused_unread(programs: Programs, tmp_path: Path) -> None:
    saved = archive_of({"archive/data.pkl": b"(" * (40 << 20), "archive/version": b"3\n"})
    program_bundle(tmp_path / "new", replaced(programs.honest, "sample_inputs/model.pt", lambda data: saved))
    bomb(tmp_path, "sample inputs with an entry archive/data.pkl")


@pytest.mark.parametrize("unit", [b"[],", b"0,", b'"",', b"{},"])
def test_a_model_of_the_largest_size_is_read_within_bounds(programs: Programs, tmp_path: Path, unit: bytes) -> None:
    text = b'{"a":[' + unit * ((scan._MODEL_BYTES - 100) // len(unit)) + b'0],"target":"os.system"}'
    program_bundle(tmp_path / "new", replaced(programs.honest, "models/model.json", lambda data: text))
    bomb(tmp_path, "'os.system' in `target` would be run")


@pytest.mark.parametrize("texts", [[str(k) for k in range(60_000)], [f"Max({'1,' * 9_900}{k})" for k in range(500)]])
def test_a_model_of_very_many_expressions_is_refused_unparsed(
    programs: Programs, tmp_path: Path, texts: list[str]
) -> None:
    def more(model: dict[str, Any]) -> None:
        model["more"] = {"expr_str": texts}

    program_bundle(tmp_path / "new", edited(programs.honest, more))
    bomb(tmp_path, "models/model.json", "more than 10,000 expressions, or 500,000 letters of them")


@pytest.mark.parametrize(
    "sizes",
    [
        [{"as_int": (1 << 63) - 1}] * 200_000,
        [{"as_int": 1}] * 65,
        [{"as_int": (1 << 40) + 1}],
        [{"as_int": -1}],
        [{"as_int": [1]}, {"as_int": 1 << 40}],
        ["12"],
    ],
    ids=["very many", "one too many", "too large", "negative", "a list", "a text"],
)
def test_a_weight_of_very_many_or_very_large_dimensions_is_refused(
    programs: Programs, tmp_path: Path, sizes: list[Any]
) -> None:
    def change(document: dict[str, Any]) -> None:
        document["config"]["gain"]["tensor_meta"]["sizes"] = sizes

    archive = edited(programs.honest, change, "model_weights_config.json")
    hostile(tmp_path, archive, "tensor gain has more than 64 dimensions, or a size that is not 0 to 1,099,511,627,776")


@pytest.mark.parametrize("name", ["cam.pt2", "cam.onnx"])
@pytest.mark.parametrize("begin", [b"", b"PK\x03\x04", b"\x08\x08"])
def test_gigabytes_of_nothing_are_refused_unread(tmp_path: Path, name: str, begin: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(begin)
    os.truncate(path, 4 << 30)
    tracemalloc.start()
    with pytest.raises(BundleError):
        scan.scanned(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_model_above_the_largest_size_is_refused_unread(programs: Programs, tmp_path: Path) -> None:
    text = b" " * (200 << 20)
    program_bundle(tmp_path / "new", replaced(programs.honest, "models/model.json", lambda data: text))
    bomb(tmp_path, "models/model.json", "larger than")


def table(folder: Path, rows: int, value: Any, name: str = "f0000", groups: int | None = None) -> None:
    """Recorded predictions of so many equal rows, a few kilobytes of them."""
    places = pa.array(np.zeros(rows, np.int32))
    columns = {"frame_id": pa.DictionaryArray.from_arrays(places, pa.array([name]))}
    columns["range"] = (
        value if isinstance(value, pa.Array) else pa.DictionaryArray.from_arrays(places, pa.array([value]))
    )
    pq.write_table(pa.table(columns), folder / "cam.parquet", compression="zstd", row_group_size=groups)
    assert (folder / "cam.parquet").stat().st_size < 1 << 20


def test_a_table_of_very_many_rows_is_refused_unread(releases: Path) -> None:
    table(releases / "new", 80_000_000, 1.0, groups=80_000_000)
    bomb(releases, "new/cam.parquet", "160,000,000 values; the most is", command=("run", *COMPARE[2:]))


def test_a_table_of_a_very_long_row_is_refused_unread(releases: Path) -> None:
    value = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(150_000_000, np.int8)), 150_000_000)
    table(releases / "new", 1, value)
    bomb(releases, "new/cam.parquet", "150,000,001 values; the most is", command=("run", *COMPARE[2:]))


def test_a_table_of_very_long_frame_ids_is_refused_unread(releases: Path) -> None:
    table(releases / "new", 100_000, 1.0, name="f" * 100_000)
    words = "100,000 frame ids of up to 100,000 bytes"
    bomb(releases, "new/cam.parquet", words, command=("run", *COMPARE[2:]))


def test_a_table_of_one_endless_frame_id_is_refused_unread(
    releases: Path, without_contract_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "MAX_ID_TEXT", 1 << 16)
    monkeypatch.setattr(pq.ParquetFile, "read", pytest.fail)
    columns = {"frame_id": pa.array(["f" * 140_000]), "range": pa.array([0.0], pa.float32())}
    pq.write_table(pa.table(columns), releases / "new/cam.parquet", compression="zstd", use_dictionary=False)
    words = "bytes of frame ids; the most is 131,072"
    refused(gate("run", "new", *COMPARE[3:], cwd=releases), 4, "new/cam.parquet", words)


def test_a_table_of_frame_ids_of_a_fixed_length_is_refused_unread(
    releases: Path, without_contract_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dictionary of one would stand for all rows, and be written out for each when it is read."""
    monkeypatch.setattr(pq.ParquetFile, "read", pytest.fail)
    columns = {"frame_id": pa.array([b"f" * 100], pa.binary(100)), "range": pa.array([0.0], pa.float32())}
    pq.write_table(pa.table(columns), releases / "new/cam.parquet", store_schema=False)
    words = ("neither strings nor integers", "to mend: write them as strings")
    refused(gate("run", "new", *COMPARE[3:], cwd=releases), 4, "new/cam.parquet", *words)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "there is no column 'frame_id'"),
        ({"frame_id": [["f0000"]]}, "neither strings nor integers"),
        ({"frame_id": [{"frame_id": "f0000"}]}, "neither strings nor integers"),
        ({"frame_id": [0.5]}, "neither strings nor integers"),
        ({"frame_id": pa.array([None], pa.string())}, "an empty frame_id"),
    ],
)
def test_a_table_without_plain_frame_ids_is_refused(
    releases: Path, without_contract_worker: None, columns: dict[str, Any], words: str
) -> None:
    pq.write_table(pa.table({**columns, "range": [0.0]}), releases / "new/cam.parquet")
    refused(gate("run", "new", *COMPARE[3:], cwd=releases), 4, "new/cam.parquet", words)


def tensors(header: dict[str, Any] | bytes, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def test_tensors_with_a_very_long_header_are_refused_unread(releases: Path) -> None:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    recorded(releases / "new", tensors({f"t{k:06d}": empty for k in range(300_000)}), ".safetensors")
    bomb(releases, "new/cam.safetensors", "larger than 8,388,608 bytes", command=("run", *COMPARE[2:]))


def test_tensors_of_very_many_empty_frame_ids_are_refused_unread(releases: Path) -> None:
    names = {"dtype": "U8", "shape": [4_000_000_000, 0], "data_offsets": [0, 0]}
    recorded(releases / "new", tensors({"frame_id": names}), ".safetensors")
    words = "4,000,000,000 frame ids of up to 0 bytes"
    bomb(releases, "new/cam.safetensors", words, command=("run", *COMPARE[2:]))


@pytest.mark.parametrize(("kind", "bits"), [("F4", 4), ("F8_E4M3", 8), ("BF16", 16), ("C64", 64), ("I32", 32)])
def test_tensors_whose_frame_ids_are_no_texts_are_refused(
    releases: Path, without_contract_worker: None, kind: str, bits: int
) -> None:
    names = {"dtype": kind, "shape": [4, 4], "data_offsets": [0, 2 * bits]}
    recorded(releases / "new", tensors({"frame_id": names}, bytes(2 * bits)), ".safetensors")
    words = (f"tensor 'frame_id' of {kind} and shape [4, 4] is not (F, W) uint8", "to mend: write them as strings")
    refused(gate(*COMPARE, cwd=releases), 4, "new/cam.safetensors", *words)


def test_a_lock_of_very_deep_or_very_many_values_is_refused_unread(releases: Path) -> None:
    for text in ("a = " + "[" * 500_000, "a" + ".a" * 100_000 + " = 1\n", "[files]\n" + 'x = "y"\n' * 300_000):
        (releases / "new" / "bundle.lock").write_text(text)
        bomb(releases, "new/bundle.lock", "this is not a lock")


def test_a_picture_that_grows_when_it_is_decoded_is_refused_undecoded(pictures: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 9000
    squeezed = zlib.compressobj(9)
    rows = b"".join(squeezed.compress(bytes(1 + 3 * side)) for _ in range(side)) + squeezed.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    assert len(data) < 1 << 20
    (pictures / "suite" / "images" / "f0000.png").write_bytes(data)
    refused(_undecided(pictures), 4, "suite/images/f0000.png", "a picture of 9000 x 9000 pixels")


def _undecided(pictures: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gate.suite.freeze.contracts", lambda root: ())
        return gate(*FREEZE, cwd=pictures)


def test_a_picture_that_starts_a_program_is_refused(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript, which Pillow would hand to Ghostscript, whatever the name of the file ends in."""
    monkeypatch.setattr(subprocess, "Popen", pytest.fail)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(touch) run\nshowpage\n%%EOF\n"
    (pictures / "suite" / "images" / "f0000.png").write_bytes(script)
    refused(_undecided(pictures), 4, "suite/images/f0000.png", "the picture cannot be decoded")


# Tensors that lie about themselves

ONE = {"dtype": "U8", "shape": [1, 5], "data_offsets": [0, 5]}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(tensors({"frame_id": ONE}, length=1 << 20), id="a header past the end"),
        pytest.param(tensors({"frame_id": ONE}, length=3), id="a header that is cut"),
        pytest.param(tensors(b"\x80\x04."), id="a pickle as a header"),
        pytest.param(tensors({"frame_id": ONE | {"data_offsets": [0, 500]}}, b"f0000"), id="bytes past the end"),
        pytest.param(tensors({"frame_id": ONE | {"data_offsets": [-5, 0]}}, b"f0000"), id="bytes before the start"),
        pytest.param(tensors({"frame_id": ONE, "sign": ONE}, b"f0000"), id="one over the other"),
        pytest.param(tensors({"frame_id": ONE | {"shape": [1, 50]}}, b"f0000"), id="a shape of other bytes"),
        pytest.param(tensors({"frame_id": ONE | {"shape": [1 << 40, 1 << 40]}}, b"f0000"), id="an endless shape"),
        pytest.param(tensors({"frame_id": ONE | {"dtype": "PICKLE"}}, b"f0000"), id="an unknown type"),
        pytest.param(
            tensors(b'{"frame_id": %s, "frame_id": %s}' % ((json.dumps(ONE).encode(),) * 2), b"f0000"), id="twice"
        ),
        pytest.param(tensors({"frame_id": ONE}, b"f0000") + b"more", id="bytes that belong to nothing"),
        pytest.param(b"\xff" * 8, id="a gigantic header"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_broken_tensors_are_refused(releases: Path, without_contract_worker: None, data: bytes) -> None:
    recorded(releases / "new", data, ".safetensors")
    refused(gate(*COMPARE, cwd=releases), 4, "new/cam.safetensors")


# Files that are none


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o644, os.makedev(1, 5))  # /dev/zero, which never ends
    except PermissionError:
        pytest.skip("only root may make devices")


def link(path: Path) -> None:
    (path.parent / "elsewhere").write_bytes(b"x")
    path.symlink_to("elsewhere")


def listening(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)  # names of sockets are short
        server.bind(path.name)
    server.close()


def folder(path: Path) -> None:
    path.mkdir()


def leading_out(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


KINDS = [fifo, device, link, listening, folder, dangling]


@fifos
@pytest.mark.parametrize("make", [*KINDS, leading_out], ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", ["cam.parquet", "bundle.toml", "bundle.lock"])
def test_what_is_no_regular_file_is_refused_in_a_bundle(
    releases: Path, without_contract_worker: None, name: str, make: Callable[[Path], None]
) -> None:
    gate("bundle", "lock", "new", cwd=releases)
    (releases / "new" / name).unlink()
    make(releases / "new" / name)
    ended = gate(*COMPARE, cwd=releases)
    assert ended.code in ((2, 4) if make is leading_out else (4,)), ended.err
    refused(ended, ended.code, "new/")
    assert "root:" not in ended.err


@fifos
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", ["cam.pt2"])
def test_what_is_no_regular_file_is_refused_as_a_program(
    programs: Programs, tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    program_bundle(tmp_path / "new", programs.honest)
    (tmp_path / "new" / name).unlink()
    make(tmp_path / "new" / name)
    for command in ("check", "show", "lock"):
        refused(gate("bundle", command, "new", cwd=tmp_path), 4, "new/")


@fifos
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", ["frames.csv", "suite.lock", "images/f0003.png"])
def test_what_is_no_regular_file_is_refused_in_a_suite(
    pictures: Path, without_contract_worker: None, name: str, make: Callable[[Path], None]
) -> None:
    (pictures / "suite" / name).unlink()
    make(pictures / "suite" / name)
    refused(gate("suite", "check", "suite", cwd=pictures), 4, "suite")


def test_a_hard_link_is_a_file_like_any_other_and_its_bytes_are_what_counts(
    releases: Path, without_contract_worker: None
) -> None:
    shutil.copy(releases / "new" / "cam.parquet", releases / "kept")
    (releases / "new" / "cam.parquet").unlink()
    os.link(releases / "kept", releases / "new" / "cam.parquet")
    assert gate("bundle", "lock", "new", cwd=releases).code == 0
    assert gate("bundle", "check", "new", cwd=releases).code == 0
    with (releases / "kept").open("ab") as file:
        file.write(b"more")
    refused(gate(*COMPARE, cwd=releases), 4, "files differ from the lock: 1 changed (cam.parquet)")


# Names


@pytest.mark.parametrize(
    "name",
    ["../old/cam.parquet", "/etc/passwd.parquet", "a/../cam.parquet", "a\\b.parquet", "~/cam.parquet", ".cam.parquet"],
)
def test_a_manifest_that_leaves_its_folder_is_refused(releases: Path, without_contract_worker: None, name: str) -> None:
    manifest = releases / "new" / "bundle.toml"
    manifest.write_text(manifest.read_text().replace('"cam.parquet"', json.dumps(name)))
    refused(gate(*COMPARE, cwd=releases), 2, "new/bundle.toml:6: networks.cam.predictions", "is not a path")


def test_files_that_are_one_on_some_machines_are_refused(releases: Path, without_contract_worker: None) -> None:
    shutil.copy(releases / "new" / "cam.parquet", releases / "new" / "CAM.parquet")
    manifest = releases / "new" / "bundle.toml"
    manifest.write_text(manifest.read_text() + '\n[networks.rear]\npredictions = "CAM.parquet"\n')
    words = ("new", "CAM.parquet and cam.parquet are one file on some machines", "to mend: rename one")
    refused(gate(*COMPARE, cwd=releases), 4, *words)


def test_a_template_cannot_be_led_out_of_the_suite_by_the_table(
    tmp_path: Path, small_world: World, without_table_contracts: None
) -> None:
    text = sign_only() + '\n[inputs.points]\nkind = "array"\nfile = "points/{light}.npy"\nshape = [2]\n'
    write_suite(tmp_path / "suite", small_world, text=text, freeze=False)
    rows = frame_table(small_world).replace(",night,", ",../../../etc/passwd,")
    (tmp_path / "suite" / "frames.csv").write_text(rows)
    refused(gate(*FREEZE, cwd=tmp_path), 2, "inputs.points", "is not a path that is allowed here")


def test_files_that_a_bundle_does_not_name_are_not_opened(
    releases: Path, marker: Path, without_contract_worker: None
) -> None:
    before = bundles.read_bundle(releases / "new").digest
    for name in ("pandas.py", "sitecustomize.py", "cam.pkl", "conftest.py"):
        (releases / "new" / name).write_text(f"open({str(marker)!r}, 'w').close()\n")
        (releases / name).write_text(f"open({str(marker)!r}, 'w').close()\n")
    os.mkfifo(releases / "new" / "cam.pt2")
    assert bundles.read_bundle(releases / "new").digest == before
    assert gate(*COMPARE, cwd=releases).code == 0
    assert not marker.exists()


# Files that are swapped while they are read


def test_a_program_that_is_swapped_after_it_was_digested_is_not_loaded(
    pictures: Path, programs: Programs, without_contract_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    program_bundle(pictures / "old", programs.honest)
    program_bundle(pictures / "new", programs.named_output)
    real = process.program_bytes

    def swapped(network: bundles.Network) -> bytes:
        assert network.program is not None
        if network.program.parent.name == "new":
            network.program.write_bytes(programs.three_channels)
        return real(network)

    monkeypatch.setattr(process, "program_bytes", swapped)
    session.end_workers()
    ended = gate(*COMPARE, cwd=pictures)
    assert (ended.code, ended.made) == (4, ())
    assert "new/cam.pt2: the program was changed while it was read" in ended.err


@pytest.mark.parametrize("back", [False, True], ids=["for good", "and back"])
@pytest.mark.parametrize("store", ["none", "kept"])
def test_predictions_that_are_swapped_after_they_were_digested_are_not_judged(
    releases: Path, without_contract_worker: None, monkeypatch: pytest.MonkeyPatch, back: bool, store: str
) -> None:
    real = local.open_predictions

    def swapped(paths: Any, ids: Any) -> Any:
        (path,) = paths
        if path.parent.name != "new":
            return real(paths, ids)
        kept = path.read_bytes()
        path.unlink()
        shutil.copy(releases / "old" / "cam.parquet", path)
        found = real(paths, ids)
        if back:
            path.unlink()
            path.write_bytes(kept)
        return found

    monkeypatch.setattr(local, "open_predictions", swapped)
    ended = gate(*COMPARE, "--store", str(releases / store) if store == "kept" else "none", cwd=releases)
    assert ended.code == 4, ended.err
    assert "new: the bundle was changed while it ran" in ended.err
    assert not [name for name in ended.made if name.startswith("out/")]
