"""Laws of a whole judgement: what must change nothing in it, what must turn it around, and what may never pass."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.compare import Comparison, Question, Side, compare, prove_loss, sign_vectors, signflip
from gate.folded import folded
from gate.heads import Head, Series
from gate.judge import Cell
from gate.stacked import Stacked
from gate.table import EvidenceTable, empty, merge, mixed, stack
from tests.oracles import statistics as oracle
from tests.oracles.statistics import Clips, Event, Measured
from tests.support.judged import NO_FACTS, a_policy, a_rule, judged
from tests.support.tiny import World, gate, make_world, predict, refreeze, write_bundle, write_suite

#: The module; its name in the package is the function's.
comparing = importlib.import_module("gate.compare.compare")
METRICS = ("f1", "precision", "recall", "iou", "average_precision", "coco_ap", "brier", "log_loss")
RANGE = Head("cam.range", "regression", ("",), (0,), unit="m")
SEEDS = st.integers(0, 10_000)


def two(seed: int, clips: int, count: int = 2, *, qualities: Sequence[float] = (2.0, 1.2)) -> list[list[Clips]]:
    """Releases that answer one truth, the first better than the second."""
    rng = np.random.default_rng(seed)
    truths = [oracle.a_truth(rng, clips, least=3, most=9) for _ in range(count)]
    return [[oracle.answered(rng, t, quality=q) for t in truths] for q in qualities]


def measured(seed: int, clips: int, spreads: Sequence[float] = (1.0, 1.3)) -> list[Clips]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 7, clips)
    return [[[Measured(s * float(rng.normal()), k % 2) for k in range(n)] for n in sizes] for s in spreads]


def rules_of(count: int, margin: float = 0.1) -> list[Any]:
    tiers = ("critical", "supporting", "advisory")
    return [a_rule(*METRICS, tier=tiers[k % 3], margin=margin) for k in range(count)]


def rows(cells: Sequence[Cell], *but: str) -> list[dict[str, Any]]:
    """Cells as plain values, without the named fields."""
    return [{k: v for k, v in asdict(c).items() if k not in but} for c in cells]


# Changes nothing.


@given(SEEDS)
@settings(max_examples=6, deadline=None)
def test_every_event_seen_twice_changes_no_delta_no_statistic_and_no_p_value_by_a_bit(seed: int) -> None:
    """Twice is exact in binary; that there are more events narrows the bound, and nothing else."""
    once = two(seed, 14, qualities=(2.0, 1.2, 1.8))
    twice = [[[[e for e in clip for _ in "ab"] for clip in p] for p in r] for r in once]
    policy = a_policy(groups={"all": "*"})
    plain, doubled = (judged(*r[:2], rules_of(2), policy=policy, anchor=r[2]) for r in (once, twice))
    for x, y in zip(plain, doubled, strict=True):
        for name in ("delta", "p_adjusted", "p_anchor", "delta_anchor", "incumbent", "candidate", "anchor", "clips"):
            assert getattr(x, name) == getattr(y, name), (name, x, y)
        assert x.positives is not None
        assert y.positives == 2 * x.positives
        if x.ci_low is not None and y.ci_low is not None:
            assert y.ci_low >= x.ci_low


@given(SEEDS)
@settings(max_examples=6, deadline=None)
def test_every_measured_value_seen_twice_changes_no_difference_and_no_p_value(seed: int) -> None:
    a, b = measured(seed, 16)
    double = [[[e for e in clip for _ in "ab"] for clip in r] for r in (a, b)]
    rule = [a_rule("mae", "rmse", margin=0.2)]
    for x, y in zip(
        judged([a], [b], rule, head=RANGE), judged([double[0]], [double[1]], rule, head=RANGE), strict=True
    ):
        assert (x.delta, x.p_adjusted, x.clips) == (y.delta, y.p_adjusted, y.clips)


@given(SEEDS, st.sampled_from((10, 12, 25)))
@settings(max_examples=8, deadline=None)
def test_other_names_for_clips_change_no_difference_error_or_bound_and_no_enumerated_p_value(
    seed: int, clips: int
) -> None:
    a, b, since = two(seed, clips, qualities=(2.0, 1.2, 1.8))
    order = np.random.default_rng(seed).permutation(clips)
    again = [[[p[j] for j in order] for p in r] for r in (a, b, since)]
    policy = a_policy(groups={"all": "*"})
    plain = judged(a, b, rules_of(2), policy=policy, anchor=since)
    renamed = judged(again[0], again[1], rules_of(2), policy=policy, anchor=again[2])
    for x, y in zip(plain, renamed, strict=True):
        for name in ("delta", "ci_low", "ci_high", "incumbent", "candidate", "delta_anchor"):
            one, other = getattr(x, name), getattr(y, name)
            assert (one is None) == (other is None)
            assert one is None or one == pytest.approx(other, abs=1e-9)
        if clips <= signflip.ENUMERATED_CLIPS:
            # A tie may be rounded the other way; a tie is a few vectors of 2^J.
            assert (x.p_adjusted is None) == (y.p_adjusted is None)
            assert x.p_adjusted is None or x.p_adjusted == pytest.approx(y.p_adjusted, abs=4 / 2**clips)
            assert x.p_anchor is None or x.p_anchor == pytest.approx(y.p_anchor, abs=4 / 2**clips)


@given(SEEDS, st.data())
@settings(max_examples=10, deadline=None)
def test_evidence_split_into_shards_adds_up_in_any_order_and_grouping(seed: int, data: st.DataObject) -> None:
    (release,) = two(seed, 8, 3, qualities=(1.0,))
    rng = np.random.default_rng(seed)
    shard = [[[int(rng.integers(5)) for _ in clip] for clip in p] for p in release]
    parts = [
        oracle.evidence(
            [
                [[e for e, s in zip(c, where, strict=True) if s == k] for c, where in zip(p, ps, strict=True)]
                for p, ps in zip(release, shard, strict=True)
            ]
        )
        for k in range(5)
    ]
    # A clip without events in a shard has another set of sums there only if the whole prediction is empty.
    pile = [p for p in parts if p.names == parts[0].names]
    if len(pile) < 5:
        return
    while len(pile) > 1:
        one = pile.pop(data.draw(st.integers(0, len(pile) - 1)))
        other = pile.pop(data.draw(st.integers(0, len(pile) - 1)))
        pile.append(one + other if data.draw(st.booleans()) else merge([other, one]))
    assert pile[0] == oracle.evidence(release)


def mixed_sides(seed: int) -> tuple[list[Side], list[Question]]:
    """Seven scored predictions, one of three levels among them, two measured ones, and one that decides for itself."""
    a, b = two(seed, 20, 9)
    more = [measured(seed + k, 20) for k in range(2)]
    rng = np.random.default_rng(seed)
    sides = []
    for k, release in enumerate((a, b)):
        counted = oracle.side_of_counts(*rng.integers(1, 6, (3, 1, 40))).table
        scored = oracle.evidence([*release, *(m[k] for m in more)])
        sides.append(Side(Stacked((folded(scored), *counted.tables)), np.array([0x8000] * 9 + [0x10000] * 3)))
    questions = [Question(k, (k,), m) for k in (0, 1, 2, 3, 5) for m in METRICS]  # nobody asks about 4
    questions += [Question(6, (6, 7, 8), m) for m in ("average_precision", "coco_ap")]
    questions += [Question(k, (k + 2,), m) for k in (7, 8) for m in ("mae", "rmse")]
    questions += [Question(9, (11,), m) for m in ("f1", "precision", "recall")]
    return sides, questions


@pytest.mark.parametrize("block", [1, 2, 3, 5, 8])
def test_the_number_of_predictions_compared_at_once_changes_not_one_bit(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides, questions = mixed_sides(3)
    arguments = (*sides, questions, oracle.slices_of(20), oracle.index_of(20), np.arange(12) >= 9)

    def by_cell(c: Comparison) -> dict[tuple[int, int], list[bytes]]:
        values = [getattr(c, f.name) for f in fields(Comparison) if f.name not in ("question", "slice")]
        keys = zip(c.question.tolist(), c.slice.tolist(), strict=True)
        return {key: [np.ascontiguousarray(v[i]).tobytes() for v in values] for i, key in enumerate(keys)}

    whole = compare(*arguments)
    free = comparing.precision_deltas(*sides, np.arange(9), np.ones(40, bool))
    monkeypatch.setattr("gate.compare.sides.BLOCK", 20 * block)  # of 20 clips each
    parts = compare(*arguments)
    assert by_cell(whole) == by_cell(parts)
    assert free.tobytes() == comparing.precision_deltas(*sides, np.arange(9), np.ones(40, bool)).tobytes()
    signs = sign_vectors(20, 499, 0)
    found = []
    for c in (whole, parts):
        test = prove_loss(c.d, c.weight, np.full(len(c.d), 0.005), np.isfinite(c.delta), signs, 0.05)
        keys = list(zip(c.question.tolist(), c.slice.tolist(), strict=True))
        named = (test.p, test.p_raw, test.statistic)
        found.append((test.critical, {key: [v[i].tobytes() for v in named] for i, key in enumerate(keys)}))
    assert found[0] == found[1]


@given(SEEDS, st.sampled_from((1, 3, 17, 64)))
@settings(max_examples=10, deadline=None)
def test_the_number_of_cells_flipped_at_once_changes_not_one_bit(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    d, weight = rng.normal(-0.2, 1.0, (50, 30)), rng.dirichlet(np.ones(30), 50)
    d[::7] = d[0]  # equal cells, so that some tie
    arguments = (d, weight, np.full(50, 0.005), rng.random(50) < 0.9, sign_vectors(30, 199, seed), 0.05)
    before = prove_loss(*arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signflip, "BLOCK", block)
        after = prove_loss(*arguments)
    for field in ("p", "p_raw", "statistic", "provable"):
        assert getattr(before, field).tobytes() == getattr(after, field).tobytes()
    assert before.critical == after.critical


@given(SEEDS)
@settings(max_examples=6, deadline=None)
def test_a_prediction_that_no_change_can_reach_takes_no_share_of_the_proof_of_others(seed: int) -> None:
    a, b, since = two(seed, 14, 2, qualities=(2.0, 1.4, 1.8))
    (more, wild) = two(seed + 1, 14, 4, qualities=(1.0, 3.0))
    same = replace(NO_FACTS, identical=[f"cam.h[{k}]" for k in range(2, 6)])
    rules = [*rules_of(2), *([rules_of(1)[0], rules_of(2)[1]] * 2)]
    policy = a_policy(groups={"two": "cam.h[?]"})
    beside = judged(a + more, b + more, rules, facts=same, policy=policy, anchor=since + wild)
    alone = judged(a, b, rules[:2], policy=policy, anchor=since)
    kept = [c for c in beside if c.prediction in ("cam.h[0]", "cam.h[1]") or c.task == "group"]
    assert rows(kept) == rows(alone)
    others = [c for c in beside if c not in kept]
    assert {c.verdict for c in others if c.positives} == {"non-inferior"}
    assert {c.p_adjusted for c in others} == {None}


def test_an_identical_bundle_never_differs_from_itself_whatever_its_anchor_was() -> None:
    (a, worse) = two(1, 20, qualities=(2.0, 0.5))
    policy = a_policy(min_effect=0.0, groups={"all": "*"})
    for cell in judged(a, a, rules_of(2), policy=policy, anchor=worse):
        assert cell.verdict in ("non-inferior", "undecided")
        assert (cell.delta, cell.p_adjusted) in ((0.0, 1.0), (0.0, None))


# Turns around.


@given(SEEDS, st.booleans())
@settings(max_examples=5, deadline=None)
def test_swapping_candidate_and_incumbent_mirrors_every_difference_and_every_proof(seed: int, random: bool) -> None:
    """At fixed thresholds; of every metric and of groups; a critical gain needs its certificate besides."""
    clips = 30 if random else 11
    a, b = two(seed, clips, 3, qualities=(2.5, 0.9))
    policy = a_policy(alpha=0.2, groups={"all": "*"})
    there, back = (judged(*r, rules_of(3), policy=policy, seed=seed) for r in ((a, b), (b, a)))
    mirror = {"regressed": "improved", "improved": "regressed"}
    assert "regressed" in {c.verdict for c in there}
    for x, y in zip(there, back, strict=True):
        assert (x.delta is None) == (y.delta is None)
        if x.delta is None or y.delta is None:
            continue
        assert y.delta == -x.delta
        assert x.ci_low is not None
        assert (x.incumbent, x.candidate) == (y.candidate, y.incumbent)
        proven = {x.verdict, y.verdict} & mirror.keys()
        if x.tier == "critical":
            assert proven in (set(), {"regressed"}, {"regressed", "improved"})
        else:
            assert mirror.get(x.verdict) == (y.verdict if proven else None)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_swapping_mirrors_measured_errors_too(seed: int) -> None:
    a, b = measured(seed, 30, (1.0, 1.6))
    rule = [a_rule("mae", "rmse", margin=0.2)]
    there, back = judged([a], [b], rule, head=RANGE, seed=seed), judged([b], [a], rule, head=RANGE, seed=seed)
    for x, y in zip(there, back, strict=True):
        assert x.delta is not None
        assert y.delta == -x.delta
        assert (x.verdict == "regressed") == (y.verdict == "improved")
        assert (y.verdict == "regressed") == (x.verdict == "improved")
    assert "regressed" in {c.verdict for c in there}


def test_swapping_turns_every_contribution_and_statistic_around() -> None:
    sides, questions = mixed_sides(4)
    fixed = (questions, oracle.slices_of(20), oracle.index_of(20), np.arange(12) >= 9)
    there, back = compare(*sides, *fixed), compare(*sides[::-1], *fixed)
    np.testing.assert_array_equal(there.d, -back.d)
    np.testing.assert_array_equal(there.delta, -back.delta)
    np.testing.assert_array_equal(there.se, back.se)
    np.testing.assert_array_equal(there.weight, back.weight)
    loss, gain = (
        prove_loss(d, there.weight, np.full(len(d), 0.01), np.ones(len(d), bool), sign_vectors(20, 999, 1), 0.05)
        for d in (there.d, -back.d)
    )
    np.testing.assert_array_equal(loss.p, gain.p)
    np.testing.assert_array_equal(loss.statistic, gain.statistic)


# Never passes for better.


def worse_scores(a: Clips, rng: np.random.Generator) -> Clips:
    """Every score moved the wrong way, each by its own amount."""

    def moved(e: Event) -> Event:
        assert e.score is not None
        return replace(e, score=e.score + (-1 if e.positive else 1) * float(rng.integers(1, 9)) / 4)

    return [[moved(e) for e in clip] for clip in a]


def more_alarms(a: Clips, rng: np.random.Generator) -> Clips:
    """The same answers, and false alarms besides, as a detector's are."""
    alarm = Event(3.0, False)
    return [[*clip, *[replace(alarm, part=int(rng.integers(2))) for _ in range(rng.integers(3))]] for clip in a]


def more_misses(a: Clips, rng: np.random.Generator) -> Clips:
    """The same answers, and some truths that get no score at all."""
    return [[replace(e, score=None) if e.positive and rng.random() < 0.3 else e for e in clip] for clip in a]


@pytest.mark.parametrize(
    ("spoil", "metrics"),
    [
        (worse_scores, METRICS),
        (more_alarms, ("f1", "precision", "recall", "iou", "average_precision", "coco_ap")),
        (more_misses, ("f1", "recall", "iou", "average_precision", "coco_ap")),
    ],
)
@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_a_strictly_worse_candidate_is_never_improved(
    spoil: Callable[[Clips, np.random.Generator], Clips], metrics: tuple[str, ...], seed: int
) -> None:
    (a,) = two(seed, 15, 3, qualities=(1.5,))
    rng = np.random.default_rng(seed)
    b = [spoil(p, rng) for p in a]
    policy = a_policy(min_effect=0.0, groups={"all": "*"})
    tiers = ("critical", "supporting", "advisory")
    cells = judged(a, b, [a_rule(*metrics, tier=t) for t in tiers], policy=policy, seed=seed, anchor=a)
    assert "improved" not in {c.verdict for c in cells}
    assert not any(c.gained_since_anchor for c in cells)
    assert all(c.delta_worse <= 0 for c in cells if c.delta_worse is not None)


# Through files.


def compared(folder: Path, out: str = "out") -> dict[str, Any]:
    """`verdict.json` without what may differ between equal work: time and digests."""
    ended = gate("compare", "old", "new", "--suite", "suite", "--out", out, cwd=folder)
    assert ended.code in (0, 1, 3), ended.err
    return cleaned((folder / out / "verdict.json").read_text())


def cleaned(text: str) -> dict[str, Any]:
    found = json.loads(text)
    del found["time"]
    for name in ("candidate", "incumbent", "suite", "policy"):
        del found[name]["digest"]
    return found


@pytest.fixture
def twelve(tmp_path: Path, without_contract_worker: None) -> tuple[Path, World]:
    """Twelve validation clips, so that every sign vector is tried and digests seed nothing."""
    world = make_world(calibration=6, validation=12)
    write_suite(tmp_path / "suite", world)
    write_bundle(tmp_path / "old", world, predict(world, noise=2.0), version="1")
    write_bundle(tmp_path / "new", world, predict(world, noise=3.0, seed=2), version="2")
    return tmp_path, world


def test_the_order_of_rows_in_tables_and_recordings_changes_nothing_in_the_verdict(twelve: tuple[Path, World]) -> None:
    folder, world = twelve
    before = compared(folder)
    rng = np.random.default_rng(0)
    table = folder / "suite/frames.csv"
    header, *lines = table.read_text().splitlines()
    table.write_text("\n".join([header, *(lines[k] for k in rng.permutation(len(lines)))]) + "\n")
    refreeze(folder / "suite")
    for name in ("old", "new"):
        recorded = pq.read_table(folder / name / "cam.parquet")
        pq.write_table(recorded.take(rng.permutation(len(world.ids))), folder / name / "cam.parquet")
    after = compared(folder)
    assert after == before
    assert {c["verdict"] for c in before["cells"]} & {"regressed", "undecided", "non-inferior"}


def test_other_names_of_clips_and_frames_in_the_same_order_change_nothing_in_the_verdict(
    twelve: tuple[Path, World],
) -> None:
    folder, world = twelve
    before = compared(folder)
    other = replace(world, clips=[f"drive_{c}/x" for c in world.clips], ids=[f"z{i}9" for i in world.ids])
    shutil.rmtree(folder / "suite")
    write_suite(folder / "suite", other)
    for version, (name, outputs) in enumerate(
        {"old": predict(world, noise=2.0), "new": predict(world, noise=3.0, seed=2)}.items(), 1
    ):
        write_bundle(folder / name, other, outputs, version=str(version))
    assert compared(folder) == before


def test_equal_inputs_give_equal_bytes(twelve: tuple[Path, World]) -> None:
    folder, _ = twelve
    compared(folder, "one")
    compared(folder, "other")
    files = sorted(p.relative_to(folder / "one") for p in (folder / "one").rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(folder / "other") for p in (folder / "other").rglob("*") if p.is_file())
    one, other = ((folder / name / "verdict.json").read_text().splitlines() for name in ("one", "other"))
    assert [x for x, y in zip(one, other, strict=True) if x != y] in ([], [one[2]]), "nothing but the time"
    assert '"time"' in one[2]
    for name in files:
        if name.suffix == ".toml":
            assert (folder / "one" / name).read_bytes() == (folder / "other" / name).read_bytes()


def test_a_copy_of_the_incumbent_under_another_name_is_no_better_and_no_worse(twelve: tuple[Path, World]) -> None:
    """Another digest, the same answers: nothing is identical by construction, and nothing differs."""
    folder, world = twelve
    outputs = {head: np.asarray(values) for head, values in predict(world, noise=2.0).items()}
    write_bundle(folder / "new", world, outputs, name="copy", version="9")
    recorded = pq.read_table(folder / "new/cam.parquet")
    pq.write_table(recorded, folder / "new/cam.parquet", compression="none")
    found = compared(folder)
    assert {c["impact"] for c in found["cells"]} == {"reached"}
    assert {c["verdict"] for c in found["cells"]} <= {"non-inferior", "undecided", "not-measurable"}
    assert {c["delta"] for c in found["cells"]} <= {0.0, None}
    assert {c["p_adjusted"] for c in found["cells"]} <= {1.0, None}


def test_evidence_of_frames_added_in_parts_is_that_of_all_frames() -> None:
    """Measured sums too, of which the order of adding would show in a float."""
    rng = np.random.default_rng(0)
    series, names = [Series("cam.range", 0.0)], ("events", "frames", "sum_abs_error", "sum_square_error")
    shards = []
    for _ in range(6):
        table = empty(series, 4, names)
        table.moments[...] = rng.integers(0, 2**40, table.moments.shape)
        shards.append(table)
    whole = merge(shards)
    for _ in range(5):
        order = rng.permutation(6)
        left = merge([shards[k] for k in order[:2]]) + merge([shards[k] for k in order[2:]])
        assert left == whole
    apart = stack([whole, EvidenceTable((Series("cam.b", 0.0),), 4, whole.keys, whole.counts, names, whole.moments)])
    assert apart.take(np.array([0])) == whole


def test_evidence_mixed_of_several_releases_has_each_row_of_its_own() -> None:
    tables = [oracle.evidence(r) for r in two(5, 6, 4)]
    which = np.array([1, 0, 1, 0])
    found = mixed(tables, which)
    for row, k in enumerate(which):
        assert all(found.row(row, cell) == tables[k].row(row, cell) for cell in range(found.cells))
    assert (np.diff(found.keys) > 0).all(), "sorted, as every table is"
    assert mixed(tables, np.zeros(4, np.int64)) == tables[0]
