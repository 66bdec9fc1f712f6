"""What a change proposes: the exam from the protected base commit, and from the head nothing but a bundle.

The head is data. It is compared with the base commit's release, under the base commit's suite, policy and thresholds;
what the change edits of these is told, and takes effect for the next change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from gate.bundle import read_bundle
from gate.errors import ConfigError, GateError, RefusedError, SuiteError, shown
from gate.github import tree
from gate.github.release import FILE, Release, read_release
from gate.located import Lines
from gate.strict import relative_path

#: Protected besides the suite and the policy that release.toml names: whatever decides what is judged, and how.
PROTECTED = ("thresholds", "waivers", "allowed_signers", "anchors.toml", ".github", ".gitlab-ci.yml", "Jenkinsfile")
_EVIDENCE = "evidence.safetensors"  # as `gate run --out DIR` names it


@dataclass(frozen=True)
class Change:
    """A head commit against a base commit, resolved. since: the commit that both come from.

    edited: protected files that the head changes since then; release.toml when it names another suite or policy.
    """

    base: str
    head: str
    since: str
    edited: tuple[str, ...]


@dataclass(frozen=True)
class Proposal:
    """Folders and files to judge by, and the bundles to judge; all hold the digests that are asked of them.

    evidence: file of the incumbent's evidence, when its release has one. shipping, release: of base and head; lines: of
    the head's release.toml.
    """

    incumbent: Path
    candidate: Path
    suite: Path
    policy: Path
    thresholds: Path
    evidence: Path | None
    shipping: Release
    release: Release
    lines: Lines

    @property
    def digests(self) -> tuple[str, str]:
        return self.shipping.digest, self.release.digest


def change_of(repo: Path, base: str, head: str) -> Change:
    """The change between two commits. Raises UsageError for commits that are not here."""
    old, new = tree.commit_of(repo, base), tree.commit_of(repo, head)
    since = tree.merge_base(repo, old, new)
    with TemporaryDirectory(prefix="gate-") as folder:
        releases = {c: _release(repo, c, Path(folder, c)) for c in {since, old, new}}
    # Evidence that comes in with a release is what the next one is compared with.
    named = {p for r in releases.values() if r is not None for p in (r.suite, r.policy, r.evidence) if p}
    edited = tree.changed(repo, since, new, sorted({*PROTECTED, *named}))
    before, after = releases[since], releases[new]
    if before is not None and after is not None and (before.suite, before.policy) != (after.suite, after.policy):
        edited = (FILE, *edited)  # another exam is chosen, even where its files are old
    return Change(old, new, since, edited)


@contextmanager
def proposal_of(repo: Path, change: Change) -> Iterator[Proposal | None]:
    """What the change proposes, in a folder that is gone when the block ends; None when it ships what shipped before.

    Raises GateError for everything that keeps it from being judged, naming paths as `base:PATH` and `head:PATH`.
    """
    with TemporaryDirectory(prefix="gate-") as folder:
        base, head = Path(folder, "base"), Path(folder, "head")
        try:
            yield _proposal(repo, change, base, head)
        except GateError as error:
            raise _at_home(error, {f"{base}/": "base:", f"{head}/": "head:"}) from error


def _proposal(repo: Path, change: Change, base: Path, head: Path) -> Proposal | None:
    for commit, into in ((change.base, base), (change.head, head)):
        into.mkdir()
        tree.extract(repo, commit, FILE, into)
    if not (base / FILE).is_file():
        raise ConfigError(
            f"the base commit {change.base[:12]} has no {FILE}: there is nothing to compare with",
            mend="people merge the first one, without the gate",
        )
    if not (head / FILE).is_file():
        raise RefusedError(f"the change removes {FILE}", mend="restore it; a branch ships what its release.toml names")
    (shipping, _), (release, lines) = read_release(base / FILE), read_release(head / FILE)
    watched = (FILE, release.bundle)
    if all(tree.object_of(repo, change.since, path) == tree.object_of(repo, change.head, path) for path in watched):
        return None
    candidate = _bundle(repo, change.head, release, head, lines.where("release", "digest"))
    if release.digest == shipping.digest:
        return None
    if not tree.extract(repo, change.base, shipping.suite, base):
        raise SuiteError(f"the base commit has no suite {shipping.suite}", where=f"base:{FILE}")
    tree.complete(base / shipping.suite / "suite.lock", repo / shipping.suite)
    if not tree.extract(repo, change.base, shipping.policy, base):
        raise ConfigError(f"the base commit has no policy {shipping.policy}", where=f"base:{FILE}")
    tree.extract(repo, change.base, "thresholds", base)
    return Proposal(
        incumbent=_bundle(repo, change.base, shipping, base, f"base:{FILE}"),
        candidate=candidate,
        suite=base / shipping.suite,
        policy=base / shipping.policy,
        thresholds=base / "thresholds",
        evidence=_evidence(repo, change.base, shipping, base),
        shipping=shipping,
        release=release,
        lines=lines,
    )


def _release(repo: Path, commit: str, into: Path) -> Release | None:
    """The release of a commit, when it has one that can be read."""
    into.mkdir()
    try:
        return read_release(into / FILE)[0] if tree.extract(repo, commit, FILE, into) else None
    except GateError:  # told when the release is judged
        return None


def _bundle(repo: Path, commit: str, release: Release, into: Path, where: str) -> Path:
    """The folder of a release's bundle: the commit's, or, when git does not hold it, the working tree's."""
    folder = into / release.bundle
    if tree.extract(repo, commit, release.bundle, into):
        tree.complete(folder / "bundle.lock", repo / release.bundle)
    else:
        folder = relative_path(release.bundle, repo, where=where)
    found = read_bundle(folder)
    if found.digest != release.digest:
        raise RefusedError(
            f"the bundle {shown(release.bundle)} is {found.digest[:19]}…, and {FILE} says {release.digest[:19]}…",
            where=where,
            mend="restore the bundle's bytes, or propose the new ones: `gate bundle lock`, and its digest here",
        )
    return folder


def _evidence(repo: Path, commit: str, release: Release, into: Path) -> Path | None:
    """The file of the evidence that ships with a release. Raises ConfigError when it is named and is not there."""
    if not release.evidence:
        return None
    tree.extract(repo, commit, release.evidence, into)
    file = into / release.evidence
    file = file / _EVIDENCE if file.is_dir() else file
    if not file.is_file():
        raise ConfigError(f"the base commit has no evidence {shown(release.evidence)}", where=f"base:{FILE}")
    return file


def _at_home(error: GateError, names: Mapping[str, str]) -> GateError:
    """The error with the names that its reader knows."""
    what, where, mend = error.what, error.where, error.mend
    for long, short in names.items():
        what, where, mend = (text.replace(long, short) for text in (what, where, mend))
    return type(error)(what, where=where, mend=mend)
