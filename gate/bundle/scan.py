"""What a program may contain, decided from its bytes before any library loads it; of archives here, of ONNX beside it.

`torch.export.load` unpickles whatever an archive marks as pickled and hands native code to the system; there is no
argument that forbids it. So an archive is read once, judged here, and the very bytes that were judged are loaded.
This is the seam for a fuller scan: callers know only `scanned`.
"""

from __future__ import annotations

import ast
import io
import os
import pickletools
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from gate.atomic import open_regular
from gate.bundle.onnx_scan import MAX_BYTES as ONNX_BYTES
from gate.bundle.onnx_scan import looks_like_onnx, read_onnx
from gate.bundle.tensors import MAX_DIMS, MAX_SIZE
from gate.errors import BundleError, RefusedError, shown
from gate.strict import read_json

#: What programs may be, by the endings of their names.
KINDS = {".pt2": "a torch.export archive", ".onnx": "an ONNX model"}
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
# The loader makes Python source of a model: expressions of shapes go to `eval`, guards to `exec`, names into the text
# of functions. So names must be names, and expressions may use nothing but these.
_MODEL_BYTES = 12 << 20  # a network of 500 operators has 0.6 MB
# Texts in it that are parsed on their own, which takes a hundred times as long as to read them; that network has 6, of
# 800 letters in all.
_PARSED, _PARSED_LETTERS = 10_000, 500_000
_ENTRY_BYTES = 512  # of the directory; names of the loader's own archives have 60 characters
_PICKLE_BYTES = 1 << 20  # that of a hundred sample inputs has 20 kB
_MEND_MODEL = "export anew with torch.export.save; if it still says so, ship predictions and report it"
_CODE = ("expr_str", "guards_code")
_WORDS = ("name", "as_name", "forward_arg_names")
_SPECS = ("in_spec", "out_spec")
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
_TARGETS = ("target", "as_operator")
_TEXTS = ("as_string", "as_strings")
# Operators that compute; not those that read and write files, run what was compiled elsewhere, or are found by import.
_TARGET = re.compile(
    r"torch\.ops\.(?:aten|prims|quantized_decomposed)\.(?!(?:from_file|save)\b)\w{1,100}\.\w{1,100}"
    r"|torch\.ops\.higher_order\.(?:cond|while_loop|scan|associative_scan|map_impl|out_dtype|invoke_subgraph|wrap\w*"
    r"|auto_functionalized\w*|flex_attention)"
    r"|(?:_operator|math)\.\w{1,100}|torch\.(?:_sym|sym)_\w{1,100}"
)
_UNQUOTED = re.compile(r"[^\"'\\\x00-\x1f\x7f]{0,2000}")  # text that stays text between the quotes of Python source
_QUOTED = re.compile(r"[A-Za-z0-9_./ -]{0,200}")  # no bracket: nothing can be called, wherever it ends up
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_SYMBOL = re.compile(r"[a-z]{1,4}\d{1,9}")
_FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        "Symbol Integer Rational Float Add Mul Pow Max Min Mod Abs floor ceiling Piecewise ExprCondPair And Or Not "
        "Eq Ne Lt Le Gt Ge Equality Unequality StrictLessThan LessThan StrictGreaterThan GreaterThan true false "
        "oo FloorDiv ModularIndexing Where PythonMod CleanDiv CeilToInt FloorToInt CeilDiv LShift RShift PowByNatural "
        "FloatPow FloatTrueDiv IntTrueDiv IsNonOverlappingAndDenseIndicator TruncToFloat TruncToInt RoundToInt "
        "RoundDecimal ToFloat Identity L",
    )
)
_ATTRIBUTES = ("size", "stride", "storage_offset", "dim")
_NODES = (ast.Expression, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Constant, ast.Name)
_NODES += (ast.Attribute, ast.Subscript, ast.Tuple, ast.keyword, ast.Load)
_NODES += (ast.boolop, ast.operator, ast.unaryop, ast.cmpop)


def scanned(path: Path) -> bytes:
    """The bytes of a program that is safe to hand to its loader: a torch.export archive, or an ONNX model.

    What it is, its content says; a name that says something else is refused. Raises RefusedError for content that could
    run code and for all that is not on the lists, BundleError when the file is broken or neither of the two.
    """
    with open_regular(path, BundleError) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise RefusedError(f"larger than {MAX_BYTES >> 30} GiB", where=str(path))
        found = _kind(file, path, size)
        data = file.read()
    if found == ".onnx":
        read_onnx(data, str(path))
    else:
        _scan_archive(data, path)
    return data


def _kind(file: BinaryIO, path: Path, size: int) -> str:
    """What a file is by its first and last bytes: so one of gigabytes that is nothing of the two is not read.

    Raises as `scanned` does; leaves the file at its beginning.
    """
    first = file.read(8)
    file.seek(max(0, size - 22))
    ends_as_archive = file.read(4) == b"PK\x05\x06"
    file.seek(0)
    named = path.suffix if path.suffix in KINDS else ""
    found = ".pt2" if first.startswith(b"PK") else ".onnx" if looks_like_onnx(first) else ""
    if named and found and named != found:
        raise RefusedError(
            f"{KINDS[found]} under the name of {KINDS[named]}",
            where=str(path),
            mend=f"name it {path.stem}{found}, in bundle.toml as well",
        )
    if found == ".onnx" and size > ONNX_BYTES:
        raise RefusedError("larger than 2 GiB", where=str(path))
    if not found and named != ".pt2":
        raise BundleError(f"not {KINDS['.onnx']}", where=str(path), mend="export it anew")
    if found != ".onnx" and not ends_as_archive:
        what = "not a torch.export archive: it does not end as one"
        raise BundleError(what, where=str(path), mend="write it with torch.export.save")
    return found or ".pt2"


def _scan_archive(data: bytes, path: Path) -> None:
    try:
        _check_size(data, str(path))
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_directory(archive, data)
            _scan(archive, path, len(data))
    # RuntimeError: an encrypted entry, or a method of compression that is not known
    except (zipfile.BadZipFile, RuntimeError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise BundleError(
            f"not a torch.export archive: {shown(error)}", where=str(path), mend="write it with torch.export.save"
        ) from error


def _check_size(data: bytes, where: str) -> None:
    """Raises RefusedError for a directory that is larger than any that may be read: the reader holds all of it."""
    if data[-22:-18] != b"PK\x05\x06":
        raise zipfile.BadZipFile("it does not end as one")
    size = struct.unpack_from("<I", data, len(data) - 10)[0]
    if data[-98:-94] == b"PK\x06\x06":  # a zip64 record, which says what does not fit here
        size = max(size % 0xFFFFFFFF, struct.unpack_from("<Q", data, len(data) - 58)[0])
    if size > MAX_ENTRIES * _ENTRY_BYTES:
        raise RefusedError("too many entries", where=where)


def _check_directory(archive: zipfile.ZipFile, data: bytes) -> None:
    """Raises BadZipFile unless the directory is where the end records say, and where Python's reader looks for it.

    The loader's own reader goes to the recorded place, Python's to the place before the end records: an archive in
    which these differ shows one content here and another one there.
    """
    end = data.rfind(b"PK\x05\x06")
    start, comment = struct.unpack_from("<IH", data, end + 16)
    located = end - 20 if data[end - 20 : end - 16] == b"PK\x06\x07" else None
    if located is not None:
        record = struct.unpack_from("<Q", data, located + 8)[0]
        start64 = struct.unpack_from("<Q", data, record + 48)[0]
        if record != located - 56 or data[record : record + 4] != b"PK\x06\x06" or start not in (start64, 0xFFFFFFFF):
            raise zipfile.BadZipFile("two readers could read it differently")
        start = start64
    if comment or end + 22 != len(data) or archive.start_dir != start or not data.startswith(b"PK\x03\x04"):
        raise zipfile.BadZipFile("two readers could read it differently")


def _scan(archive: zipfile.ZipFile, path: Path, size: int) -> None:
    entries = archive.infolist()
    # The loader's reader does not tell upper from lower case.
    if len(entries) > MAX_ENTRIES or len({e.filename.casefold() for e in entries}) != len(entries):
        raise RefusedError("too many entries, or an entry twice", where=str(path))
    if sum(e.compress_size for e in entries) > size:
        raise RefusedError("entries that lie over each other", where=str(path))
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
        if entry.filename.endswith(".json") and entry.file_size > _MODEL_BYTES:
            raise RefusedError(f"larger than {_MODEL_BYTES:,} bytes", where=where)
        if entry.filename.endswith("_config.json"):
            _scan_config(archive.read(entry), where)
        elif "/models/" in entry.filename:
            _scan_model(read_json(archive.read(entry), where=where, error=BundleError, max_bytes=_MODEL_BYTES), where)
        elif entry.filename.endswith(".pt"):
            _scan_saved(archive.read(entry), where)
    models = sum(bool(re.fullmatch(r"[^/]+/models/[^/]+\.json", e.filename)) for e in entries)
    if models != 1:
        what = f"it holds {models or 'no'} model{'s' * (models > 1)}"
        raise BundleError(f"not a torch.export archive: {what}", where=str(path))


def _scan_config(data: bytes, where: str) -> None:
    """Weights and constants must be raw tensors, in files of their own."""
    document = read_json(data, where=where, error=BundleError)
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict):
        raise BundleError("no table of tensors", where=where)
    for name, tensor in config.items():
        if not isinstance(tensor, dict) or tensor.get("use_pickle") is not False:
            raise RefusedError(
                f"tensor {shown(name)} is pickled",
                where=where,
                mend="export without custom objects or tensor subclasses",
            )
        if not re.fullmatch(r"(weight|tensor)_\d+", str(tensor.get("path_name"))):
            raise RefusedError(f"tensor {shown(name)} is kept as {shown(tensor.get('path_name'))}", where=where)
        if not _UNQUOTED.fullmatch(name):
            raise RefusedError(f"tensor {shown(name)} has a name that would be run", where=where)
        meta = tensor.get("tensor_meta")
        sizes = meta.get("sizes") if isinstance(meta, dict) else None
        if isinstance(sizes, list) and (len(sizes) > MAX_DIMS or not all(map(_is_size, sizes))):
            what = f"tensor {shown(name)} has more than {MAX_DIMS} dimensions, or a size that is not 0 to {MAX_SIZE:,}"
            raise RefusedError(what, where=where, mend="export anew with torch.export.save")


def _is_size(size: Any) -> bool:
    number = size.get("as_int") if isinstance(size, dict) else None
    return type(number) is int and 0 <= number <= MAX_SIZE


def _scan_model(document: Any, where: str) -> None:
    """Raises RefusedError for a text that becomes Python source and is neither a name nor arithmetic."""
    texts = _texts(document)
    parsed = [text for key in (*_CODE, *_SPECS) for text in texts.get(key, ())]
    if len(parsed) > _PARSED or sum(map(len, parsed)) > _PARSED_LETTERS:
        what = f"more than {_PARSED:,} expressions, or {_PARSED_LETTERS:,} letters of them"
        raise RefusedError(what, where=where, mend=_MEND_MODEL)
    for key, found in texts.items():
        for text in found:
            if not _harmless(key, text, where):
                what = f"'{shown(text)}' in `{key}` would be run when it is loaded"
                raise RefusedError(what, where=where, mend=_MEND_MODEL)


def _texts(document: Any) -> dict[str, dict[str, None]]:
    """Key -> the texts under it, each once, in a fixed order: most stand in a model hundreds of times."""
    found: dict[str, dict[str, None]] = {}
    pending: list[tuple[str, Any]] = [("", document)]
    while pending:
        key, value = pending.pop()
        if isinstance(value, dict):
            pending += [(k, v) for k, v in value.items() if k != "metadata" and (v or v == "")]
        elif isinstance(value, list):
            pending += [(key, v) for v in value if v and type(v) in (dict, list)]
            if texts := dict.fromkeys([v for v in value if type(v) is str]):
                found.setdefault(key, {}).update(texts)
        elif isinstance(value, str):
            found.setdefault(key, {})[value] = None
    return found


def _harmless(key: str, text: str, where: str) -> bool:
    if key in _WORDS:
        return not text or bool(_IDENTIFIER.fullmatch(text))
    if key in _CODE:
        return _arithmetic(text)
    if key in _SPECS:
        allowed = _QUOTED if key == "in_spec" else _UNQUOTED
        return all(allowed.fullmatch(word) for word in _words(text, where))
    if key in _TARGETS:
        return bool(_TARGET.fullmatch(text))
    # Names of weights, for one, stand between quotes; texts that operators are given are written as `repr` writes them.
    return key in _TEXTS or bool(_UNQUOTED.fullmatch(text))


def _words(text: str, where: str) -> list[str]:
    """All keys of a tree of inputs or outputs: JSON in a text, with JSON in its contexts.

    Raises RefusedError for nodes other than plain containers: the loader imports whatever module such a node names.
    """
    document = read_json(text.encode(), where=where, error=BundleError)
    pending: list[Any] = document[1:] if isinstance(document, list) else [document]
    found: list[str] = []
    while pending:
        node = pending.pop()
        plain = isinstance(node, dict) and set(node) == {"type", "context", "children_spec"}
        if not plain or node["type"] not in _CONTAINERS or not isinstance(node["children_spec"], list):
            raise RefusedError("inputs or outputs in containers that are not plain", where=where, mend=_MEND_MODEL)
        pending += node["children_spec"]
        keys = None
        if node["context"] is not None:
            keys = read_json(str(node["context"]).encode(), where=where, error=BundleError)
        if not isinstance(keys, list | None) or not all(isinstance(key, str) for key in keys or ()):
            raise RefusedError("inputs or outputs in containers that are not plain", where=where, mend=_MEND_MODEL)
        found += keys or ()
    return found


def _arithmetic(text: str) -> bool:
    """Is `text` an expression of numbers, symbols and the functions that a shape may use?"""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval"))) if len(text) <= 20_000 else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return bool(nodes) and all(_plain(node) for node in nodes)


def _plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in _FUNCTIONS or bool(_SYMBOL.fullmatch(node.id))
    if isinstance(node, ast.Attribute):
        return node.attr in _ATTRIBUTES
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return bool(_QUOTED.fullmatch(node.value))
    return isinstance(node, _NODES)


def _scan_saved(data: bytes, where: str) -> None:
    """Sample inputs are absent, or a torch.save file whose pickle rebuilds plain tensors and does nothing else.

    The loader falls back to a full unpickler when its restricted one fails, so the opcodes themselves are judged.
    """
    if not data:
        return
    if not data.startswith(b"PK"):
        raise RefusedError("pickled sample inputs in the old torch.save layout", where=where)
    _check_size(data, where)
    with zipfile.ZipFile(io.BytesIO(data)) as inner:
        _check_directory(inner, data)
        for entry in inner.infolist():
            most = _PICKLE_BYTES if entry.filename.endswith(".pkl") else len(data)
            if not _SAVED_ENTRY.fullmatch(entry.filename) or entry.file_size > most:
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
