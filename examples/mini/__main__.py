"""Make the mini exam and its two bundles, from the root of the repository:

    python -m examples.mini OUT [--suite-only]

`OUT` becomes a suite folder like `suites/mini`; lock it afterwards with `gate suite freeze OUT`. About five
minutes on one core, most of it training; `--suite-only` leaves the bundles alone and takes twenty seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .make_suite import make_suite


def main() -> None:
    parser = argparse.ArgumentParser("python -m examples.mini", description="Make the mini exam and bundles.")
    parser.add_argument("out", type=Path, help="folder to write, for instance suites/mini")
    parser.add_argument("--suite-only", action="store_true", help="write the exam, train nothing")
    arguments = parser.parse_args()
    for split, counts in make_suite(arguments.out).items():
        print(f"{split}: clips with", ", ".join(f"{name} {count}" for name, count in counts.items()))
    if arguments.suite_only:
        return
    from .score import score  # torch takes seconds to import, and pictures do not need it
    from .train import make_bundles

    bundles = arguments.out / "bundles"
    make_bundles(bundles)
    results = {name: score(arguments.out, bundles / name) for name in ("incumbent", "damaged")}
    for metric, value in results["incumbent"].items():
        print(f"{metric:44} {value:7.3f} {results['damaged'][metric]:7.3f}")


if __name__ == "__main__":
    main()
