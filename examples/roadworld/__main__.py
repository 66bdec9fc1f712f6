"""Roadworld from the root of the repository:

python -m examples.roadworld look OUT.png [--seed N] [--clips N] [--frame N]     eight cameras of some clips
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .look import contact_sheet
from .scenes import make_clip


def main() -> None:
    parser = argparse.ArgumentParser("python -m examples.roadworld", description="A synthetic driving world.")
    commands = parser.add_subparsers(dest="command", required=True)
    look = commands.add_parser("look", help="write a contact sheet: a row a clip, eight cameras")
    look.add_argument("out", type=Path)
    look.add_argument("--seed", type=int, default=1)
    look.add_argument("--clips", type=int, default=8)
    look.add_argument("--frame", type=int, default=8)
    arguments = parser.parse_args()
    if arguments.command == "look":
        clips = [make_clip(arguments.seed, k) for k in range(arguments.clips)]
        contact_sheet(clips, arguments.frame, 3, arguments.out)


if __name__ == "__main__":
    main()
