"""What a program archive says of itself, read with `zipfile` and `json` alone: its graph, and digests of its tensors.

The bytes have passed `scanned`. What the loader could read in two ways, or is not known here, is not understood.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gate.bundle.made import NotUnderstoodError, digest

#: Version of the archive's schema that is known here: major, and the highest minor.
SCHEMA = (8, 20)
_TENSOR = {"dtype", "sizes", "requires_grad", "device", "strides", "storage_offset", "layout"}


@dataclass(frozen=True)
class Tensor:
    """A weight: digest of its type, layout and bytes; form is the same without the bytes."""

    digest: str
    form: str


@dataclass(frozen=True)
class Archive:
    """model: the exported program as JSON. weights, constants: by name. about: facts of the file, that change how it
    is read.
    """

    model: dict[str, Any]
    weights: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]
    about: list[Any]


def read_archive(data: bytes) -> Archive:
    """The program in the bytes of an archive. Raises NotUnderstoodError."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        top = names[0].partition("/")[0]
        if any(name.partition("/")[0] != top for name in names):
            raise NotUnderstoodError("the archive has two top folders")
        if [name for name in names if name.startswith(f"{top}/models/")] != [f"{top}/models/model.json"]:
            raise NotUnderstoodError("the archive holds several programs")
        model = json.loads(archive.read(f"{top}/models/model.json"))
        given = set(names)
        facts: list[Any] = [
            archive.read(name).decode("ascii", "replace").strip() if name in given else None
            for name in (f"{top}/byteorder", f"{top}/archive_version", f"{top}/archive_format")
        ]
        sample = f"{top}/data/sample_inputs/model.pt"
        # Whether there are sample inputs decides whether guards are checked; what they hold does not matter.
        facts.append(sample in given and archive.getinfo(sample).file_size > 0)
        weights, constants = (_tensors(archive, f"{top}/data/{kind}", kind, given) for kind in ("weights", "constants"))
    version = model.get("schema_version") if isinstance(model, dict) else None
    major, minor = (version.get(key) for key in ("major", "minor")) if isinstance(version, dict) else (None, None)
    if major != SCHEMA[0] or not isinstance(minor, int) or not 0 <= minor <= SCHEMA[1]:
        raise NotUnderstoodError(f"the archive's schema is {major}.{minor}, known is {SCHEMA[0]}.{SCHEMA[1]}")
    return Archive(model, weights, constants, [version, model.get("opset_version"), model.get("verifiers"), *facts])


def _tensors(archive: zipfile.ZipFile, folder: str, kind: str, given: set[str]) -> dict[str, Tensor]:
    """name -> digest of all tensors of a kind; each file is read once, whoever shares it."""
    listed = f"{folder}/model_{kind}_config.json"
    if listed not in given:
        raise NotUnderstoodError(f"the archive has no table of {kind}")
    content: dict[str, tuple[str, int]] = {}
    types: dict[str, Any] = {}
    found: dict[str, Tensor] = {}
    for name, entry in json.loads(archive.read(listed))["config"].items():
        meta, path = entry.get("tensor_meta"), f"{folder}/{entry['path_name']}"
        if not isinstance(meta, dict) or set(meta) != _TENSOR or path not in given:
            raise NotUnderstoodError(f"tensor {name} is incomplete")
        if path not in content:
            read = archive.read(path)
            content[path] = hashlib.sha256(read).hexdigest(), len(read)
        # The loader gives every tensor of a file the type of the first that names it, and zeros to an empty one.
        if types.setdefault(path, [meta["dtype"], meta["device"]]) != [meta["dtype"], meta["device"]]:
            raise NotUnderstoodError(f"tensor {name} shares its bytes with one of another type")
        if not content[path][1] and {"as_int": 0} not in meta["sizes"]:
            raise NotUnderstoodError(f"tensor {name} has no bytes")
        form = digest("tensor", meta, entry.get("is_param"), content[path][1])
        found[name] = Tensor(digest("bytes", form, content[path][0]), form)
    return found
