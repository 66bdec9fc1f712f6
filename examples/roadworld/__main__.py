"""Roadworld, from the root of the repository:

    python -m examples.roadworld look OUT.png [--seed N] [--clips N] [--frame N]    eight cameras of some clips
    python -m examples.roadworld define SUITE                                        suite.toml and policy.toml
    python -m examples.roadworld render SUITE                                        pictures and truths of the exam

`gate suite freeze SUITE` writes the lock after `define` and `render`; where there is one, `gate suite check SUITE` says
whether what was rendered is what was frozen.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from .look import contact_sheet
from .make_suite import suite_toml, write_frames
from .scenes import make_clip

POLICY = Path(__file__).parent / "policy.toml"


def main() -> None:
    parser = argparse.ArgumentParser("python -m examples.roadworld", description="A synthetic driving world.")
    commands = parser.add_subparsers(dest="command", required=True)
    look = commands.add_parser("look", help="write a contact sheet: a row a clip, eight cameras")
    look.add_argument("out", type=Path)
    look.add_argument("--seed", type=int, default=1)
    look.add_argument("--clips", type=int, default=8)
    look.add_argument("--frame", type=int, default=8)
    define = commands.add_parser("define", help="write suite.toml and policy.toml")
    define.add_argument("out", type=Path)
    render = commands.add_parser("render", help="render all clips of the exam into its folder")
    render.add_argument("out", type=Path)
    render.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    if given.command == "look":
        contact_sheet([make_clip(given.seed, k) for k in range(given.clips)], given.frame, 3, given.out)
    elif given.command == "define":
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "suite.toml").write_bytes(suite_toml().encode())
        shutil.copyfile(POLICY, given.out / "policy.toml")
    else:
        write_frames(
            given.out, given.processes, lambda done, total: print(f"\r{done}/{total}", end="", file=sys.stderr)
        )


if __name__ == "__main__":
    main()
