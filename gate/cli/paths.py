"""Where things are when the command line does not say."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from gate.errors import UsageError


def suite_folder(given: Path | None) -> Path:
    """The suite named, or the only one in suites/. Raises UsageError when that is not one."""
    if given is not None:
        return given
    found = sorted(p.parent for p in Path("suites").glob("*/suite.toml"))
    if len(found) == 1:
        return found[0]
    what = f"there are {len(found)} suites in suites/" if found else "there is no suite in suites/"
    raise UsageError(what, mend="name one: --suite DIR")


def policy_file(given: Path | None, suite: Path) -> Path:
    """The policy named, or policy.toml here, or beside the suite. Raises UsageError when there is none."""
    if given is not None:
        return given
    for path in (Path("policy.toml"), suite / "policy.toml"):
        if path.is_file():
            return path
    raise UsageError("there is no policy.toml, neither here nor in the suite", mend="name one: --policy FILE")


def shipped(source: str) -> Path:
    """What ships with gate, by its place in the source tree: inside an installed package, or in that tree."""
    package = Path(__file__).resolve().parents[1]
    for path in (package / "embedded" / source, package.parent / source):
        if path.is_dir():
            return path
    raise UsageError(f"{source} is not installed", mend="install gate from its wheel or source tree")


def cache() -> Path:
    """~/.cache, or where XDG_CACHE_HOME says that caches are. Raises UsageError for a user without a home."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return Path(home) if os.path.isabs(home) else Path.home() / ".cache"
    except RuntimeError as error:
        raise UsageError("this user has no home folder", mend="set HOME, or XDG_CACHE_HOME") from error


def thresholds_folder(given: Path | None) -> Path:
    """The folder of released operating points: thresholds/, which need not exist, or the one named, which must."""
    if given is not None and not given.is_dir():
        raise UsageError("there is no such folder of released operating points", where=str(given))
    return given or Path("thresholds")


def writable(folder: Path, option: str = "--out") -> None:
    """Make `folder`, now rather than after the work. Raises UsageError when nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".gate-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"nothing can be written there: {error.strerror}",
            where=str(folder),
            mend=f"choose another folder with {option}",
        ) from error


def now() -> str:
    """Time for reports, UTC; SOURCE_DATE_EPOCH stands in for the clock where builds must repeat."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError("SOURCE_DATE_EPOCH is not a number of seconds", mend="set it right, or unset it") from error
    return moment.isoformat(timespec="seconds")
