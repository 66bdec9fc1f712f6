"""Each metric is scikit-learn's of the same events, read from sums; nothing measured has no value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from sklearn import metrics as sk

from gate.compare.sums import named_sums
from gate.errors import ConfigError
from gate.evidence import STEPS, Evidence, Moments, ScoredEvents
from gate.lattice import MISSED, encode
from gate.measures import NAMES, NotMeasured, divide, measure, metric
from gate.table import by_score
from gate.tasks import Batch, task_of
from tests.support.kinds import head_of

Array = NDArray[Any]
EXACT = 1e-9
#: float32 scores come through the half-precision lattice.
LATTICE = 1e-4


def events(count: int, dtype: type, seed: int = 3) -> tuple[Array, Array]:
    """(labels, logits) of a decent, over-lapping head."""
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.3
    return labels, (rng.normal(size=count) * 1.5 + np.where(labels, 1.0, -1.0)).astype(dtype)


EVERY = frozenset(
    {"tp", "fp", "fn", "tn", "events", "sum_brier", "sum_brier_square", "sum_log_loss", "sum_log_loss_square"}
)


def measured(name: str, labels: Array, logits: Array, threshold: float = 0.0) -> float:
    """The metric of one binary head whose frames lie in several cells."""
    cell = np.arange(len(labels)) % 3
    truth = labels.astype(float)[:, None]
    head = head_of("binary", score="sigmoid")
    table = task_of(head).reduce(Batch({"": logits[:, None]}, truth, cell, 3), head)
    sums = named_sums(table, by_score(table), np.array([int(encode(threshold))]), np.array([False]), EVERY)
    return value_of(name, {key: values.sum(axis=1) for key, values in sums.items()})


def value_of(name: str, sums: dict[str, Array]) -> float:
    what = metric(name)
    if what.kind == "smooth":
        assert what.value is not None
        return float(what.value(sums)[0])
    assert what.ratio is not None
    return float(divide(*what.ratio(sums))[0])


DECIDED = {
    "precision": sk.precision_score,
    "recall": sk.recall_score,
    "f1": sk.f1_score,
    "f2": lambda y, s: sk.fbeta_score(y, s, beta=2),
    "f0.5": lambda y, s: sk.fbeta_score(y, s, beta=0.5),
    "iou": sk.jaccard_score,
    "accuracy": sk.accuracy_score,
}


@pytest.mark.parametrize("name", DECIDED)
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.75])
def test_a_metric_of_decisions_is_that_of_scikit_learn(name: str, threshold: float) -> None:
    labels, logits = events(2_000, np.float16)
    expected = DECIDED[name](labels, logits >= threshold)
    assert measured(name, labels, logits, threshold) == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("name", DECIDED)
def test_a_metric_of_decisions_over_float32_scores_is_that_of_scikit_learn(name: str) -> None:
    labels, logits = events(200_000, np.float32)
    assert measured(name, labels, logits, 0.5) == pytest.approx(DECIDED[name](labels, logits >= 0.5), abs=LATTICE)


@pytest.mark.parametrize(("dtype", "near"), [(np.float16, EXACT), (np.float32, LATTICE)])
def test_losses_of_probabilities_are_those_of_scikit_learn(dtype: type, near: float) -> None:
    labels, logits = events(2_000, dtype)
    shares = expit(logits.astype(np.float64))
    assert measured("brier", labels, logits) == pytest.approx(sk.brier_score_loss(labels, shares), abs=near)
    assert measured("log_loss", labels, logits) == pytest.approx(sk.log_loss(labels, shares), abs=near)


def test_the_loss_of_a_saturated_score_keeps_its_digits() -> None:
    # sigmoid(40) is 1.0 in float64: a loss read from it would be clipped to 36.04 or be infinite.
    assert measured("log_loss", np.array([False]), np.array([40.0])) == 40.0
    assert measured("log_loss", np.array([False, True]), np.array([np.inf, np.inf])) == 65_504 / 2


@pytest.mark.parametrize(("name", "expected"), [("mae", sk.mean_absolute_error), ("rmse", sk.root_mean_squared_error)])
def test_a_mean_error_is_that_of_scikit_learn(name: str, expected: Any) -> None:
    rng = np.random.default_rng(5)
    truth, said = rng.uniform(0, 60, (500, 1)), rng.uniform(0, 60, (500, 1)).astype(np.float32)
    head = head_of("regression", unit="m")
    table = task_of(head).reduce(Batch({"": said}, truth, np.arange(500) % 7, 7), head)
    sums = {key: table.sums(key).sum(axis=1) for key in table.names}
    assert value_of(name, sums) == pytest.approx(expected(truth, said.astype(np.float64)), abs=EXACT)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"average_precision", "coco_ap", "aos"}))
def test_nothing_measured_has_no_value(name: str) -> None:
    nothing = {key: np.zeros(1) for key in metric(name).needs}
    assert np.isnan(value_of(name, nothing))


def test_no_decision_for_yes_has_no_precision_and_no_recall_of_what_is_there() -> None:
    labels, logits = np.array([True, True, False]), np.array([-3.0, -2.0, -1.0])
    assert np.isnan(measured("precision", labels, logits))
    assert measured("recall", labels, logits) == 0.0
    assert measured("f1", labels, logits) == 0.0


def test_nothing_to_find_has_no_recall() -> None:
    labels, logits = np.array([False, False]), np.array([3.0, -2.0])
    assert np.isnan(measured("recall", labels, logits))
    assert measured("precision", labels, logits) == 0.0
    assert measured("accuracy", labels, logits) == 0.5


def test_any_beta_above_zero_may_be_asked_for() -> None:
    labels, logits = events(500, np.float16)
    expected = sk.fbeta_score(labels, logits >= 0, beta=1.25)
    assert measured("f1.25", labels, logits) == pytest.approx(expected, abs=EXACT)
    assert metric("f1.25").beta == 1.25


@pytest.mark.parametrize(
    ("name", "near"), [("precison", "precision"), ("acuracy", "accuracy"), ("f_1", "f1"), ("coco_map", "coco_ap")]
)
def test_an_unknown_metric_suggests_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown metric '{name}'") as caught:
        metric(name)
    assert f"did you mean '{near}'?" in caught.value.mend


def test_a_metric_like_none_lists_all_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        metric("zzzz")
    assert all(known in caught.value.mend for known in NAMES)


def test_a_beta_of_zero_is_no_metric() -> None:
    with pytest.raises(ConfigError, match="unknown metric 'f0'"):
        metric("f0")


def test_only_errors_and_losses_are_better_when_lower() -> None:
    lower = {name.removesuffix("_per_image") for name in NAMES if metric(name).lower_is_better}
    assert lower == {"brier", "log_loss", "mae", "rmse", "abs_rel", "sq_rel", "rmse_log", "silog"}


# One prediction at a time: a value, or why there is none.


def scored(scores: NDArray[np.float64], labels: NDArray[np.bool_], missed: int = 0) -> Evidence:
    codes = [*encode(scores).tolist(), *([MISSED] * missed)]
    single = [ScoredEvents((c,), (bool(x),), (1,)) for c, x in zip(codes, [*labels, *([True] * missed)], strict=True)]
    return Evidence(sum(single, ScoredEvents()))


def test_a_measure_of_summed_evidence_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    labels = rng.random(300) < 0.3
    scores = (rng.normal(size=300) + 2.0 * labels).astype(np.float16).astype(np.float64)
    whole = scored(scores[:100], labels[:100]) + scored(scores[100:], labels[100:])
    said = scores >= 0.5
    assert measure("average_precision", whole) == pytest.approx(sk.average_precision_score(labels, scores), abs=1e-12)
    assert measure("f1", whole, 0.5) == pytest.approx(sk.fbeta_score(labels, said, beta=1))
    assert measure("f2", whole, 0.5) == pytest.approx(sk.fbeta_score(labels, said, beta=2))
    assert measure("accuracy", whole, 0.5) == pytest.approx(sk.accuracy_score(labels, said))
    assert measure("brier", whole) == pytest.approx(sk.brier_score_loss(labels, expit(scores)))
    assert measure("log_loss", whole) == pytest.approx(sk.log_loss(labels, expit(scores)))


def test_errors_of_summed_moments_are_means_over_all_events() -> None:
    names = ("events", "sum_abs_error", "sum_square_error")
    parts = [Evidence(moments=Moments(names, (2, 3 * STEPS, 5 * STEPS))), Evidence(moments=Moments(names, (2, 0, 0)))]
    assert measure("mae", parts[0] + parts[1]) == 0.75
    assert measure("rmse", parts[0] + parts[1]) == pytest.approx(np.sqrt(5 / 4))


@pytest.mark.parametrize(
    ("name", "evidence", "threshold", "why"),
    [
        ("average_precision", Evidence(), None, "there is no evidence for average_precision"),
        ("f1", scored(np.array([1.0]), np.array([True])), None, "there is no evidence for f1 (no threshold)"),
        ("mae", Evidence(moments=Moments(("events", "sum_abs_error"), (0, 0))), None, "no events"),
        ("average_precision", scored(np.array([1.0]), np.array([False])), None, "no positives"),
        ("recall", scored(np.array([1.0]), np.array([False])), 0.0, "no positives"),
        ("precision", scored(np.array([1.0]), np.array([True])), 2.0, "precision is not defined: nothing is accepted"),
    ],
)
def test_nothing_measured_is_a_value_with_its_reason(
    name: str, evidence: Evidence, threshold: float | None, why: str
) -> None:
    assert measure(name, evidence, threshold) == NotMeasured(why)


def test_missed_positives_count_against_recall_and_curve() -> None:
    whole = scored(np.array([1.0, -1.0]), np.array([True, False]), missed=1)
    assert measure("recall", whole, 0.0) == 0.5
    assert measure("average_precision", whole) == 0.5
