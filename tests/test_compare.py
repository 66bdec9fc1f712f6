"""Laws of the comparison: what changes nothing, what must change something, and what groups and zero tolerance say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.compare import (
    Comparison,
    Question,
    Side,
    aggregate,
    compare,
    new_errors,
    paired,
    precision_deltas,
    prove_loss,
    sign_vectors,
)
from gate.judge.shuffles import other_clips
from gate.lattice import NO_THRESHOLD
from gate.stacked import Stacked
from gate.suite import Slice
from gate.table import ClipIndex, EvidenceTable, merge
from tests.oracles import statistics as oracle
from tests.oracles.statistics import Clips, Event, Measured

METRICS = ("f1", "precision", "recall", "iou", "accuracy", "average_precision", "coco_ap", "brier", "log_loss")


def asked(count: int, metrics: Sequence[str] = METRICS) -> list[Question]:
    return [Question(k, (k,), m) for k in range(count) for m in metrics]


def compared(a: Sequence[Clips], b: Sequence[Clips], at_b: float = 0.0, metrics: Sequence[str] = METRICS) -> Comparison:
    clips, count = len(a[0]), len(a)
    return compare(
        oracle.side(a, [0.0] * count),
        oracle.side(b, [at_b] * count),
        asked(count, metrics),
        oracle.slices_of(clips),
        oracle.index_of(clips),
        np.zeros(count, bool),
    )


def two_releases(seed: int, clips: int = 20, count: int = 2) -> tuple[list[Clips], list[Clips]]:
    rng = np.random.default_rng(seed)
    truths = [oracle.a_truth(rng, clips) for _ in range(count)]
    return [oracle.answered(rng, t) for t in truths], [oracle.answered(rng, t, quality=0.8) for t in truths]


def same(a: Comparison, b: Comparison, but: Sequence[str] = ()) -> None:
    for field in fields(Comparison):
        if field.name not in but:
            np.testing.assert_allclose(getattr(a, field.name), getattr(b, field.name), atol=1e-9, err_msg=field.name)


def p_values(c: Comparison) -> np.ndarray:
    signs = sign_vectors(c.d.shape[1], 199, 7)
    return prove_loss(c.d, c.weight, np.full(len(c.d), 0.005), np.ones(len(c.d), bool), signs, 0.05).p


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_every_event_seen_twice_changes_no_p_value(seed: int) -> None:
    a, b = two_releases(seed)
    once = compared(a, b)
    twice = compared([[[*c, *c] for c in p] for p in a], [[[*c, *c] for c in p] for p in b])
    same(once, twice, but=("lost", "positives", "frames"))
    np.testing.assert_allclose(p_values(once), p_values(twice), atol=1e-9)
    np.testing.assert_array_equal(2 * once.positives, twice.positives)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_the_order_of_events_and_of_merging_changes_nothing(seed: int) -> None:
    a, b = two_releases(seed)
    rng = np.random.default_rng(seed)
    mixed = [[[c[k] for k in rng.permutation(len(c))] for c in p] for p in b]
    assert oracle.evidence(b) == oracle.evidence(mixed)
    halves = [[[c[k::2] for c in p] for p in b] for k in (0, 1)]
    assert merge([oracle.evidence(h) for h in halves]) == oracle.evidence(b)
    same(compared(a, b), compared(a, mixed))


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_other_names_for_clips_move_their_contributions_and_nothing_else(seed: int) -> None:
    a, b = two_releases(seed)
    order = np.random.default_rng(seed).permutation(20)
    plain, renamed = compared(a, b), compared([[p[j] for j in order] for p in a], [[p[j] for j in order] for p in b])
    same(plain, renamed, but=("d", "weight"))
    np.testing.assert_allclose(plain.d[:, order], renamed.d, atol=1e-12)
    np.testing.assert_allclose(plain.weight[:, order], renamed.weight, atol=1e-12)


def test_other_predictions_beside_it_change_nothing_about_one() -> None:
    a, b = two_releases(1, count=3)
    together, alone = compared(a, b), compared(a[1:2], b[1:2])
    rows = np.flatnonzero((together.question >= len(METRICS)) & (together.question < 2 * len(METRICS)))
    for field in ("incumbent", "candidate", "delta", "d", "weight", "se", "df", "lost", "positives", "clips"):
        np.testing.assert_allclose(getattr(together, field)[rows], getattr(alone, field), atol=1e-12)


def test_clips_of_other_splits_count_for_nothing() -> None:
    a, b = two_releases(2)
    index = oracle.index_of(20)
    inside = ClipIndex(np.where(index.clip < 12, index.clip, -1), 12)
    sides = oracle.side(a, [0.0, 0.0]), oracle.side(b, [0.0, 0.0])
    c = compare(*sides, asked(2), oracle.slices_of(20), inside, np.zeros(2, bool))
    same(c, compared([p[:12] for p in a], [p[:12] for p in b]))


def test_slices_share_out_the_events_of_the_whole() -> None:
    a, b = two_releases(3)
    c = compared(a, b)
    for question in range(len(METRICS)):
        whole, day, night = (c.positives[(c.question == question) & (c.slice == k)][0] for k in range(3))
        assert whole == day + night


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_a_strictly_worse_candidate_is_worse_in_every_metric_and_never_a_proven_gain(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = oracle.answered(rng, oracle.a_truth(rng, 14), quality=2.0, noise=0.5)

    def spoiled(event: Event) -> Event:
        assert event.score is not None
        wrong = rng.random() < 0.4
        return Event((-1 if event.positive else 1) * 3.0, event.positive, event.part) if wrong else event

    c = compared([a], [[[spoiled(e) for e in clip] for clip in a]])
    defined = ~np.isnan(c.delta)
    assert (c.delta[defined] <= 1e-12).all()
    signs = sign_vectors(14, 199, seed)
    gain = prove_loss(-c.d, c.weight, np.full(len(c.d), 0.005), defined, signs, 0.05)
    assert (gain.p_raw[~np.isnan(gain.p_raw)] > 0.4).all()


def test_a_moved_threshold_alone_is_told_apart_from_changed_scores() -> None:
    a, _ = two_releases(4, count=1)
    c = compared(a, a, at_b=1.0, metrics=("f1", "average_precision"))
    moved = (c.question == 0) & (c.slice == 0)
    assert c.delta[moved] != 0
    assert c.at_incumbent[moved] == c.incumbent[moved]
    assert c.delta[c.question == 1].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(c.at_incumbent[c.question == 1]).all()


def test_what_no_threshold_can_hide_is_the_difference_of_average_precision() -> None:
    a, b = two_releases(4, count=3)
    b[1] = [[Event(e.score, False) for e in clip] for clip in a[1]]
    a[1] = b[1]
    sides = oracle.side(a, [0.0] * 3), oracle.side(b, [2.0] * 3)
    chosen = oracle.index_of(20).clip < 15
    found = precision_deltas(*sides, np.array([0, 1, 2]), chosen)
    expected = [
        oracle.value("average_precision", y[:15]) - oracle.value("average_precision", x[:15])
        for x, y in zip(a, b, strict=True)
    ]
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert np.isnan(found[1])
    assert precision_deltas(*sides, np.array([2]), chosen)[0] == found[2]


def test_without_a_threshold_only_curves_and_losses_are_measured() -> None:
    a, b = two_releases(5, count=1)
    none = Side(Stacked.of(oracle.evidence(b)), np.array([0x10000]))
    arguments = (asked(1), oracle.slices_of(20), oracle.index_of(20), np.zeros(1, bool))
    c = compare(oracle.side(a, [0.0]), none, *arguments)
    needs = np.array([METRICS[q] in ("f1", "precision", "recall", "iou", "accuracy") for q in c.question])
    assert np.isnan(c.delta[needs]).all()
    assert np.isnan(c.candidate[needs]).all()
    assert np.isfinite(c.incumbent[needs]).all()
    assert not c.d[needs].any()
    assert np.isfinite(c.delta[~needs]).all()


def test_several_levels_are_averaged_with_all_that_hangs_on_them() -> None:
    """COCO's mean over IoU levels: values, contributions and differences are means over the levels."""
    a, b = two_releases(6, count=3)
    metrics = ("average_precision", "coco_ap")
    arguments = (oracle.slices_of(20), oracle.index_of(20), np.zeros(3, bool))
    sides = oracle.side(a, [0.0] * 3), oracle.side(b, [0.0] * 3)
    # The truths of levels are the same boxes; only what hits them differs.
    together = compare(*sides, [Question(0, (0, 1, 2), m) for m in metrics], *arguments)
    apart = compare(*sides, asked(3, metrics), *arguments)
    for k in range(2):
        rows = [np.flatnonzero((apart.question == 2 * level + k) & (apart.slice == 0))[0] for level in range(3)]
        row = np.flatnonzero((together.question == k) & (together.slice == 0))[0]
        assert together.incumbent[row] == pytest.approx(apart.incumbent[rows].mean())
        assert together.delta[row] == pytest.approx(apart.delta[rows].mean())
        assert together.d[row].sum() == pytest.approx(together.delta[row])


def test_decided_heads_are_counted_from_their_own_decision() -> None:
    """An argmax needs no threshold: its counts are moments, and scores only make the curve."""
    a, b = two_releases(7, count=1)
    tables = [oracle.evidence(p) for p in (a, b)]
    cells = tables[0].cells
    names = ("fn", "fp", "frames", "tn", "tp")
    counts = [np.random.default_rng(k).integers(0, 5, (1, cells, 5)) for k in range(2)]
    sides = [
        Side(Stacked.of(EvidenceTable(t.series, cells, t.keys, t.counts, names, m)), np.array([0x10000]))
        for t, m in zip(tables, counts, strict=True)
    ]
    c = compare(*sides, asked(1, ("f1",)), oracle.slices_of(20), oracle.index_of(20), np.ones(1, bool))
    for k, value in enumerate((c.incumbent[0], c.candidate[0])):
        fn, fp, _, _, tp = counts[k][0].sum(axis=0)
        assert value == 2 * tp / (2 * tp + fn + fp)
    assert np.isnan(c.at_incumbent).all()


@given(st.integers(0, 10_000))
@settings(max_examples=5, deadline=None)
def test_pairings_are_comparisons_of_a_bundle_with_itself_on_other_clips(seed: int) -> None:
    (a, _), rng = two_releases(seed, count=3), np.random.default_rng(seed)
    low, high = (oracle.side(a, [at] * 3) for at in (0.0, 0.5))
    side = Side(low.table, np.array([low.codes[0], NO_THRESHOLD, high.codes[0]]))
    index = oracle.index_of(20)
    arguments = (asked(3), oracle.slices_of(20), index, np.zeros(3, bool))
    orders = [other_clips(20, rng) for _ in range(3)]
    d, se = paired(side, *arguments, orders)
    for k, order in enumerate(orders):
        place = np.argsort(order)  # where each clip stands in for another
        other = ClipIndex(np.where(index.clip >= 0, place[index.clip], -1), 20)
        told = compare(side, side, *arguments, other)
        np.testing.assert_array_equal(se[k], told.se)
        if k == 0:
            np.testing.assert_array_equal(d, told.d)
    assert np.isfinite(se).any(axis=0).mean() > 0.5, "most cells were told"


@pytest.mark.parametrize("sizes", [{"BLOCK": 1}, {"ENTRIES": 1}, {"ENTRIES": 150}])
def test_blocks_that_cells_are_worked_out_in_change_no_bit_and_no_order(
    sizes: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = two_releases(12, count=4)
    whole = compared(a, b)
    for name, value in sizes.items():
        monkeypatch.setattr(f"gate.compare.sides.{name}", value)
    told = compared(a, b)
    for field in fields(Comparison):
        np.testing.assert_array_equal(getattr(told, field.name), getattr(whole, field.name))
    slices = len(oracle.slices_of(20))
    assert whole.question.tolist() == [k for k in range(4 * len(METRICS)) for _ in range(slices)]
    assert whole.slice.tolist() == list(range(slices)) * 4 * len(METRICS)


def test_no_questions_have_no_cells() -> None:
    a, b = two_releases(8, count=1)
    c = compared(a, b, metrics=())
    assert (len(c.delta), c.d.shape, c.weight.shape) == (0, (0, 20), (0, 20))


def test_sums_by_clip_leave_out_cells_that_are_not_chosen() -> None:
    index = ClipIndex(np.array([0, 0, -1, 1, 1, 2]), 3)
    values = np.array([[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]])
    assert index.sum(values, np.array([True, True, True, False, True, False])).tolist() == [[3.0, 16.0, 0.0]]
    assert index.sum(values, np.zeros(6, bool)).tolist() == [[0.0, 0.0, 0.0]]


def test_a_group_is_the_plain_mean_of_its_members() -> None:
    a, b = two_releases(9, count=4)
    c = compared(a, b, metrics=("f1", "recall"))
    rows = np.flatnonzero((c.question % 2 == 0) & (c.slice == 0))
    group = aggregate(c, [rows, rows[:1]])
    for name in ("incumbent", "candidate", "delta", "d", "weight"):
        np.testing.assert_allclose(getattr(group, name)[0], getattr(c, name)[rows].mean(axis=0))
        np.testing.assert_allclose(getattr(group, name)[1], getattr(c, name)[rows[0]])
    assert group.d[0].sum() == pytest.approx(group.delta[0])
    # Four members with noise of their own: the mean is steadier than any of them.
    assert group.se[0] < c.se[rows].mean()


def test_a_small_loss_on_every_member_shows_in_the_group_alone() -> None:
    """0.4 events in a hundred on each of forty members: no member can show it, their mean does."""
    rng = np.random.default_rng(0)
    members, clips = 40, 60
    kept = rng.random((members, clips, 10)) < 0.9
    lost = kept & (rng.random(kept.shape) < 0.012)
    none = np.zeros((members, clips), np.int64)
    sides = [oracle.side_of_counts(answer.sum(axis=2), none, (~answer).sum(axis=2)) for answer in (kept, kept & ~lost)]
    index = ClipIndex(np.arange(clips), clips)
    whole = [Slice("all", np.ones(clips, bool))]
    c = compare(*sides, asked(members, ("recall",)), whole, index, np.ones(members, bool))
    signs = sign_vectors(clips, 999, 0)
    alone = prove_loss(c.d, c.weight, np.full(members, 0.005), np.ones(members, bool), signs, 0.05)
    group = aggregate(c, [np.arange(members)])
    mean = prove_loss(group.d, group.weight, np.array([0.001]), np.ones(1, bool), signs, 0.05)
    assert alone.p.min() > 0.05
    assert mean.p[0] == 0.001


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        ((1.0, -1.0), (1.0, -1.0), False),
        ((1.0, -1.0), (-1.0, -1.0), True),  # a truth is missed
        ((1.0, -1.0), (1.0, 1.0), True),  # a false alarm
        ((-1.0, 1.0), (1.0, -1.0), False),  # both mended
        ((-1.0, -1.0), (1.0, 1.0), True),  # one mended, and another error: still a new one
    ],
)
def test_zero_tolerance_sees_new_errors_of_either_kind(
    before: tuple[float, float], after: tuple[float, float], worse: bool
) -> None:
    def release(scores: tuple[float, float]) -> list[Clips]:
        clip = [Event(scores[0], True), Event(scores[1], False)]
        return [[clip, [Event(-9.0, True)]]]

    cells = np.array([True, True, False, False])
    a, b = (oracle.side(release(s), [0.0]) for s in (before, after))
    found = new_errors(a, b, np.array([0]), cells, np.zeros(1, bool), np.array([0.1]))
    assert found.tolist() == [worse]


@pytest.mark.parametrize(("error", "worse"), [(0.55, False), (0.65, True), (0.1, False)])
def test_zero_tolerance_of_a_measured_value_has_a_tolerance_in_its_unit(error: float, worse: bool) -> None:
    a, b = (oracle.side([[[Measured(x)], [Measured(9.0)]]], [None]) for x in (0.5, error))
    cells = np.array([True, True, False, False])
    assert new_errors(a, b, np.array([0]), cells, np.ones(1, bool), np.array([0.1])).tolist() == [worse]
