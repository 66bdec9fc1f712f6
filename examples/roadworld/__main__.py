"""Roadworld, from the root of the repository:

    python -m examples.roadworld look OUT.png [--seed N] [--clips N] [--frame N]   eight cameras of some clips
    python -m examples.roadworld define SUITE             suite.toml and policy.toml
    python -m examples.roadworld render SUITE             pictures and truths of the exam
    python -m examples.roadworld lessons FOLDER           the same of another world, to learn from
    python -m examples.roadworld train FOLDER BUNDLE      the 48 networks, learned from such a folder: release 1.0.0
    python -m examples.roadworld candidate FOLDER BUNDLE OUT    two of them retrained: release 1.1.0

`gate suite freeze SUITE` writes the lock after `define` and `render`; where there is one, `gate suite check SUITE` says
whether what was rendered is what was frozen.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from .look import contact_sheet
from .make_suite import LESSON_CLIPS, LESSON_SEED, suite_toml, write_frames
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
    lessons = commands.add_parser("lessons", help="render the clips that networks are trained on")
    lessons.add_argument("out", type=Path)
    lessons.add_argument("--processes", type=int, default=2)
    train = commands.add_parser("train", help="train the networks and write a bundle")
    train.add_argument("lessons", type=Path)
    train.add_argument("out", type=Path)
    train.add_argument("--seed", type=int, default=7)
    candidate = commands.add_parser("candidate", help="retrain two networks of a bundle and write the release")
    candidate.add_argument("lessons", type=Path)
    candidate.add_argument("bundle", type=Path)
    candidate.add_argument("out", type=Path)
    given = parser.parse_args()
    if given.command == "look":
        contact_sheet([make_clip(given.seed, k) for k in range(given.clips)], given.frame, 3, given.out)
    elif given.command == "define":
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "suite.toml").write_bytes(suite_toml().encode())
        shutil.copyfile(POLICY, given.out / "policy.toml")
    elif given.command == "render":
        write_frames(given.out, given.processes, _told)
    elif given.command == "lessons":
        write_frames(given.out, given.processes, _told, seed=LESSON_SEED, clips=LESSON_CLIPS)
    elif given.command == "train":
        from .export import write_bundle  # torch takes seconds to import, and pictures do not need it
        from .train import train as trained

        why = f"Trained with seed {given.seed} by `python -m examples.roadworld train`."
        write_bundle(given.out, trained(given.lessons, seed=given.seed), version="1.0.0", why=why)
    else:
        from .export import write_bundle
        from .retrain import candidate as retrained
        from .stack import read_networks

        why = "1.0.0, but `main_objects` learned for longer, its lamps anew from clips by day; `traffic` follows."
        write_bundle(given.out, retrained(read_networks(given.bundle), given.lessons), version="1.1.0", why=why)


def _told(done: int, total: int) -> None:
    print(f"\r{done} of {total} clips", end="" if done < total else "\n", file=sys.stderr)


if __name__ == "__main__":
    main()
