"""`release.toml`: what a branch ships, and what it is judged by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gate.errors import ConfigError, shown
from gate.located import Lines
from gate.strict import read_toml_located, relative_path

FILE = "release.toml"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FOLDERS = "in this version bundles, suites and evidence are in folders of the repository"


@dataclass(frozen=True)
class Release:
    """Paths are relative to the repository, '/'-separated. digest: the bundle's id. evidence: empty when there is none.

    A path names nothing outside the repository, whatever links there are.
    """

    bundle: str
    digest: str
    suite: str
    policy: str
    evidence: str = ""


@dataclass(frozen=True)
class _File:
    release: Release


def read_release(path: Path) -> tuple[Release, Lines]:
    """The release in a file, and the lines of its keys. Raises ConfigError naming every problem with its line."""
    file, lines = read_toml_located(path, _File)
    problems = []
    for key in ("bundle", "suite", "policy", "evidence"):
        text, where = getattr(file.release, key), lines.where("release", key)
        if "://" in text or text.startswith("models:"):
            problems.append(f"{where}: {shown(repr(text))} is an address; {_FOLDERS}")
        elif text or key != "evidence":
            try:
                relative_path(text, path.parent, where=where)
            except ConfigError as error:
                problems.append(str(error))
    if not _DIGEST.fullmatch(file.release.digest):
        what = "is not a digest; `gate bundle lock` prints it"
        problems.append(f"{lines.where('release', 'digest')}: {shown(repr(file.release.digest))} {what}")
    if problems:
        raise ConfigError("\n".join(problems))
    return file.release, lines
