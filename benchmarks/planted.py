"""What the gate finds of changes that were planted in roadworld's incumbent, beside naive rules on the same cells.

    python -m benchmarks.planted [--only NAME,...] [--incumbent DIR] [--work DIR]

Recipes (`examples.roadworld.recipes`) write candidates, and each is compared as `gate compare` would. What truly
changed is measured on 300 clips of another world, at the operating points that the exam chose. A point is 0.01 of a
share, and a fifth of the margin of a metric with a unit. Only cells count that a change reaches and the policy gates.
The exam must be rendered. The folder of work keeps lessons, the other world, candidates and the store: what is there is
not made again, so delete the candidates when a recipe changes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulations.tables import markdown
from examples.roadworld.make_suite import LESSON_CLIPS, LESSON_SEED, suite_toml, write_frames
from examples.roadworld.recipes import RECIPES, Recipe, write
from gate.bundle import read_bundle
from gate.calibrate import OperatingPoint
from gate.compare import compare
from gate.judge import Cell, Decision
from gate.judge.layout import layout_of, side_of, stacked
from gate.pipeline import Result, compare_bundles
from gate.run import Store, open_store, run
from gate.suite import Suite, open_suite, read_suite
from gate.suite.freeze import freeze
from gate.table import ClipIndex, Floats

EXAM = Path("suites/roadworld")
INCUMBENT, WORK = EXAM / "bundles" / "incumbent", Path("reports/planted")
WORLD_SEED, WORLD_CLIPS = 9_001, 300
#: True losses of GREAT points ought to be found; below LEAST, the policy's least effect, there is nothing to find.
GREAT, LEAST = 2.0, 0.5
#: A true difference counts when it is so many of its standard errors from none.
SURE = 3.0
RESAMPLES, LEVEL = 999, 0.05
Mask = NDArray[np.bool_]
Key = tuple[str, str, str]
Release = tuple[Path, Sequence[OperatingPoint]]


@dataclass(frozen=True)
class Found:
    """A decision without its cells, and those that count, (n,).

    true, error: difference on the other world in points, negative is worse, and its standard error. called: rule ->
    cells that it calls worse.
    """

    recipe: Recipe
    decision: Decision
    cells: tuple[Cell, ...]
    true: Floats
    error: Floats
    called: Mapping[str, Mask]

    @property
    def sure(self) -> Mask:
        return self.true + SURE * self.error < 0

    @property
    def great(self) -> Mask:
        return (self.true <= -GREAT) & self.sure

    @property
    def none(self) -> Mask:
        return self.true > -LEAST

    @property
    def whole(self) -> Mask:
        return np.array([c.slice == "all" for c in self.cells], dtype=bool)

    def blocks(self, rule: str) -> bool:
        """The gate's decision; of other rules, whether they call anything."""
        return self.decision.decision == "NO-GO" if rule == "gate" else bool(self.called[rule].any())


def other_world(folder: Path) -> Suite:
    """A frozen suite of clips that nobody learned from or was examined on."""
    if not (folder / "suite.lock").is_file():
        write_frames(folder, 2, _told("other world"), seed=WORLD_SEED, clips=WORLD_CLIPS)
        table = (folder / "frames.csv").read_text()
        for split in ("sealed", "more"):
            table = table.replace(f",{split},", ",validation,")
        (folder / "frames.csv").write_text(table)
        (folder / "suite.toml").write_text(suite_toml())
        freeze(open_suite(folder))
    return read_suite(folder)


def truths(result: Result, before: Release, after: Release, world: Suite, store: Store) -> dict[Key, tuple[float, ...]]:
    """(prediction, metric, slice) -> difference on all clips of the other world, higher is better; standard error."""
    reached = {c.prediction for c in result.decision.cells if c.impact == "reached"}
    heads = [h.name for h in world.heads if reached.intersection(h.predictions)]
    layout, names = layout_of(world), world.predictions
    sides = [
        side_of(stacked(world, run(read_bundle(path), world, heads, store=store)), points, layout)
        for path, points in (before, after)
    ]
    questions = [q for q in result.compared.questions if names[q.prediction] in reached]
    every = ClipIndex(world.frames.cell_clip, len(world.frames.clips))
    found = compare(*sides, questions, world.frames.slices, every, layout.decided)
    return {
        (names[questions[q].prediction], questions[q].metric, world.frames.slices[s].name): numbers
        for q, s, *numbers in zip(found.question, found.slice, found.delta, found.se, strict=True)
        if np.isfinite(numbers).all()
    }


def alone(d: Floats) -> Floats:
    """(n, J) contributions of clips -> p of "no loss": a bootstrap of clips, each cell by itself."""
    clips = d.shape[1]
    drawn = np.random.default_rng(1).multinomial(clips, np.full(clips, 1 / clips), RESAMPLES).astype(float)
    return ((drawn @ d.T >= 0).sum(axis=0) + 1) / (RESAMPLES + 1)


def found_of(recipe: Recipe, result: Result, true: Mapping[Key, tuple[float, ...]]) -> Found:
    compared, c = result.compared, result.compared.comparison
    names, slices = compared.suite.predictions, compared.suite.frames.slices
    questions = [(names[q.prediction], q.metric) for q in compared.questions]
    row = {(*questions[q], slices[s].name): k for k, (q, s) in enumerate(zip(c.question, c.slice, strict=True))}
    cells = tuple(
        cell
        for cell in result.decision.cells
        if cell.impact == "reached" and cell.tier != "advisory" and cell.delta is not None and _key(cell) in true
    )
    keys = [_key(cell) for cell in cells]
    point = np.array([cell.margin / 5 if cell.unit else 0.01 for cell in cells])
    fixed = np.array([cell.delta_at_incumbent_threshold for cell in cells], dtype=float) / point
    seen = np.array([cell.delta_worse for cell in cells], dtype=float) / point
    delta, error = np.array([true[key] for key in keys], dtype=float).reshape(-1, 2).T
    called = {
        "gate": np.array([cell.verdict == "regressed" for cell in cells], dtype=bool),
        "any drop": seen < 0,
        "1 point": seen <= -1,
        "2 points": seen <= -2,
        "2 points, fixed": np.where(np.isnan(fixed), seen, fixed) <= -2,
        "p < 0.05": alone(c.d[[row[key] for key in keys]]) <= LEVEL,
    }
    decision = replace(result.decision, cells=())  # most are out of reach, and many decisions are kept
    return Found(recipe, decision, cells, delta / point, error / point, called)


def _key(cell: Cell) -> Key:
    return cell.prediction, cell.metric, cell.slice


def examined(recipes: Sequence[Recipe], incumbent: Path, work: Path) -> dict[str, list[Found]]:
    """Kind of recipe -> its releases, in order; a chain ends with the first that is blocked."""
    store = open_store(work / "store", _line, required=True)
    assert store is not None
    world = other_world(work / "world")
    lessons = work / "lessons"
    if any(r.tuned for r in recipes) and not lessons.is_dir():
        write_frames(lessons, 2, _told("lessons"), seed=LESSON_SEED, clips=LESSON_CLIPS)
    of_name = {r.name: r for r in RECIPES}
    candidates = work / "bundles" / read_bundle(incumbent).digest[-12:]

    def bundle(name: str) -> Path:
        if not name:
            return incumbent
        if not (candidates / name / "bundle.toml").is_file():
            write(of_name[name], bundle(of_name[name].base), candidates / name, lessons)
        return candidates / name

    found: dict[str, list[Found]] = {}
    starts: dict[str, Release] = {}
    for recipe in recipes:
        kind = found.setdefault(recipe.kind, [])
        if recipe.anchored and kind and kind[-1].blocks("gate"):
            continue
        before, after = bundle(recipe.against or recipe.base), bundle(recipe.name)
        result = compare_bundles(
            before,
            after,
            suite=EXAM,
            policy=EXAM / "policy.toml",
            thresholds=work / "no-thresholds",
            anchors=[incumbent] if recipe.anchored else [],
            store=store,
        )
        start = before, result.points_incumbent
        if recipe.anchored:  # what a chain has cost is counted from where it began
            start = starts.setdefault(recipe.kind, start)
        kind.append(found_of(recipe, result, truths(result, start, (after, result.points_candidate), world, store)))
        _line(told(kind[-1]))
    return found


def told(found: Found) -> str:
    """A recipe in some lines: the decision, what truly got worse, what was found, missed, called without a cause."""
    decision, gate = found.decision, found.called["gate"]
    lines = [f"{found.recipe.name}: {decision.decision}; {found.recipe.why}"]
    lines += [f"  {reason.code}: {reason.text}" for reason in decision.reasons[:4]]
    for what, cells in (
        ("truly lost on the whole exam", found.sure & ~found.none & found.whole),
        ("found", gate & ~found.none),
        ("missed", ~gate & found.great),
        ("false", gate & found.none),
    ):
        worst = np.flatnonzero(cells)[np.argsort(found.true[cells])]
        named = (
            f"{found.cells[k].prediction} {found.cells[k].metric} {found.cells[k].slice} "
            f"(true {found.true[k]:+.1f} ± {found.error[k]:.1f})"
            for k in worst[:5].tolist()
        )
        lines.append(f"  {what} {len(worst)}: " + "; ".join(named))
    return "\n".join(lines)


def decisions(found: Mapping[str, Sequence[Found]]) -> str:
    """Table: whether each rule blocks; of several releases, how many, or the first one of a chain."""
    rules = list(next(iter(found.values()))[0].called)
    rows = []
    for kind, releases in found.items():
        recipe, row = releases[0].recipe, []
        for rule in rules:
            blocked = [f.blocks(rule) for f in releases]
            if recipe.anchored:
                row.append(f"release {blocked.index(True) + 1}" if any(blocked) else "never")
            elif len(releases) > 1:
                row.append(f"{sum(blocked)} of {len(releases)}")
            else:
                row.append("yes" if blocked[0] else "no")
        rows.append([kind, recipe.why, {True: "yes", False: "no", None: "–"}[recipe.must], *row])
    return markdown(["recipe", "what was done", "must be blocked", *rules], rows)


def counts(found: Mapping[str, Sequence[Found]], chosen: Callable[[Found], Mask]) -> str:
    """Table: cells by true loss, and how many of each kind every rule calls worse: great / between / none."""
    rules = list(next(iter(found.values()))[0].called)
    rows = []
    for kind, releases in found.items():
        kinds = [(f.great, ~f.great & ~f.none, f.none) for f in releases]
        totals = [sum(int((k[i] & chosen(f)).sum()) for f, k in zip(releases, kinds, strict=True)) for i in range(3)]
        row = [kind, " / ".join(f"{n:,}" for n in totals)]
        for rule in rules:
            called = [f.called[rule] & chosen(f) for f in releases]
            hits = [sum(int((k[i] & c).sum()) for c, k in zip(called, kinds, strict=True)) for i in range(3)]
            row.append(" / ".join(f"{n:,}" for n in hits))
        rows.append(row)
    return markdown(["recipe", "cells", *rules], rows)


def _line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _told(what: str) -> Callable[[int, int], None]:
    return lambda done, total: print(f"\r{what}: {done} of {total} clips", end="", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", help="names or kinds of recipes, with commas between: " + ", ".join(r.name for r in RECIPES)
    )
    parser.add_argument("--incumbent", type=Path, default=INCUMBENT)
    parser.add_argument("--work", type=Path, default=WORK)
    given = parser.parse_args()
    chosen = given.only.split(",") if given.only else [r.kind for r in RECIPES]
    found = examined([r for r in RECIPES if {r.name, r.kind} & set(chosen)], given.incumbent, given.work)
    print("Is it blocked?\n\n" + decisions(found))
    what = (
        f"that truly lost {GREAT:g} points or more / less or unsure / less than {LEAST:g}, and how many each rule calls"
    )
    print(f"\nCells of the whole exam {what}:\n\n" + counts(found, lambda f: f.whole))
    print("\nThe same of slices:\n\n" + counts(found, lambda f: ~f.whole))


if __name__ == "__main__":
    main()
