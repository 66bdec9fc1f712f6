"""The frozen exam: frames, truths, splits, slices and heads, with the digest of all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gate.errors import ConfigError, LockError, SuiteError, shown
from gate.heads import Head
from gate.located import Lines
from gate.lock import Lock, make_lock, read_lock, stamp_of, verify
from gate.strict import relative_path
from gate.suite.definition import Definition, Input, read_definition
from gate.suite.frames import Frames, read_table, select_frames, text_columns
from gate.suite.inputs import file_names, optional_names, template_columns
from gate.suite.truth import Truths, open_truth

DEFINITION, LOCK, EXPECTATIONS = "suite.toml", "suite.lock", "expectations.json"
#: Changes whenever the same outputs and truths would give other evidence.
EVALUATOR = "1"


@dataclass(frozen=True)
class Suite:
    """input_files: input -> file of each frame, (F,), "" where an optional one has none. lock: digests of all files as
    they were read. stamp: what the system said of these files before they were.
    """

    root: Path
    name: str
    version: str
    definition: Definition
    frames: Frames
    truths: tuple[Truths, ...]
    input_files: Mapping[str, list[str]]
    lock: Lock
    stamp: str

    def check_unchanged(self) -> None:
        """Raises LockError when a file is another one than when the suite was read: answers to frames that were
        swapped meanwhile must not be kept under the name of those that were locked.
        """
        if stamp_of(self.root, (file for file, _ in self.lock.files)) != self.stamp:
            raise LockError("the suite was changed while it was used", where=str(self.root), mend="run again")

    @property
    def digest(self) -> str:
        return self.lock.digest

    @property
    def heads(self) -> tuple[Head, ...]:
        return tuple(t.head for t in self.truths)

    @property
    def inputs(self) -> Mapping[str, Input]:
        return self.definition.inputs

    @property
    def predictions(self) -> tuple[str, ...]:
        return tuple(p for head in self.heads for p in head.predictions)


def read_suite(root: Path) -> Suite:
    """The frozen suite in a folder, every file checked against `suite.lock`.

    Raises ConfigError for a wrong suite.toml, SuiteError for wrong data, LockError for changed or unfrozen files.
    """
    lock = root / LOCK
    if (root / DEFINITION).is_file() and not lock.is_file():
        raise SuiteError(
            "this suite is not frozen", where=str(root), mend=f"run `gate suite freeze {root}` and commit {LOCK}"
        )
    suite = open_suite(root)
    verify(
        read_lock(lock), suite.lock, where=lock, mend="restore the files; a changed exam is a new version, frozen anew"
    )
    return suite


def open_suite(root: Path) -> Suite:
    """The suite in a folder as it is now, frozen or not; nothing is checked against a lock."""
    if not (root / DEFINITION).is_file():
        raise SuiteError(f"no {DEFINITION} in this folder", where=str(root), mend="name the folder of a suite")
    definition, lines = read_definition(root / DEFINITION)
    about = definition.suite
    path = relative_path(about.frames, root, where=lines.where("suite", "frames"))
    if not path.is_file():
        raise SuiteError(f"the frame table {about.frames} does not exist", where=lines.where("suite", "frames"))
    templates = [i.file for i in definition.inputs.values() if i.file] + [
        h.truth.file for h in definition.heads if h.truth.file
    ]
    columns = read_table(path, text_columns(definition, {c for t in templates for c in template_columns(t)}))
    frames = select_frames(definition, columns, path)
    for name, given in definition.inputs.items():
        if given.column is not None and given.column not in columns:
            where = lines.where("inputs", name, "column")
            raise ConfigError(f"there is no column '{shown(given.column)}' in the frame table", where=where)
    inputs = {
        name: (optional_names if given.optional else file_names)(
            given.file or str(given.array), frames, root, where=lines.where("inputs", name)
        )
        for name, given in definition.inputs.items()
        if given.file or given.array
    }
    truths = _truths(definition, lines, frames, root, inputs)
    files = {DEFINITION, about.frames, *(f for names in inputs.values() for f in names if f)}
    files |= {f for t in truths for f in t.files}
    if (root / EXPECTATIONS).is_file():
        files.add(EXPECTATIONS)
    stamp = stamp_of(root, sorted(files))
    try:
        lock = make_lock("suite", root, files, name=about.name, version=about.version, evaluator=EVALUATOR)
    except LockError as error:
        raise _of_a_frame(error, frames, root, inputs) from error
    return Suite(root, about.name, about.version, definition, frames, truths, inputs, lock, stamp)


def _truths(
    definition: Definition, lines: Lines, frames: Frames, root: Path, inputs: Mapping[str, list[str]]
) -> tuple[Truths, ...]:
    present = {name: np.array([bool(file) for file in files]) for name, files in inputs.items()}
    return tuple(
        open_truth(
            rule,
            frames,
            root,
            definition.suite.frame_id,
            lines.where("heads", k, "truth"),
            present[rule.requires] if rule.requires else None,
        )
        for k, rule in enumerate(definition.heads)
    )


def _of_a_frame(error: LockError, frames: Frames, root: Path, inputs: Mapping[str, list[str]]) -> LockError:
    """The error, with input and frame where it is about the file of one."""
    for name, files in inputs.items():
        for frame, file in zip(frames.ids.tolist(), files, strict=True):
            if file and str(root / file) == error.where:
                where = f"{error.where}, input {name}, frame {shown(frame)}"
                return LockError(error.what, where=where, mend=error.mend or "restore the file")
    return error
