"""Program archives that would run code when they are loaded are refused from their bytes, before torch is imported."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.bundle import scanned
from gate.errors import BundleError, RefusedError
from tests.support.programs import Programs, added, archive_of, entries_of, replaced
from tests.support.tiny import gate, program_bundle, refused


class Payload:
    """Pickled, it makes a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.fixture
def evil(marker: Path) -> bytes:
    return pickle.dumps(Payload(marker), 2)


def saved(data: bytes, name: str = "data.pkl") -> bytes:
    """A torch.save file whose pickle is `data`."""
    return archive_of({f"archive/{name}": data, "archive/version": b"3\n", "archive/byteorder": b"little"})


def refuse(archive: bytes, folder: Path, *words: str, error: type[BundleError] = RefusedError) -> None:
    """The scan refuses the archive, and so does the command line; neither runs what is in it."""
    bundle = program_bundle(folder / "bundle", archive)
    with pytest.raises(error) as caught:
        scanned(bundle / "cam.pt2")
    for command in ("check", "show"):
        refused(gate("bundle", command, "bundle", cwd=folder), 4, "bundle/cam.pt2", *words)
    assert type(caught.value) is error
    assert not (folder / "it-ran").exists()


# Honest programs


@pytest.mark.parametrize("kind", ["honest", "static", "two_outputs", "named_output", "demanding"])
def test_an_honest_export_passes_and_its_bytes_are_handed_on(programs: Programs, tmp_path: Path, kind: str) -> None:
    program_bundle(tmp_path, getattr(programs, kind))
    assert scanned(tmp_path / "cam.pt2") == getattr(programs, kind)


def test_an_honest_export_that_was_written_anew_entry_by_entry_passes(programs: Programs, tmp_path: Path) -> None:
    program_bundle(tmp_path, archive_of(entries_of(programs.honest)))
    assert scanned(tmp_path / "cam.pt2")


def test_the_scan_itself_does_not_import_torch(programs: Programs, tmp_path: Path, evil: bytes) -> None:
    program_bundle(tmp_path / "good", programs.honest)
    program_bundle(tmp_path / "evil", added(programs.honest, "data.pkl", evil))
    code = (
        "import sys\nfrom pathlib import Path\nfrom gate.bundle import scanned\nscanned(Path('good/cam.pt2'))\n"
        "try:\n    scanned(Path('evil/cam.pt2'))\nexcept Exception as error:\n    print(type(error).__name__)\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "RefusedError\nFalse\n"


# Pickles


@pytest.mark.parametrize("config", ["model_weights_config.json", "model_constants_config.json"])
def test_weights_that_are_pickled_are_refused(programs: Programs, tmp_path: Path, evil: bytes, config: str) -> None:
    def pickled(data: bytes) -> bytes:
        one = {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}
        return json.dumps({"config": {"gain": one}}).encode()

    archive = replaced(replaced(programs.honest, config, pickled), "weights/weight_0", lambda data: evil)
    refuse(archive, tmp_path, config, "tensor gain is pickled", "to mend: export without custom objects")


@pytest.mark.parametrize("value", ["null", '"false"', "0", "[]"])
def test_weights_that_do_not_say_that_they_are_plain_are_refused(
    programs: Programs, tmp_path: Path, value: str
) -> None:
    config = f'{{"config": {{"gain": {{"path_name": "weight_0", "use_pickle": {value}}}}}}}'
    refuse(
        replaced(programs.honest, "weights_config.json", lambda data: config.encode()),
        tmp_path,
        "tensor gain is pickled",
    )


def test_a_custom_object_among_the_constants_is_refused(programs: Programs, tmp_path: Path) -> None:
    config = b'{"config": {"thing": {"path_name": "custom_obj_0", "use_pickle": false}}}'
    words = ("tensor thing is kept as custom_obj_0",)
    refuse(replaced(programs.honest, "constants_config.json", lambda data: config), tmp_path, *words)


@pytest.mark.parametrize(
    "name", ["data.pkl", "constants.pkl", "code/__torch__.py", "code/__torch__/net.py", "extra/x.pickle"]
)
def test_torchscript_and_pickled_entries_are_refused(
    programs: Programs, tmp_path: Path, evil: bytes, name: str
) -> None:
    words = (name, "pickled or TorchScript content", "to mend: export with torch.export.save")
    refuse(added(programs.honest, name, evil), tmp_path, *words)


def test_a_torchscript_archive_is_refused(tmp_path: Path, evil: bytes) -> None:
    archive = archive_of({"net/data.pkl": evil, "net/version": b"3\n", "net/code/__torch__.py": b""})
    refuse(archive, tmp_path, "net/data.pkl", "pickled or TorchScript content")


def test_a_bare_pickle_is_refused(tmp_path: Path, evil: bytes) -> None:
    refuse(evil, tmp_path, "not a torch.export archive", "to mend: write it with torch.export.save", error=BundleError)


def test_sample_inputs_in_the_old_layout_are_refused(programs: Programs, tmp_path: Path, evil: bytes) -> None:
    archive = replaced(programs.honest, "sample_inputs/model.pt", lambda data: evil)
    refuse(archive, tmp_path, "sample_inputs/model.pt", "pickled sample inputs in the old torch.save layout")


def test_sample_inputs_that_would_run_a_command_are_refused(programs: Programs, tmp_path: Path, evil: bytes) -> None:
    archive = replaced(programs.honest, "sample_inputs/model.pt", lambda data: saved(evil))
    refuse(archive, tmp_path, "sample_inputs/model.pt", f"would run {os.system.__module__} system")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_sample_inputs_are_refused_in_every_protocol_of_pickle(
    programs: Programs, tmp_path: Path, marker: Path, protocol: int
) -> None:
    data = pickle.dumps(Payload(marker), protocol)
    words = ("sample_inputs/model.pt", "pickled sample inputs that")
    refuse(replaced(programs.honest, "sample_inputs/model.pt", lambda _: saved(data)), tmp_path, *words)


@pytest.mark.parametrize(
    "opcodes",
    [
        pytest.param(b"\x80\x04\x8c\x02os\x8c\x06system\x93.", id="STACK_GLOBAL"),
        pytest.param(b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93.", id="STACK_GLOBAL from the memo"),
        pytest.param(b"(Vtrue\nios\nsystem\n.", id="INST"),
        pytest.param(b"(ccollections\nOrderedDict\no.", id="OBJ"),
        pytest.param(b"\x80\x02ccollections\nOrderedDict\n)\x81.", id="NEWOBJ"),
        pytest.param(b"\x80\x04ccollections\nOrderedDict\n)}\x92.", id="NEWOBJ_EX"),
        pytest.param(b"\x80\x02\x82\x01.", id="EXT1"),
        pytest.param(b"\x80\x02\x83\x01\x00.", id="EXT2"),
        pytest.param(b"\x80\x02\x84\x01\x00\x00\x00.", id="EXT4"),
        pytest.param(b"ctorch._utils\n_rebuild_tensor_v2 \n.", id="a name that only looks allowed"),
        pytest.param(b"cbuiltins\neval\n.", id="eval"),
    ],
)
def test_opcodes_that_find_or_build_anything_else_are_refused(
    programs: Programs, tmp_path: Path, opcodes: bytes
) -> None:
    archive = replaced(programs.honest, "sample_inputs/model.pt", lambda data: saved(opcodes))
    refuse(archive, tmp_path, "sample_inputs/model.pt", "pickled sample inputs that")


@pytest.mark.parametrize("name", ["other.pkl", "code/x.py", "constants.pkl", "deeper/data.pkl"])
def test_sample_inputs_with_other_entries_are_refused(programs: Programs, tmp_path: Path, name: str) -> None:
    archive = replaced(programs.honest, "sample_inputs/model.pt", lambda data: saved(b".", name))
    refuse(archive, tmp_path, "sample_inputs/model.pt", f"sample inputs with an entry archive/{name}")


# Text of a model that the loader would evaluate


def model_with(programs: Programs, old: str, new: str) -> bytes:
    def change(data: bytes) -> bytes:
        assert old in data.decode()
        return data.decode().replace(old, new).encode()

    return replaced(programs.honest, "models/model.json", change)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('touch {marker}') or {old}",
        "{old}.__class__",
        "lambdify(1, 'open')",
        "(lambda: 1)()",
        "Symbol('__import__(1)')",
        "S('1')",
        "f'{old}'",
        "[x for x in (1, 2)]",
        "a(",
    ],
)
def test_a_shape_that_is_a_program_is_refused(
    programs: Programs, tmp_path: Path, marker: Path, expression: str
) -> None:
    old = json.loads(entries_of(programs.honest)["archive/models/model.json"])
    old = old["graph_module"]["graph"]["tensor_values"]["image"]["sizes"][0]["as_expr"]["expr_str"]
    text = expression.replace("{marker}", str(marker)).replace("{old}", old)
    archive = model_with(programs, json.dumps(old), json.dumps(text))
    refuse(archive, tmp_path, "models/model.json", "would be run when it is loaded")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"guards_code": []', "\"guards_code\": [\"__import__('os').system('touch x') == 0\"]"),
        ('"forward_arg_names": ["image"]', '"forward_arg_names": ["image=print(1)"]'),
        ('{"name": "image"}', '{"name": "image=print(1)"}'),
        ('{"name": "self", "arg"', '{"name": "self=print(1), x", "arg"'),
        ('\\"context\\": \\"[]\\"', '\\"context\\": \\"[\\\\\\"x=print(1)\\\\\\"]\\"'),
    ],
)
def test_a_name_that_is_a_program_is_refused(programs: Programs, tmp_path: Path, old: str, new: str) -> None:
    refuse(model_with(programs, old, new), tmp_path, "models/model.json", "would be run when it is loaded")


# Native code, and files that are none


@pytest.mark.parametrize(
    "name",
    [
        "data/aotinductor/model/wrapper.so",
        "data/aotinductor/model/kernel.cpp",
        "data/aotinductor/model/kernel.cubin",
        "data/weights/weight_0.so",
        "data/weights/../../../weight_0",
        "models/model.py",
        "executorch/model.pte",
    ],
)
def test_native_code_and_unknown_entries_are_refused(programs: Programs, tmp_path: Path, name: str) -> None:
    words = (name, "an entry that a torch.export archive of plain tensors does not have")
    refuse(added(programs.honest, name, b"\x7fELF"), tmp_path, *words)


def test_a_plain_text_file_is_refused(tmp_path: Path) -> None:
    refuse(b"version https://git-lfs.github.com/spec/v1\n", tmp_path, "not a torch.export archive", error=BundleError)


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_truncated_archive_is_refused(programs: Programs, tmp_path: Path, part: float) -> None:
    data = programs.honest
    refuse(data[: int(part * len(data))], tmp_path, "not a torch.export archive", "to mend:", error=BundleError)


def test_an_archive_without_a_model_is_refused(programs: Programs, tmp_path: Path) -> None:
    entries = {name: data for name, data in entries_of(programs.honest).items() if "/models/" not in name}
    refuse(archive_of(entries), tmp_path, "not a torch.export archive: it holds no model", error=BundleError)


# Zip tricks


def test_compressed_entries_are_refused(programs: Programs, tmp_path: Path) -> None:
    archive = archive_of(entries_of(programs.honest), compression=zipfile.ZIP_DEFLATED)
    refuse(archive, tmp_path, "a compressed entry")


def test_a_zip_bomb_is_refused_unread(programs: Programs, tmp_path: Path) -> None:
    """Five megabytes of zeros in a few kilobytes that claim to be stored."""
    entries = entries_of(programs.honest) | {"archive/data/weights/weight_9": bytes(5 << 20)}
    data = bytearray(archive_of(entries, compression=zipfile.ZIP_DEFLATED))
    at = data.find(b"PK\x01\x02")
    while at >= 0:  # every method in the central directory becomes "stored"
        data[at + 10 : at + 12] = b"\0\0"
        at = data.find(b"PK\x01\x02", at + 4)
    assert len(data) < 50_000
    refuse(bytes(data), tmp_path, "a compressed entry")


def test_a_bomb_among_the_sample_inputs_is_refused(programs: Programs, tmp_path: Path) -> None:
    entries = {"archive/data.pkl": bytes(5 << 20), "archive/version": b"3\n"}
    bomb = archive_of(entries, compression=zipfile.ZIP_DEFLATED)
    archive = replaced(programs.honest, "sample_inputs/model.pt", lambda data: bomb)
    refuse(archive, tmp_path, "sample inputs with an entry archive/data.pkl")


def test_an_entry_that_stands_twice_is_refused(programs: Programs, tmp_path: Path) -> None:
    file = io.BytesIO(programs.honest)
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(archive.namelist()[0], b"")
    refuse(file.getvalue(), tmp_path, "too many entries, or an entry twice")


def test_an_encrypted_entry_is_refused(programs: Programs, tmp_path: Path) -> None:
    data = bytearray(archive_of(entries_of(programs.honest)))
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 8] |= 1
        at = data.find(b"PK\x01\x02", at + 4)
    refuse(bytes(data), tmp_path, "not a torch.export archive", error=BundleError)


def test_sample_inputs_whose_compressed_bytes_are_damaged_are_refused(programs: Programs, tmp_path: Path) -> None:
    inner = bytearray(archive_of({"archive/data.pkl": b"abcdefgh" * 9}, compression=zipfile.ZIP_DEFLATED))
    start = inner.find(b"data.pkl") + len("data.pkl")
    inner[start : start + 4] = b"\xff" * 4
    with pytest.raises(zlib.error), zipfile.ZipFile(io.BytesIO(inner)) as opened:
        opened.read("archive/data.pkl")
    archive = replaced(programs.honest, "sample_inputs/model.pt", lambda data: bytes(inner))
    refuse(archive, tmp_path, "not a torch.export archive", error=BundleError)


def test_an_archive_that_two_readers_would_read_differently_is_refused(programs: Programs, tmp_path: Path) -> None:
    two = with_two_directories(archive_of(entries_of(programs.honest)))
    assert zipfile.ZipFile(io.BytesIO(two)).namelist() == list(entries_of(programs.honest))
    refuse(two, tmp_path, "not a torch.export archive", "two readers", error=BundleError)


def test_sample_inputs_that_two_readers_would_read_differently_are_refused(programs: Programs, tmp_path: Path) -> None:
    archive = replaced(programs.honest, "sample_inputs/model.pt", lambda data: with_two_directories(saved(b".")))
    refuse(archive, tmp_path, "not a torch.export archive", "two readers", error=BundleError)


def test_an_archive_with_a_zip64_record_in_another_place_is_refused(programs: Programs, tmp_path: Path) -> None:
    """Python's reader takes the record before its locator, others the one that the locator names."""
    data = bytearray(programs.honest)
    end = data.rfind(b"PK\x05\x06")
    record = end - 20 - 56
    assert data[record : record + 4] == b"PK\x06\x06", "torch writes zip64 records, however small the archive"
    start = struct.unpack_from("<Q", data, record + 48)[0]
    struct.pack_into("<Q", data, record + 48, start + 56)
    struct.pack_into("<Q", data, end - 12, start)
    struct.pack_into("<I", data, end + 16, start + 56)
    other = data[record : record + 56]
    struct.pack_into("<QQ", other, 24, 1, 1)  # one entry instead of ten
    archive = bytes(data[:start] + other + data[start:])
    refuse(archive, tmp_path, "not a torch.export archive", error=BundleError)


def with_two_directories(archive: bytes) -> bytes:
    """Python's reader looks for the directory before its end record, others where the end record says it is."""
    end = archive.rfind(b"PK\x05\x06")
    size, start = struct.unpack("<II", archive[end + 12 : end + 20])
    return archive[:end] + archive[start : start + size] + archive[end:]


def test_bytes_before_the_archive_are_refused(programs: Programs, tmp_path: Path) -> None:
    refuse(b"#!/bin/sh\n" + programs.honest, tmp_path, "not a torch.export archive", "two readers", error=BundleError)


def test_a_file_that_is_too_large_is_refused_unread(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.bundle.scan.MAX_BYTES", 1 << 10)
    refuse(programs.honest, tmp_path, "larger than")
