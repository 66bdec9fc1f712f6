"""The examined: a folder with `bundle.toml`, read strictly, addressed by the digest of everything that it names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from pathlib import Path

from gate.atomic import open_regular
from gate.bundle.scan import MAX_BYTES as PROGRAM
from gate.errors import BundleError, ConfigError, RefusedError, shown
from gate.located import Lines
from gate.lock import Lock, digest_of, make_lock, read_lock, verify, write_lock
from gate.strict import MAX_BYTES, MAX_PROBLEMS, NAME, read_toml_located, relative_path

MANIFEST, LOCK = "bundle.toml", "bundle.lock"
#: Frames that a windowed network may look back on.
MAX_WINDOW = 256
#: Far above any stack; what is told of a manifest, and how long that takes, is bounded by it.
MAX_NETWORKS = 1000
#: Bytes of recorded predictions, asked before anything is read: a sparse file of a terabyte takes an hour to hash.
MAX_RECORDED = 64 << 30
_NAMED = 5  # names in one line


@dataclass(frozen=True)
class _About:
    name: str
    version: str
    parent: str | None = None


@dataclass(frozen=True)
class _Network:
    program: str | None = None
    predictions: str | tuple[str, ...] | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    heads: tuple[str, ...] = ()
    state: dict[str, str] = field(default_factory=dict)
    window: int | None = None


@dataclass(frozen=True)
class _Manifest:
    bundle: _About
    networks: dict[str, _Network]


@dataclass(frozen=True)
class Network:
    """A program with inputs and heads, or the predictions that it once made.

    inputs: (program input, source) pairs, where a source is a suite input or another network's head.
    heads: names of its outputs, in order; of a prediction network, all columns are heads and this is empty.
    digest: names everything that its outputs depend on: program, wiring and all upstream networks. content: digest of
    its own files alone. state: inputs that are fed with its own heads of the frame before, with zeros where a clip
    begins. window: 0, or so many frames of a clip, up to the one that is asked of, that each input holds.
    """

    name: str
    program: Path | None
    predictions: tuple[Path, ...]
    inputs: tuple[tuple[str, str], ...]
    heads: tuple[str, ...]
    digest: str
    content: str = ""
    state: tuple[str, ...] = ()
    window: int = 0

    def upstream(self) -> tuple[str, ...]:
        """Networks whose heads it reads, itself apart."""
        return tuple(
            source.partition(".")[0] for name, source in self.inputs if "." in source and name not in self.state
        )


@dataclass(frozen=True)
class Bundle:
    """networks are in an order in which each comes after those that it reads."""

    root: Path
    name: str
    version: str
    networks: tuple[Network, ...]
    digest: str
    locked: bool

    def network(self, name: str) -> Network | None:
        return next((n for n in self.networks if n.name == name), None)


def read_bundle(root: Path) -> Bundle:
    """The bundle in a folder, checked against its lock when it has one.

    Raises ConfigError for a manifest that is wrong, BundleError for missing files, LockError for changed bytes.
    """
    manifest, lines, files = _read_manifest(root)
    lock = _lock_now(root, manifest, files)
    locked = os.path.lexists(root / LOCK)
    if locked:
        recorded = read_lock(root / LOCK, MAX_BYTES)
        verify(recorded, lock, where=root / LOCK, mend="restore the files, or run `gate bundle lock` anew")
    networks = _ordered(manifest, files, dict(lock.files), root, lines)
    return Bundle(root, manifest.bundle.name, manifest.bundle.version, networks, lock.digest, locked)


def _read_manifest(root: Path) -> tuple[_Manifest, Lines, dict[str, tuple[Path, ...]]]:
    """The manifest of a folder with the files of each network, all of which exist."""
    if not os.path.lexists(root / MANIFEST):
        raise BundleError(f"no {MANIFEST} in this folder", where=str(root), mend="name the folder of a bundle")
    open_regular(root / MANIFEST, BundleError).close()  # what a link leads to is not to be shown as what is wrong in it
    manifest, lines = read_toml_located(root / MANIFEST, _Manifest)
    if len(manifest.networks) > MAX_NETWORKS:
        raise ConfigError(
            f"{len(manifest.networks):,} networks; the most is {MAX_NETWORKS:,}, far above any stack",
            where=lines.where("networks"),
        )
    problems = [p for name, network in manifest.networks.items() for p in _problems(name, network, manifest, lines)]
    for key, text in (("name", manifest.bundle.name), ("version", manifest.bundle.version)):
        if not NAME.fullmatch(text):
            problems.append(f"{lines.where('bundle', key)}: '{shown(text)}' is not a name (letters, digits, _ . : / -)")
    if len(problems) > MAX_PROBLEMS:
        problems[MAX_PROBLEMS:] = [f"{root / MANIFEST}: and {len(problems) - MAX_PROBLEMS:,} more problems"]
    if problems:
        raise ConfigError("\n".join(problems))
    files = {name: _files(name, network, root, lines) for name, network in manifest.networks.items()}
    for name, paths in files.items():
        for path in paths:
            if not path.is_file():
                raise BundleError(
                    f"the file {path.name} of network {name} does not exist",
                    where=lines.where("networks", name),
                    mend=f"put it into {root}, or mend the name",
                )
    return manifest, lines, files


def lock_bundle(root: Path) -> Lock:
    """Write `bundle.lock` of the folder as it is now; answers the lock, whose digest is the bundle id."""
    manifest, _, files = _read_manifest(root)
    lock = _lock_now(root, manifest, files)
    write_lock(root / LOCK, lock)
    return lock


def _lock_now(root: Path, manifest: _Manifest, files: dict[str, tuple[Path, ...]]) -> Lock:
    for name, paths in files.items():
        most = PROGRAM if manifest.networks[name].program is not None else MAX_RECORDED
        for path in paths:
            if path.stat().st_size > most:
                raise RefusedError(f"larger than {most >> 30} GiB", where=str(path))
    names = [MANIFEST, *(p.relative_to(root).as_posix() for paths in files.values() for p in paths)]
    return make_lock("bundle", root, names, name=manifest.bundle.name, version=manifest.bundle.version, evaluator="-")


def _problems(name: str, network: _Network, manifest: _Manifest, lines: Lines) -> list[str]:
    where = lines.where("networks", name)
    found = []
    if not NAME.fullmatch(name) or "." in name:
        found.append(f"{where}: '{shown(name)}' is not a network name (letters, digits, _ : / -, no dot)")
    if (network.program is None) == (network.predictions is None):
        found.append(f"{where}: a network has either `program` or `predictions`")
    for key, start in network.state.items():
        at, source = lines.where("networks", name, "state", key), network.inputs.get(key)
        if source is None or source.partition(".")[0] != name:
            found.append(
                f'{at}: state is an input that reads a head of its own network, inputs.{shown(key)} = "{shown(name)}.…"'
            )
        if start != "zeros":
            found.append(f'{at}: state starts as "zeros", not as {shown(start, 40)!r}')
    if network.window is not None and (not 2 <= network.window <= MAX_WINDOW or network.state or not network.inputs):
        at = lines.where("networks", name, "window")
        found.append(f"{at}: a window is 2 to {MAX_WINDOW} frames of the inputs of a program without state")
    if network.program is not None and not network.program.endswith((".pt2", ".onnx")):
        at = lines.where("networks", name, "program")
        found.append(f"{at}: programs are torch.export archives (.pt2) or ONNX models (.onnx)")
    if network.program is not None and not network.heads:
        found.append(f"{where}: a program needs `heads`, the names of its outputs in order")
    if network.program is not None and not network.inputs:
        found.append(f"{where}: a program needs `inputs`, program input = suite input")
    if network.predictions is not None and (network.inputs or network.heads):
        found.append(f"{where}: predictions have no `inputs` or `heads`: the columns of the file are the heads")
    for head in network.heads:
        if not NAME.fullmatch(head) or "." in head:
            found.append(f"{lines.where('networks', name, 'heads')}: '{shown(head)}' is not a head name")
    if len(set(network.heads)) != len(network.heads):
        found.append(f"{lines.where('networks', name, 'heads')}: a head is named twice")
    for key, source in network.inputs.items():
        upstream, dot, head = source.partition(".")
        at = lines.where("networks", name, "inputs", key)
        if dot and upstream not in manifest.networks:
            found.append(f"{at}: there is no network '{shown(upstream)}'; networks: {_some(manifest.networks)}")
        elif dot and manifest.networks[upstream].program is None:
            found.append(f"{at}: network '{shown(upstream)}' has predictions, which no program can read")
        elif dot and head not in manifest.networks[upstream].heads:
            found.append(f"{at}: network '{shown(upstream)}' has no head '{shown(head)}'")
    return found


def _some(names: Iterable[str], between: str = ", ") -> str:
    """The first few names."""
    told = [shown(name) for name in islice(names, _NAMED + 1)]
    return between.join([*told[:_NAMED], "…"] if len(told) > _NAMED else told)


def _files(name: str, network: _Network, root: Path, lines: Lines) -> tuple[Path, ...]:
    key = "program" if network.program is not None else "predictions"
    given = network.program if network.program is not None else network.predictions
    texts = (given,) if isinstance(given, str) else given or ()
    where = lines.where("networks", name, key)
    for text in texts:
        if key == "predictions" and not text.endswith((".parquet", ".safetensors")):
            raise ConfigError("predictions are .parquet or .safetensors files", where=where)
    return tuple(relative_path(text, root, where=where) for text in texts)


def _ordered(
    manifest: _Manifest, files: dict[str, tuple[Path, ...]], digests: dict[str, str], root: Path, lines: Lines
) -> tuple[Network, ...]:
    sources = {
        name: sorted({s.partition(".")[0] for k, s in network.inputs.items() if "." in s and k not in network.state})
        for name, network in manifest.networks.items()
    }
    try:
        order = list(TopologicalSorter(sources).static_order())
    except CycleError as error:
        cycle = _some(error.args[1], " -> ")
        raise ConfigError(
            f"networks read each other in a circle: {cycle}",
            where=lines.where("networks", error.args[1][0]),
            mend='cut the circle; an own head, of the frame before, is read with state = { INPUT = "zeros" }',
        ) from error
    made: dict[str, Network] = {}
    for name in order:
        network = manifest.networks[name]
        parts = [digests[p.relative_to(root).as_posix()] for p in files[name]]
        parts += [f"{key}={source}" for key, source in sorted(network.inputs.items())]
        parts += [f"<{upstream} {made[upstream].digest}" for upstream in sources[name]]
        parts += [f">{head}" for head in network.heads]
        parts += [f"state {key}" for key in sorted(network.state)] + [f"window {n}" for n in (network.window,) if n]
        program = files[name][0] if network.program is not None else None
        made[name] = Network(
            name,
            program,
            () if program else files[name],
            tuple(sorted(network.inputs.items())),
            network.heads,
            digest_of("\n".join(parts).encode()),
            digest_of("\n".join(parts[: len(files[name])]).encode()),
            tuple(sorted(network.state)),
            network.window or 0,
        )
    return tuple(made[name] for name in order)
