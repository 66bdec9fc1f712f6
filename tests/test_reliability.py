"""Calibration is judged by clip, beyond noise, and is the same however events, clips and series are cut."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, special, stats
from sklearn.calibration import calibration_curve

from gate.calibrate.reliability import Reliability, reliability
from gate.errors import EvidenceError
from gate.heads import Series
from gate.lattice import MISSED, encode
from gate.table import ClipIndex, Entries, EvidenceTable, by_score, histogram, keys_of, merge, sum_equal_keys
from tests.oracles import reliability as oracle
from tests.oracles.reliability import Event

laws = settings(deadline=None, max_examples=80, database=None)
Array = NDArray[Any]
CLIPS = 5
#: Each clip has two cells, and one more cell lies in no clip.
INDEX = ClipIndex(np.r_[np.repeat(np.arange(CLIPS), 2), -1], CLIPS)

logits = st.one_of(st.integers(-12, 8).map(lambda k: k / 4), st.sampled_from([-np.inf, np.inf]), st.none())
event = st.tuples(logits, st.booleans(), st.integers(0, CLIPS - 1))
#: Few distinct events, each several times, so that some samples expect ten positives and more.
events = st.lists(st.tuples(event, st.integers(1, 12)), max_size=14).map(
    lambda rows: [(x, y or x is None, clip) for (x, y, clip), times in rows for _ in range(times)]
)
many = st.lists(events, min_size=1, max_size=4)


def table_of(*series: list[Event], cells: Array | None = None) -> EvidenceTable:
    """The events of each series; those of clip j in turn in its two cells, unless `cells` has one for each event."""
    flat = [(k, e) for k, one in enumerate(series) for e in one]
    code = np.array([MISSED if x is None else int(encode(x)) for _, (x, _, _) in flat], np.uint16)
    turn = np.arange(len(flat)) % 2
    cell = np.array([2 * clip for _, (_, _, clip) in flat], np.int64) + turn if cells is None else cells
    row = np.array([k for k, _ in flat], np.int64)
    keys, counts = histogram(row, cell, np.array([y for _, (_, y, _) in flat], bool), code)
    rows = tuple(Series(f"cam.it[{k}]", 0.0) for k in range(len(series)))
    size = len(INDEX.clip)
    return EvidenceTable(rows, size, keys, counts, (), np.zeros((len(series), size, 0), np.int64))


def of(*series: list[Event]) -> Reliability:
    return reliability(by_score(table_of(*series)), INDEX)


def assert_equal(a: Reliability, b: Reliability) -> None:
    for field in fields(Reliability):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), err_msg=field.name)


@laws
@given(many)
def test_every_figure_is_the_one_of_the_slow_twin(series: list[list[Event]]) -> None:
    found = of(*series)
    for k, one in enumerate(series):
        kept = oracle.scored(one)
        assert (found.events[k], found.observed[k]) == (len(kept), sum(y for _, y, _ in kept))
        assert found.clips[k] == len({clip for _, _, clip in kept})
        assert found.ratio[k] == pytest.approx(oracle.ratio(one), nan_ok=True)
        assert found.z[k] == pytest.approx(oracle.z(one), nan_ok=True, rel=1e-6, abs=1e-7)
        assert found.ece[k] == pytest.approx(oracle.ece(one), nan_ok=True, abs=1e-12)
        bins = [oracle.bin_of(b) for b in oracle.cut(one)]
        assert found.bins[k] == len(bins)
        for name, values in (("events", found.bin_events), ("predicted", found.bin_predicted)):
            assert values[k, : len(bins)] == pytest.approx([getattr(b, name) for b in bins])
        assert found.bin_observed[k, : len(bins)] == pytest.approx([b.observed for b in bins])
        assert found.bin_se[k, : len(bins)] == pytest.approx([b.se for b in bins], nan_ok=True, abs=1e-7)
        assert np.isnan(found.bin_events[k, len(bins) :]).all()
        square = np.sign(found.rms[k]) * found.rms[k] ** 2
        assert square == pytest.approx(oracle.squared_error(one), nan_ok=True, abs=1e-12)


def test_observed_over_expected_and_z_are_those_of_a_count_by_hand() -> None:
    # Ten events of p = 1/2 in each of three clips, with 9, 6 and 6 positives: O - E = 4, 1, 1.
    one = [(0.0, i < hits, clip) for clip, hits in enumerate((9, 6, 6)) for i in range(10)]
    found = of(one)
    assert (found.observed[0], found.expected[0], found.ratio[0]) == (21, 15.0, 1.4)
    assert found.z[0] == pytest.approx(6 / np.sqrt(18), rel=1e-15)
    # One code, so one bin. Gap 0.2; residuals 2, -1, -1; leverage 1/3: var = (4 + 1 + 1) / (2/3) / 900 = 0.01.
    assert (found.bins[0], found.bin_predicted[0, 0], found.bin_observed[0, 0]) == (1, 0.5, 0.7)
    assert found.bin_se[0, 0] == pytest.approx(0.1, rel=1e-14)
    assert found.rms[0] == pytest.approx(np.sqrt(0.04 - 0.01), rel=1e-14)
    assert found.ece[0] == pytest.approx(0.2, rel=1e-14)


def test_a_gap_smaller_than_its_noise_reads_below_zero() -> None:
    one = [(0.0, i < hits, clip) for clip, hits in enumerate((8, 3, 4)) for i in range(10)]
    # Gap 0, residuals 3, -2, -1: var = 14 / (2/3) / 900.
    assert of(one).rms[0] == pytest.approx(-np.sqrt(14 * 1.5 / 900), rel=1e-14)


def test_the_error_by_clips_of_one_event_each_is_the_debiased_one_of_kumar() -> None:
    """Kumar, Liang & Ma 2019: gap² - y(1 - y)/(n - 1), with independent events of one probability a bin."""
    rng = np.random.default_rng(4)
    labels = rng.random(400) < 0.4
    code = np.full(400, int(encode(0.5)))
    entries = entries_from(np.zeros(400, np.int64), np.arange(400), code, labels, np.ones(400, np.int64))
    found = reliability(entries, ClipIndex(np.arange(400), 400))
    p, y = 1 / (1 + np.exp(-0.5)), labels.mean()
    assert found.rms[0] ** 2 == pytest.approx((y - p) ** 2 - y * (1 - y) / 399, rel=1e-9)


def test_the_bins_are_a_reliability_curve() -> None:
    """With codes as bins, scikit-learn's calibration_curve gives the same points."""
    rng = np.random.default_rng(5)
    score = rng.choice([-1.5, -0.5, 0.5, 1.5], 600)
    label = rng.random(600) < special.expit(score)
    found = of([(float(x), bool(y), i % CLIPS) for i, (x, y) in enumerate(zip(score, label, strict=True))])
    share, predicted = calibration_curve(label, special.expit(score), n_bins=20)
    assert found.bins[0] == 4
    assert found.bin_observed[0, 3::-1] == pytest.approx(share)
    assert found.bin_predicted[0, 3::-1] == pytest.approx(predicted)


@laws
@given(many, st.randoms())
def test_the_order_of_events_and_how_they_are_sharded_change_nothing(series: list[list[Event]], random: Any) -> None:
    table = table_of(*series)
    whole = reliability(by_score(table), INDEX)
    shuffled = [random.sample(one, len(one)) for one in series]
    cells = np.array([2 * clip for one in shuffled for _, _, clip in one], np.int64)
    assert_equal(reliability(by_score(table_of(*shuffled, cells=cells)), INDEX), of_one_cell(series))
    shards = [table_of(*([e for i, e in enumerate(one) if i % 3 == k] for one in series)) for k in range(3)]
    merged = reliability(by_score(merge(shards)), INDEX)
    for field in fields(Reliability):
        np.testing.assert_allclose(getattr(merged, field.name), getattr(whole, field.name), rtol=1e-6, atol=1e-7)


def of_one_cell(series: list[list[Event]]) -> Reliability:
    cells = np.array([2 * clip for one in series for _, _, clip in one], np.int64)
    return reliability(by_score(table_of(*series, cells=cells)), INDEX)


@laws
@given(many, st.permutations(range(CLIPS)))
def test_renaming_clips_changes_no_bit(series: list[list[Event]], order: list[int]) -> None:
    renamed = [[(x, y, order[clip]) for x, y, clip in one] for one in series]
    assert_equal(of_one_cell(series), of_one_cell(renamed))


@laws
@given(many, st.sampled_from([1, 7, 40]), st.sampled_from([1, 200]))
def test_the_size_of_a_block_changes_no_bit(series: list[list[Event]], entries: int, sums: int) -> None:
    whole = of(*series)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(reliability.__globals__, "_ENTRIES", entries)
        patch.setitem(reliability.__globals__, "_SUMS", sums)
        assert_equal(of(*series), whole)


@laws
@given(events)
def test_bins_hold_five_expected_positives_and_never_split_a_score(one: list[Event]) -> None:
    found = of(one)
    used = slice(0, int(found.bins[0]))
    assert (found.bins[0] > 0) == (found.expected[0] >= 10)
    assert ((found.bin_events * found.bin_predicted)[0, used] >= 5 - 1e-6).all()
    assert found.bin_events[0, used].sum() == (found.events[0] if used.stop else 0)
    assert (np.diff(found.bin_predicted[0, used]) < 0).all()
    # A bin is a run of whole scores: its size is one of the differences of the cumulated sizes of scores.
    sizes = [
        sum(x == score for x, _, _ in one) for score in sorted({x for x, _, _ in oracle.scored(one)}, reverse=True)
    ]
    assert set(np.cumsum(found.bin_events[0, used])) <= set(np.cumsum(sizes))


def test_fifteen_bins_share_the_expected_positives_evenly_where_scores_are_fine() -> None:
    world = calibrated(np.random.default_rng(1), heads=2, prevalence=0.13, icc=0.0)
    found = reliability(*world)
    assert found.bins.tolist() == [15, 15]
    shares = found.bin_events * found.bin_predicted / found.expected[:, None]
    assert shares == pytest.approx(np.full((2, 15), 1 / 15), rel=0.02)


def test_missed_positives_and_cells_outside_the_clips_enter_nothing() -> None:
    one: list[Event] = [(0.25 * (i % 9 - 4), i % 3 == 0, i % CLIPS) for i in range(90)]
    outside = table_of([(1.0, True, 0)] * 50, cells=np.full(50, 2 * CLIPS))
    with_more = merge([table_of(one), table_of([(None, True, i % CLIPS) for i in range(30)]), outside])
    assert_equal(reliability(by_score(with_more), INDEX), of(one))


def test_what_cannot_be_given_is_nan_and_what_can_is_given() -> None:
    nothing: list[Event] = []
    missed: list[Event] = [(None, True, 0)]
    impossible: list[Event] = [(-np.inf, True, 0), (-np.inf, False, 1)]
    one_clip: list[Event] = [(0.0, i % 3 == 0, 0) for i in range(40)]
    certain: list[Event] = [(np.inf, True, i % 3) for i in range(20)]
    few: list[Event] = [(0.0, i % 2 == 0, i % 3) for i in range(19)]
    found = of(nothing, missed, impossible, one_clip, certain, few)
    assert np.isnan(found.ratio).tolist() == [True, True, True, False, False, False]
    assert np.isnan(found.z).tolist() == [True, True, False, True, True, False]
    assert np.isnan(found.rms).tolist() == [True, True, True, True, False, True]
    assert np.isnan(found.ece).tolist() == [True, True, False, False, False, False]
    assert found.bins.tolist() == [0, 0, 0, 1, 1, 0]
    assert np.isnan(found.bin_se[3]).all()
    assert (found.ratio[4], found.rms[4]) == (1.0, 0.0)


def test_a_bin_within_one_clip_is_left_out_and_the_others_still_speak() -> None:
    low: list[Event] = [(-1.0, i % 2 == 0, i % 4) for i in range(80)]
    high: list[Event] = [(2.0, False, 0)] * 10
    assert of(low + high).bins[0] == 2
    assert np.isnan(of(low + high).bin_se[0]).tolist() == [True, False, *[True] * 13]
    assert of(low + high).rms[0] == of(low).rms[0]


def test_no_series_and_no_clips_are_empty_and_not_an_accident() -> None:
    none = np.zeros(0, np.int64)
    assert reliability(Entries(0, none, none), INDEX).bin_se.shape == (0, 15)
    nowhere = reliability(by_score(table_of([(0.0, True, 0)])), ClipIndex(np.full(11, -1), 0))
    assert (nowhere.events[0], nowhere.clips[0]) == (0, 0)
    assert np.isnan(nowhere.ratio[0])


def test_more_events_than_cuts_have_room_for_are_refused() -> None:
    zero = np.zeros(1, np.int64)
    entries = entries_from(zero, zero, np.array([int(encode(0.0))]), np.zeros(1, bool), np.array([2**40]))
    with pytest.raises(EvidenceError, match="too many"):
        reliability(entries, INDEX)


def entries_from(series: Array, cell: Array, code: Array, positive: Array, count: Array) -> Entries:
    """Entries of flat columns in any order."""
    keys = keys_of(series, cell, positive, code.astype(np.uint16))
    return Entries(int(series.max()) + 1, *sum_equal_keys(keys, count))


def calibrated(
    rng: np.random.Generator, *, heads: int, prevalence: float, icc: float, temperature: float = 1.0
) -> tuple[Entries, ClipIndex]:
    """Heads of 20,000 events in 100 clips that share `icc` of a latent; each event is positive with probability p.

    With a temperature the score says temperature times the logit of p: over-confident above 1.
    """
    clips, n = 100, 20_000
    spread = 1.5 * stats.norm.ppf((np.arange(999) + 0.5) / 999)
    middle = optimize.brentq(lambda m: special.expit(m + spread).mean() - prevalence, -20, 5)
    size = rng.lognormal(0, 0.5, clips)
    clip = np.sort(rng.choice(clips, n, p=size / size.sum()))
    logit = (middle + 1.5 * rng.standard_normal((heads, n))).astype(np.float16).astype(float)
    common, own = rng.standard_normal((heads, clips))[:, clip], rng.standard_normal((heads, n))
    positive = special.ndtri(special.expit(logit)) + np.sqrt(icc) * common + np.sqrt(1 - icc) * own > 0
    code = encode(temperature * logit)
    series = np.repeat(np.arange(heads), n)
    events = series, np.tile(clip, heads), code.ravel(), positive.ravel(), np.ones(heads * n, np.int64)
    return entries_from(*events), ClipIndex(np.arange(clips), clips)


def test_a_calibrated_head_reads_no_error_although_its_clips_are_wrong_together() -> None:
    """Method B7: plug-in ECE reads 0.4 to 0.9 points, the clip-robust error about 0; event z rejects every second."""
    for prevalence, low, high in ((0.027, 0.003, 0.006), (0.13, 0.008, 0.015)):
        found = reliability(*calibrated(np.random.default_rng(7), heads=60, prevalence=prevalence, icc=0.4))
        assert low < found.ece.mean() < high
        assert -0.6 * low < found.rms.mean() < 0.15 * low
        # The square is what is unbiased: within three standard errors of 0.
        square = np.sign(found.rms) * found.rms**2
        assert abs(square.mean()) < 3 * square.std() / np.sqrt(60)
        assert (np.abs(found.z) > 1.96).mean() < 0.17
        events = (found.observed - found.expected) / np.sqrt(found.expected)
        assert (np.abs(events) > 1.96).mean() > 0.35


def test_the_clip_robust_error_forgives_clips_where_errors_by_event_do_not() -> None:
    """The same events with a clip each: a debiasing by event leaves the clips' common error in (method B7)."""
    entries, index = calibrated(np.random.default_rng(8), heads=40, prevalence=0.13, icc=0.4)
    series, code, positive = (np.repeat(v, entries.count) for v in (entries.series, entries.code, entries.positive))
    one = np.ones(len(series), np.int64)
    alone = entries_from(series, np.arange(len(series)) % 20_000, code, positive, one)
    by_event = reliability(alone, ClipIndex(np.arange(20_000), 20_000))
    assert by_event.rms.mean() > 0.005 > 0.002 > reliability(entries, index).rms.mean()


def test_an_over_confident_rare_head_is_found_by_o_over_e_where_ece_calls_it_excellent() -> None:
    """Method B7: at temperature 1.6 and .2 % positives O/E - 1 is about 6 while equal-width ECE reads .0017."""
    found = reliability(*calibrated(np.random.default_rng(9), heads=20, prevalence=0.002, icc=0.0, temperature=1.6))
    assert (found.ratio > 4).all()
    assert (found.z > 1.96).all()
    assert found.ece.mean() < 0.0025
