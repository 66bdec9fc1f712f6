"""A real git repository that ships a tiny release, branches that propose another, and the environment of a CI run."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.bundle import lock_bundle
from tests.support.tiny import POLICY, World, predict, write_bundle, write_suite

NAME = "octo/stack"
#: One critical head, proven within 0.1 points: no suite of 24 clips can decide that for a release that differs.
STRICT = "min_effect = 0.0005\n" + POLICY + '\n[[rules]]\nmatch = "cam.edge"\ntier = "critical"\nmargin = 0.001\n'
_ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
_WHO = ("-c", "user.name=Someone", "-c", "user.email=someone@example.com", "-c", "commit.gpgsign=false")


@dataclass(frozen=True)
class Repository:
    """main ships version 1 of the bundle; `world` is what its suite asks."""

    root: Path
    world: World

    def git(self, *words: str, said: str = "") -> str:
        """What git answers; said: its standard input."""
        ended = subprocess.run(
            ["git", *_WHO, *words],
            cwd=self.root,
            env=os.environ | _ALONE,
            input=said,
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        return ended.stdout.strip()

    def commit(self, message: str = "change") -> str:
        """All of the working tree as a commit of the branch that is checked out."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def branch(self, name: str, at: str = "main") -> None:
        self.git("checkout", "--quiet", "-B", name, at)

    def ships(self, version: str, **changes: str) -> None:
        """Write a release.toml that names the locked bundle of that version."""
        digest = lock_bundle(self.root / "bundles" / version).digest
        facts = {"bundle": f"bundles/{version}", "digest": digest, "suite": "suites/tiny", "policy": "policy.toml"}
        lines = [f'{key} = "{text}"' for key, text in (facts | changes).items()]
        (self.root / "release.toml").write_text("[release]\n" + "\n".join(lines) + "\n")

    def bundle(self, version: str, seed: int = 2, **outputs: Any) -> Path:
        """A bundle as good as the first one, except for these outputs; None leaves a head out."""
        made = predict(self.world, seed=seed) | outputs
        kept = {head: values for head, values in made.items() if values is not None}
        return write_bundle(self.root / "bundles" / version, self.world, kept, version=version)

    def proposes(self, name: str = "next", version: str = "2", **outputs: Any) -> str:
        """A branch with one commit that ships another bundle."""
        self.branch(name)
        self.bundle(version, **outputs)
        self.ships(version)
        return self.commit(f"Ship {version}")


def make_repository(root: Path, world: World, policy: str = POLICY) -> Repository:
    """A repository whose branch main ships version 1."""
    made = Repository(root, world)
    root.mkdir(parents=True)
    made.git("init", "--quiet", "--initial-branch", "main")
    write_suite(root / "suites" / "tiny", world, policy=policy)
    (root / "suites" / "tiny" / "policy.toml").rename(root / "policy.toml")
    (root / ".gitignore").write_text("reports/\n")
    made.bundle("1", seed=1)
    made.ships("1")
    made.commit("Ship 1")
    return made


def event_of(folder: Path, name: str, told: Mapping[str, Any], **environment: str) -> dict[str, str]:
    """The environment of a GitHub run of that event, without a token."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "event.json").write_text(json.dumps(told))
    for file in ("summary.md", "output"):
        (folder / file).write_text("")
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": name,
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_REPOSITORY": NAME,
        "GITHUB_SHA": "5" * 40,
        "GITHUB_RUN_ID": "77",
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_ACTOR": "octocat",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_OUTPUT": str(folder / "output"),
    } | environment


def pull_request(head: str, base: str, *, number: int = 7, repository: str = NAME) -> dict[str, Any]:
    """The event of a pull request, as far as anybody reads it."""
    return {
        "pull_request": {
            "number": number,
            "head": {"sha": head, "repo": {"full_name": repository}},
            "base": {"sha": base},
        },
        "repository": {"default_branch": "main"},
    }
