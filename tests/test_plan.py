"""What a suite can prove before there is a candidate: figures beside hand-made ones, and what a user reads of them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import optimize, stats

from gate.compare.bound import certifiable, detectable, guarded_margin
from gate.judge import Identity, PolicyFacts
from gate.judge.plan import SHARED, Plan, PlanCell
from gate.planning import plan_suite
from gate.report.plan import CELL_FIELDS, plan_json, print_plan, said
from tests.support.tiny import SUITE, World, gate, make_world, predict, refused, write_bundle, write_suite

Floats = np.ndarray
PLAN = ("suite", "plan", "suite", "--bundle", "old")
MANY = 1e9
RANGE = """\
resamples = 999

[[rules]]
match = "*"
tier = "{tier}"
metrics = ["average_precision", "f1"]
margin = 0.05

[[rules]]
match = "cam.range"
metrics = ["mae"]
margin = {margin}
"""


def array(*values: float) -> Floats:
    return np.array(values, float)


def least_clips(enough: object, low: float = 2, high: float = 1e6) -> float:
    """The number of clips from which on `enough(n) >= 0`, by bisection."""
    return float(optimize.brentq(enough, low, high))  # type: ignore[arg-type]


def planned(
    folder: Path, world: World, old: dict[str, Floats], new: dict[str, Floats] | None = None, policy: str = RANGE
) -> Plan:
    text = policy.format(tier="supporting", margin=0.5)
    write_suite(folder / "suite", world, policy=text)
    write_bundle(folder / "old", world, old, version="1")
    if new is not None:
        write_bundle(folder / "new", world, new, version="2")
    return plan_suite(
        folder / "old",
        suite=folder / "suite",
        policy=folder / "suite" / "policy.toml",
        thresholds=folder / "thresholds",
        twin=None if new is None else folder / "new",
    )


def cell_of(plan: Plan, prediction: str, metric: str, where: str = "all") -> PlanCell:
    (cell,) = (c for c in plan.cells if (c.prediction, c.metric, c.slice) == (prediction, metric, where))
    return cell


def validation(world: World) -> list[list[int]]:
    """Frames of each validation clip."""
    of: dict[str, list[int]] = {}
    for k, (clip, split) in enumerate(zip(world.clips, world.splits, strict=True)):
        if split == "validation":
            of.setdefault(clip, []).append(k)
    return list(of.values())


# The formulas


@pytest.mark.parametrize(("points", "clips"), [(5, 56), (3, 155), (2, 350), (1, 1400)])
def test_certifying_one_equal_head_takes_the_clips_of_the_methods_table(points: int, clips: int) -> None:
    # Method A8, third row, with its rule of thumb: standard error 0.15 / sqrt(clips).
    def room(n: float) -> float:
        return points / 100 - float(certifiable(array(0.15 / n**0.5), array(0.0), array(MANY), 0.95)[0])

    assert least_clips(room) == pytest.approx(clips, rel=0.01)


@pytest.mark.parametrize(
    ("critical", "points", "clips"),
    [(4.2, 5, 280), (4.2, 3, 900), (4.2, 2, 2500), (3.2, 5, 180), (3.2, 3, 590), (3.2, 2, 1630)],
)
def test_proving_a_loss_takes_about_the_clips_of_the_methods_table(critical: float, points: int, clips: int) -> None:
    # Method A8, first rows: z(0.80); `detectable` takes z(0.85), which simulations ask for: a tenth more clips.
    se = array(0.15 / clips**0.5)
    found = float(detectable(array(0.005), array(critical), se, array(0.0), array(MANY))[0])
    assert points / 100 - 1e-4 < found < 1.05 * points / 100 + 1e-4


@pytest.mark.parametrize(("points", "clips"), [(5, 50), (3, 84), (2, 127), (1, 255)])
def test_the_guard_takes_the_effective_clips_of_the_method(points: int, clips: int) -> None:
    # Method A6: for a value of 0.85; it rounds ln(20) up to 3.
    def room(n: float) -> float:
        return points / 100 - float(guarded_margin(array(0.85), array(n), 0.95)[0])

    assert least_clips(room) == pytest.approx(clips, rel=0.02)


def test_a_margin_holds_five_lost_events_however_small_the_error() -> None:
    # Method A6: `margin * positives >= 5`; with 100 positives one lost event is 0.01 of recall.
    assert certifiable(array(0.0), array(0.01), array(MANY), 0.95)[0] == pytest.approx(0.05)


# A plan of a tiny suite


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, dict[str, Floats], dict[str, Floats], Plan]:
    world = make_world()
    old, new = predict(world), predict(world, seed=2)
    return world, old, new, planned(tmp_path_factory.mktemp("twins"), world, old, new)


def test_the_error_on_a_twin_is_that_of_leaving_one_clip_out(
    twins: tuple[World, dict[str, Floats], dict[str, Floats], Plan],
) -> None:
    world, old, new, plan = twins
    clips = validation(world)
    truth = np.round(world.range_m, 3)
    a, b = (np.abs(np.float32(o["range"]) - truth) for o in (old, new))
    every = [k for clip in clips for k in clip]

    def difference(frames: list[int]) -> float:
        return float(a[frames].mean() - b[frames].mean())

    whole, n = difference(every), len(clips)
    left = [difference([k for k in every if k not in clip]) for clip in clips]
    se = math.sqrt((n - 1) / n * sum((x - whole) ** 2 for x in left))
    lost = a[every].std() / len(every)
    error = math.sqrt(se**2 + 2 * lost**2)
    cell = cell_of(plan, "cam.range", "mae")
    assert (cell.clips, cell.positives, cell.unit, cell.margin) == (24, 96, "m", 0.5)
    assert cell.effective == pytest.approx(24)
    assert cell.value == pytest.approx(a[every].mean(), rel=1e-5)
    assert cell.se == pytest.approx(se, rel=1e-5)
    t = stats.t.ppf(0.95, 24)
    assert cell.certifiable == pytest.approx(max((t + stats.norm.ppf(0.8)) * error, 5 * lost), rel=1e-5)
    critical = plan.critical["supporting"]
    assert critical is not None
    # The loss in errors solves x = critical sqrt(1 + x² / clips) + z; a tenth of the margin does not count.
    x = optimize.brentq(lambda x: x - critical * math.sqrt(1 + x**2 / 24) - stats.norm.ppf(0.85), 0, 100)
    assert cell.mdr == pytest.approx(0.05 + x * error, rel=1e-5)
    assert cell.suggested == pytest.approx(max(0.5, 4.4 * se), rel=1e-5)
    assert cell.provable is (math.sqrt(24) > critical)
    assert (cell.guard, cell.reason) == (None, "")


def test_clips_are_counted_as_kish_counts_them(
    twins: tuple[World, dict[str, Floats], dict[str, Floats], Plan],
) -> None:
    world, _, _, plan = twins
    positives = np.array([world.signs[clip, 0].sum() for clip in validation(world)])
    cell = cell_of(plan, "cam.sign[stop]", "average_precision")
    assert (cell.positives, cell.clips) == (positives.sum(), (positives > 0).sum())
    assert cell.effective == pytest.approx(positives.sum() ** 2 / (positives**2).sum())


def test_critical_predictions_need_the_guard_on_the_whole_suite_only(tmp_path: Path) -> None:
    world = make_world()
    policy = RANGE.replace("{tier}", "critical")
    plan = planned(tmp_path, world, predict(world), predict(world, seed=2), policy)
    cell = cell_of(plan, "cam.sign[stop]", "average_precision")
    assert cell.value is not None
    assert cell.effective is not None
    assert cell.guard == pytest.approx(cell.value * (1 - 0.05 ** (1 / cell.effective)))
    assert cell.certifiable is not None
    assert cell.certifiable >= cell.guard
    assert cell.suggested == pytest.approx(max(0.05, 4.4 * (cell.se or 0), 3 * cell.value / cell.effective))
    assert not cell.enough
    # 3 theta / margin effective clips, less those that are there (rule of three, to its rounding).
    wanted = math.log(0.05) / math.log1p(-0.05 / cell.value) / cell.effective * cell.clips - cell.clips
    assert cell.missing is not None
    assert cell.missing >= math.ceil(wanted - 1e-9)
    assert all(c.guard is None for c in plan.cells if c.slice != "all")
    # Sixteen pixels a frame leave little error: there the guard alone decides.
    sure = cell_of(plan, "cam.edge", "average_precision")
    assert sure.se is not None
    assert sure.guard is not None
    assert sure.certifiable == sure.guard > 0.05
    assert not sure.enough


def sloped(world: World, seed: int, shared: float) -> dict[str, Floats]:
    """A release whose mean error shares this part of each frame's variance with every other such release."""
    common, own = (np.random.default_rng(s).normal(size=len(world.ids)) for s in (99, seed))
    return predict(world, seed=seed) | {
        "range": np.round(world.range_m, 3) + 9 + math.sqrt(shared) * common + math.sqrt(1 - shared) * own
    }


def test_the_assumed_error_is_that_of_a_twin_that_shares_what_is_assumed(tmp_path: Path) -> None:
    world = make_world(validation=300, frames=1)
    old, new = sloped(world, 1, SHARED), sloped(world, 2, SHARED)
    measured = cell_of(planned(tmp_path / "twin", world, old, new), "cam.range", "mae")
    plan = planned(tmp_path / "alone", world, old)
    assumed = cell_of(plan, "cam.range", "mae")
    assert plan.se == "assumed"
    assert plan.twin is None
    assert assumed.se is not None
    assert measured.se is not None
    # Both are estimates from 300 clips; each is good to about 4 %.
    assert assumed.se == pytest.approx(measured.se, rel=0.15)
    means = np.array([(old["range"] - world.range_m)[clip].mean() for clip in validation(world)])
    assert assumed.se == pytest.approx(math.sqrt(0.15 * 2 / 300) * means.std(), rel=0.03)
    assert assumed.value == measured.value


def test_an_assumed_plan_has_all_of_a_measured_one_but_the_error(tmp_path: Path) -> None:
    world = make_world()
    alone = planned(tmp_path / "alone", world, predict(world))
    twin = planned(tmp_path / "twin", world, predict(world), predict(world, seed=2))
    for a, b in zip(alone.cells, twin.cells, strict=True):
        assert (a.prediction, a.metric, a.slice, a.margin) == (b.prediction, b.metric, b.slice, b.margin)
        assert (a.clips, a.positives, a.effective, a.value) == (b.clips, b.positives, b.effective, b.value)


def test_the_missing_clips_are_those_that_suffice(tmp_path: Path) -> None:
    # The same frames again and again are a suite of more clips like these: enough at what is said, not at half of it.
    world = make_world(validation=40, frames=3, seed=4)
    policy = RANGE.replace("{margin}", "0.12")
    old, new = predict(world), predict(world, seed=2)
    cell = cell_of(planned(tmp_path / "once", world, old, new, policy), "cam.range", "mae")
    assert not cell.enough
    assert cell.missing is not None
    assert cell.missing > 40
    assert cell.se is not None
    assert cell.suggested == pytest.approx(4.4 * cell.se)
    assert 4.4 * cell.se > 0.12

    def repeated(times: int) -> PlanCell:
        keep = [k for k, s in enumerate(world.splits) if s == "validation"]
        more = [(k, t) for t in range(1, times) for k in keep]
        rows = [*range(len(world.ids)), *(k for k, _ in more)]
        names = [f"-{t}" for _, t in more]
        grown = World(
            ids=[*world.ids, *(world.ids[k] + f"-{t}" for k, t in more)],
            clips=[*world.clips, *(world.clips[k] + f"-{t}" for k, t in more)],
            splits=[world.splits[k] for k in rows],
            lights=[world.lights[k] for k in rows],
            signs=world.signs[rows],
            edge=world.edge[rows],
            range_m=world.range_m[rows],
        )
        assert len(names) == len(more)
        big, twin = ({h: v[rows] for h, v in o.items()} for o in (old, new))
        return cell_of(planned(tmp_path / f"x{times}", grown, big, twin, policy), "cam.range", "mae")

    times = (40 + cell.missing) / 40
    assert repeated(math.ceil(1.15 * times)).enough
    assert not repeated(max(1, math.floor(0.6 * times))).enough


def test_what_cannot_be_measured_is_null_and_says_why(tmp_path: Path) -> None:
    world = make_world(validation=8)
    plan = planned(tmp_path, world, predict(world))
    why = "in only 8 clips in validation; 10 are needed"
    assert cell_of(plan, "cam.edge", "f1").reason == f"positives {why}"
    assert cell_of(plan, "cam.range", "mae").reason == f"frames with a truth {why}"
    assert all(c.reason for c in plan.cells)
    assert all((c.se, c.mdr, c.certifiable, c.suggested, c.missing) == (None,) * 5 for c in plan.cells)
    assert not any(c.enough for c in plan.cells)


def test_a_head_that_the_bundle_lacks_is_not_measurable(tmp_path: Path) -> None:
    world = make_world()
    outputs = predict(world)
    del outputs["edge"]
    plan = planned(tmp_path, world, outputs)
    assert cell_of(plan, "cam.edge", "f1").reason == "the incumbent has no such head"
    assert cell_of(plan, "cam.range", "mae").se is not None


def test_a_network_that_the_twin_shares_says_nothing_of_its_error(tmp_path: Path) -> None:
    world = make_world()
    old, new = predict(world), predict(world, seed=2)
    policy = RANGE.format(tier="supporting", margin=0.5).replace("cam.range", "rear.range")
    write_suite(tmp_path / "suite", world, text=SUITE.replace("cam.range", "rear.range"), policy=policy)
    for name, outputs in (("old", old), ("new", new)):
        write_bundle(tmp_path / name, world, {h: outputs[h] for h in ("sign", "edge")}, version=name)
        rear = write_bundle(tmp_path / "rear", world, {"range": old["range"]}) / "cam.parquet"
        rear.rename(tmp_path / name / "rear.parquet")
        with (tmp_path / name / "bundle.toml").open("a") as manifest:
            manifest.write('\n[networks.rear]\npredictions = "rear.parquet"\n')
    plan = plan_suite(
        tmp_path / "old",
        suite=tmp_path / "suite",
        policy=tmp_path / "suite" / "policy.toml",
        thresholds=tmp_path,
        twin=tmp_path / "new",
    )
    shared = cell_of(plan, "rear.range", "mae")
    assert (shared.se, shared.enough) == (None, False)
    assert shared.reason == "the twin is identical by construction here: it says nothing of the error"
    assert cell_of(plan, "cam.edge", "f1").se is not None


def test_advisory_predictions_are_told_and_never_counted(tmp_path: Path) -> None:
    world = make_world()
    plan = planned(tmp_path, world, predict(world), policy=RANGE.replace("{tier}", "advisory"))
    cell = cell_of(plan, "cam.range", "mae")
    assert (cell.mdr, cell.missing, cell.reason) == (None, None, "advisory: no loss is tested")
    assert cell.se is not None
    assert len(said(plan)) == 1


def test_the_same_suite_and_bundle_give_the_same_bytes(tmp_path: Path) -> None:
    world = make_world()
    first, again = (plan_json(planned(tmp_path / name, world, predict(world))) for name in ("a", "b"))
    assert first == again


# What a user reads


def a_cell(prediction: str, **changes: object) -> PlanCell:
    cell = PlanCell(
        prediction=prediction,
        metric="f1",
        unit="",
        slice="all",
        tier="supporting",
        margin=0.05,
        clips=40,
        positives=200,
        reason="",
        effective=30.9,
        value=0.9,
        se=0.0101,
        mdr=0.0500001,
        provable=True,
        certifiable=0.03,
        suggested=0.05,
        enough=False,
        missing=1,
    )
    return replace(cell, **changes)  # type: ignore[arg-type]


def a_plan(*cells: PlanCell, twin: bool = True) -> Plan:
    who = Identity("tiny", "1", "sha256:1")
    return Plan(
        suite=Identity("town", "7", "sha256:0"),
        incumbent=who,
        twin=replace(who, version="2") if twin else None,
        policy=PolicyFacts("sha256:2", 0.05, 0.95, 9999, 0.005),
        se="twin" if twin else "assumed",
        counted="drive",
        clips=40,
        critical={"critical": 3.1, "supporting": 3.5, "slices": None},
        cells=cells,
    )


def printed(plan: Plan, width: int | None, *, every: bool = False) -> str:
    out = StringIO()
    console = Console(file=out, width=width, force_terminal=width is not None, no_color=True, highlight=False)
    print_plan(plan, console, every=every)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


def test_the_verdict_counts_predictions_by_their_worst_metric() -> None:
    critical = {"tier": "critical"}
    plan = a_plan(
        a_cell("good", enough=True, missing=0, **critical),
        a_cell("near", missing=60, **critical),
        a_cell("far", enough=True, missing=0, **critical),
        a_cell("far", metric="mae", unit="m", missing=1400, **critical),
        a_cell("never", missing=None, **critical),
        a_cell("empty", se=None, missing=None, reason="no positives in validation", **critical),
        a_cell("plain", enough=True, missing=0),
        a_cell("weak", missing=7),
        a_cell("weak", slice="light=day", missing=7),
    )
    assert said(plan) == [
        "This suite can certify 1 of 5 critical predictions at their margins; 2 need about 60 to 1,400 more drives "
        "with a truth (worst: mae of far); for 1 no number of drives like these is enough; 1 cannot be measured.",
        "A loss of one margin would be proven on 1 of 2 supporting predictions; 1 needs about 7 more drives with "
        "positives (worst: f1 of weak).",
        "In slices it would be proven on 0 of 1 cell.",
        "Standard errors are measured, on the twin tiny 2.",
    ]


def test_an_assumption_is_called_one_in_text_and_json() -> None:
    plan = a_plan(a_cell("weak"), twin=False)
    assert (
        "ASSUMED: a retrained twin is taken to share 85% of every drive's error. Measure them: --twin" in said(plan)[-1]
    )
    read = json.loads(plan_json(plan))
    assert (read["se"], read["assumed"], read["twin"]) == ("assumed", {"shared": 0.85, "pairings": 20}, None)
    assert json.loads(plan_json(a_plan(a_cell("weak"))))["assumed"] is None


@pytest.mark.parametrize("width", [80, 120])
def test_a_plan_fits_the_terminal_and_cuts_no_name(width: int) -> None:
    names = [f"front.grid[r{k}.c0.signsymbol]" for k in range(20)]
    cells = [a_cell(n) for n in names] + [a_cell(n, tier="critical", guard=0.09) for n in ("a", "b")]
    cells += [a_cell(n, slice="scene_density=high") for n in names[:3]]
    text = printed(a_plan(*cells), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "and 5 more: --all, or --json" in text
    assert names[0] in "".join(line[:30].strip() for line in text.splitlines())
    assert ("Suggested" in text) is (width == 120)
    assert text.index("Whole suite, critical") < text.index("Whole suite, supporting") < text.index("Slices")
    assert "Guard" in text


def test_in_a_pipe_every_cell_is_one_line_with_every_column() -> None:
    name = "front." + "x" * 150
    text = printed(a_plan(a_cell(name, value=0.5, mdr=0.6), a_cell("b", provable=False, mdr=None)), None)
    (line,) = (x for x in text.splitlines() if x.startswith(name))
    assert line.split() == [name, "f1", "200", "40", "(30)", "1.01", "never", "3", "5", "5", "1"]


def test_figures_are_rounded_up_and_never_to_the_good_news() -> None:
    text = printed(a_plan(a_cell("a", mdr=0.0500001, se=0.01)), None)
    assert "5.01" in text
    text = printed(a_plan(a_cell("a", mdr=0.07, se=0.01)), None)
    assert " 7 " in text


def test_the_worst_come_first_and_all_can_be_asked_for() -> None:
    cells = [a_cell(f"p{k:02}", missing=k, mdr=0.05 + k / 1000) for k in range(1, 40)]
    cells += [a_cell("hopeless", missing=None), a_cell("fine", enough=True, missing=0)]
    text = printed(a_plan(*cells), None)
    shown = [line.split()[0] for line in text.splitlines() if line.startswith(("p", "hopeless", "fine"))]
    assert shown == ["hopeless", *(f"p{k:02}" for k in range(39, 25, -1))]
    assert "and 26 more" in text
    every = printed(a_plan(*cells), None, every=True)
    assert "fine" in every
    assert "more: --all" not in every


def test_what_cannot_be_measured_is_listed_by_its_reason() -> None:
    none = {"se": None, "missing": None}
    cells = [
        a_cell(f"p{k}", reason=f"positives in only {k} drives in validation; 10 are needed", **none) for k in range(9)
    ]
    text = printed(a_plan(*cells), None)
    assert "positives in too few drives in validation; 10 are needed: 9 (p0, p1, p2 and 6 more)" in text
    assert "p8" in printed(a_plan(*cells), None, every=True)


# The command


def test_the_command_prints_a_plan_and_writes_nothing(releases: Path) -> None:
    ended = gate(*PLAN, cwd=releases)
    assert (ended.code, ended.made, ended.changed) == (0, (), ()), ended.err
    assert "tiny 1 on tiny 1, 24 validation clips" in ended.out
    assert "ASSUMED" in ended.out
    assert "cam.range" in ended.out
    assert "bundle: 144 of 144 frames" in ended.err


def test_json_has_every_field_and_nulls_have_reasons(releases: Path) -> None:
    ended = gate("suite", "plan", "--suite", "suite", "--bundle", "old", "--twin", "new", "--json", cwd=releases)
    assert ended.code == 0, ended.err
    plan = json.loads(ended.out)
    assert list(plan) == [
        "schema", "gate", "suite", "incumbent", "twin", "policy", "se", "assumed", "counted", "clips", "critical",
        "said", "cells",
    ]  # fmt: skip
    assert (plan["schema"], plan["se"], plan["clips"], plan["twin"]["version"]) == ("gate.plan/1", "twin", 24, "2")
    assert plan["critical"]["critical"] is None
    assert plan["critical"]["supporting"] > 2
    assert len(plan["cells"]) == 7 * 3
    for cell in plan["cells"]:
        assert tuple(cell) == CELL_FIELDS
        assert cell["reason"] or None not in (cell["se"], cell["mdr"], cell["certifiable"], cell["suggested"])
    order = [(c["prediction"], c["slice"]) for c in plan["cells"][:3]]
    assert order == [("cam.sign[stop]", "all"), ("cam.sign[stop]", "light=day"), ("cam.sign[stop]", "light=night")]


def test_the_only_suite_and_released_operating_points_are_found(releases: Path) -> None:
    (releases / "suites").mkdir()
    (releases / "suite").rename(releases / "suites" / "tiny")
    assert gate("suite", "plan", "--bundle", "old", cwd=releases).code == 0
    (releases / "thresholds" / "tiny").mkdir(parents=True)
    (releases / "thresholds" / "tiny" / "tiny-1.toml").write_text('schema = "other"\n')
    ended = gate("suite", "plan", "--bundle", "old", cwd=releases)
    assert ended.code == 2, "the released file is read"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("suite", "plan", "suite"), 2, ("needs a bundle", "--bundle")),
        ((*PLAN, "--suite", "suite"), 2, ("named twice",)),
        ((*PLAN, "--twin", "old"), 2, ("old: the twin is the bundle itself", "another seed")),
        ((*PLAN, "--twin", "nowhere"), 4, ("nowhere",)),
        (("suite", "plan", "nowhere", "--bundle", "old", "--policy", "suite/policy.toml"), 4, ("nowhere",)),
        ((*PLAN, "--policy", "nowhere.toml"), 2, ("nowhere.toml",)),
        ((*PLAN, "--thresholds", "nowhere"), 2, ("nowhere",)),
    ],
)
def test_wrong_input_is_refused_with_a_message(
    releases: Path, words: tuple[str, ...], code: int, told: tuple[str, ...]
) -> None:
    refused(gate(*words, cwd=releases), code, *told)


def test_a_twin_that_is_another_version_of_the_same_files_is_the_bundle_itself(releases: Path) -> None:
    world = make_world()
    write_bundle(releases / "renamed", world, predict(world), version="9")
    refused(gate(*PLAN, "--twin", "renamed", cwd=releases), 2, "the twin is the bundle itself")


def test_a_twin_without_a_head_is_refused_before_anything_runs(releases: Path) -> None:
    world = make_world()
    outputs = predict(world, seed=2)
    del outputs["edge"]
    write_bundle(releases / "poor", world, outputs, version="2")
    ended = gate(*PLAN, "--twin", "poor", cwd=releases)
    refused(ended, 4, "the twin has no head cam.edge")
    assert "frames" not in ended.err
