"""`gate init`: the layout of a repository that uses gate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gate.atomic import write_text
from gate.cli.paths import shipped

POLICY = """\
# How a candidate is judged. The last matching rule wins, key by key.
alpha = 0.05            # P(blocking an equal candidate), family-wise over everything gated
confidence = 0.95       # one-sided, for "non-inferior"
resamples = 9999        # sign vectors; their seed comes from the digests
min_effect = 0.005      # a smaller loss is never "proven"

[[rules]]
match = "*"             # shell globs over network.head[channel]; brackets are literal
tier = "supporting"     # critical: must be proven non-inferior; advisory: only reported
objective = "max f1"
metrics = ["average_precision", "f1"]
margin = 0.02           # the largest loss that is called "no worse", in the metric's unit
"""

RELEASE = """\
# What this branch ships. A change of this file proposes a release.
[release]
bundle = "bundles/1.0.0"            # folder of the bundle
digest = "sha256:..."               # as printed by `gate bundle lock`
suite = "suites/NAME"
policy = "policy.toml"
# evidence = "evidence/1.0.0.safetensors"   # of `gate run BUNDLE --export FILE`: what ships is then not run again
"""

FILES = {
    "suites/.gitkeep": "",
    "thresholds/.gitkeep": "",
    "reports/.gitignore": "*\n!.gitignore\n",
    "policy.toml": POLICY,
    "release.toml": RELEASE,
}


def scaffold(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Write the files that are not there yet; answers each path and whether it was made."""
    workflows = sorted(shipped("docs/workflows").glob("*.yml"))
    files = FILES | {f".github/workflows/{path.name}": path.read_text(encoding="utf-8") for path in workflows}
    for name, text in files.items():
        path = folder / name
        made = not path.exists()
        if made:
            write_text(path, text)
        yield path, made
