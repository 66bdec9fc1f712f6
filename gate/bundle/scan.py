"""What a program archive may contain, decided from its bytes before any library loads it.

`torch.export.load` unpickles whatever an archive marks as pickled and hands native code to the system; there is no
argument that forbids it. So an archive is read once, judged here, and the very bytes that were judged are loaded.
This is the seam for a fuller scan: callers know only `scanned`.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from pathlib import Path

from gate.errors import BundleError, RefusedError, shown
from gate.strict import read_json

MAX_BYTES = 4 << 30
MAX_ENTRIES = 4096
_ENTRY = re.compile(
    r"[^/]{1,200}/(?:archive_format|archive_version|byteorder|\.data/(?:serialization_id|version)"
    r"|models/[A-Za-z0-9_]+\.json|extra/[A-Za-z0-9_.]+"
    r"|data/(?:weights|constants)/(?:(?:weight|tensor)_\d+|[A-Za-z0-9_]+_config\.json)"
    r"|data/sample_inputs/[A-Za-z0-9_]+\.pt)"
)
_SAVED_ENTRY = re.compile(
    r"[^/]{1,200}/(?:data\.pkl|data/\d+|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id)"
)
# All that torch.save writes for a list of plain tensors; anything else could run when it is read.
_SAFE_GLOBALS = {
    "torch._utils _rebuild_tensor_v2",
    "collections OrderedDict",
    "torch.serialization _get_layout",
    *(f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short")),
    *(f"torch {kind}Storage" for kind in ("Char", "Byte", "Bool")),
}


def scanned(path: Path) -> bytes:
    """The bytes of a `.pt2` archive that is safe to hand to the loader.

    Raises RefusedError for pickled or native content and for any entry that is not on the list, BundleError when the
    file is not such an archive.
    """
    if path.stat().st_size > MAX_BYTES:
        raise RefusedError(f"larger than {MAX_BYTES >> 30} GiB", where=str(path))
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _scan(archive, path)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        raise BundleError(
            f"not a torch.export archive: {shown(error)}", where=str(path), mend="write it with torch.export.save"
        ) from error
    return data


def _scan(archive: zipfile.ZipFile, path: Path) -> None:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES or len({e.filename for e in entries}) != len(entries):
        raise RefusedError("too many entries, or an entry twice", where=str(path))
    for entry in entries:
        where = f"{path}: {shown(entry.filename)}"
        if entry.filename.endswith(("data.pkl", ".pkl", ".pickle")) or "/code/" in entry.filename:
            raise RefusedError(
                "pickled or TorchScript content", where=where, mend="export with torch.export.save, without pickles"
            )
        if not _ENTRY.fullmatch(entry.filename):
            raise RefusedError("an entry that a torch.export archive of plain tensors does not have", where=where)
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise RefusedError("a compressed entry", where=where)
        if entry.filename.endswith("_config.json"):
            _scan_config(archive.read(entry), where)
        elif entry.filename.endswith(".pt"):
            _scan_saved(archive.read(entry), where)
    if not any(re.fullmatch(r"[^/]+/models/[^/]+\.json", e.filename) for e in entries):
        raise BundleError("not a torch.export archive: it holds no model", where=str(path))


def _scan_config(data: bytes, where: str) -> None:
    """Weights and constants must be raw tensors, in files of their own."""
    document = read_json(data, where=where, error=BundleError)
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict):
        raise BundleError("no table of tensors", where=where)
    for name, tensor in config.items():
        if not isinstance(tensor, dict) or tensor.get("use_pickle") is not False:
            raise RefusedError(
                f"tensor {shown(name)} is pickled", where=where, mend="export without custom objects or tensor subclasses"
            )
        if not re.fullmatch(r"(weight|tensor)_\d+", str(tensor.get("path_name"))):
            raise RefusedError(f"tensor {shown(name)} is kept as {shown(tensor.get('path_name'))}", where=where)


def _scan_saved(data: bytes, where: str) -> None:
    """Sample inputs are absent, or a torch.save file whose pickle rebuilds plain tensors and does nothing else.

    The loader falls back to a full unpickler when its restricted one fails, so the opcodes themselves are judged.
    """
    if not data:
        return
    if not data.startswith(b"PK"):
        raise RefusedError("pickled sample inputs in the old torch.save layout", where=where)
    with zipfile.ZipFile(io.BytesIO(data)) as inner:
        for entry in inner.infolist():
            if not _SAVED_ENTRY.fullmatch(entry.filename) or entry.file_size > len(data):
                raise RefusedError(f"sample inputs with an entry {shown(entry.filename)}", where=where)
            if entry.filename.endswith(".pkl"):
                _scan_pickle(inner.read(entry), where)


def _scan_pickle(data: bytes, where: str) -> None:
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL" and argument not in _SAFE_GLOBALS:
            raise RefusedError(f"pickled sample inputs that would run {shown(argument)}", where=where)
        # STACK_GLOBAL takes its name from the stack, where it can be hidden; torch.save never writes it.
        if opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"):
            raise RefusedError("pickled sample inputs that build objects", where=where)
