"""Real frames and real networks: what gate says of CamVid is what torch, scikit-learn and pycocotools say of it.

The exam lies beside the repository and is not part of it; without it nothing here can be measured.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, mean_absolute_error, precision_recall_curve

import gate.pipeline
from gate.bundle import Bundle, read_bundle
from gate.curves import average_precision, coco_average_precision, curves
from gate.judge import Cell
from gate.lattice import encode
from gate.lock import write_lock
from gate.pipeline import Result, compare_bundles
from gate.run import Run, run
from gate.suite import Suite, open_suite, read_suite
from gate.table import by_score
from tests.oracles import camvid, coco

SHARED = Path(__file__).parents[2] / "shared" / "camvid"
pytestmark = pytest.mark.skipif(
    not (SHARED / "suite.toml").is_file(),
    reason=f"the CamVid exam is not at {SHARED}; it is not part of the repository",
)
#: Half-precision scores move a curve of many events by less than this.
LATTICE = 1e-4
Decide = Callable[..., Result]


@dataclass(frozen=True)
class Exam:
    root: Path
    suite: Suite
    answered: Callable[[str], Run]
    decide: Decide


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exam]:
    """A frozen copy of the exam, on which each bundle's network runs once, whoever asks."""
    root = tmp_path_factory.mktemp("camvid") / "exam"
    shutil.copytree(SHARED, root)
    write_lock(root / "suite.lock", open_suite(root).lock)
    suite = read_suite(root)
    known: dict[str, Run] = {}

    def once(bundle: Bundle, _: Suite, heads: Collection[str] | None = None, *given: Any) -> Run:
        if bundle.digest not in known:
            known[bundle.digest] = run(bundle, suite)
        whole = known[bundle.digest]
        wanted = set(whole.evidence) if heads is None else set(heads)
        return Run(
            whole.evidence.of(wanted),
            {name: s for name, s in whole.summaries.items() if name in wanted},
            tuple(name for name in whole.missing if name in wanted),
            whole.runtime,
        )

    decided: dict[tuple[str, str], Result] = {}

    def decide(candidate: str, policy: str = "policy.toml") -> Result:
        if (candidate, policy) not in decided:
            decided[candidate, policy] = compare_bundles(
                root / "bundles" / "incumbent",
                root / "bundles" / candidate,
                suite=root,
                policy=root / policy,
                thresholds=root / "thresholds",
            )
        return decided[candidate, policy]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate.pipeline, "run", once)
        yield Exam(root, suite, lambda name: once(read_bundle(root / "bundles" / name), suite), decide)


@pytest.fixture(scope="module")
def oracle(exam: Exam) -> camvid.Answers:
    threads = int(dict(exam.answered("incumbent").runtime)["threads"])
    return camvid.answers(exam.root, exam.root / "bundles" / "incumbent" / "model.pt2", threads)


def validation(exam: Exam) -> NDArray[np.bool_]:
    return exam.suite.frames.cell_split == 1


def presence(given: camvid.Answers) -> tuple[list[str], NDArray[Any]]:
    channels = [name for name in given.rows[0] if name.startswith("has_")]
    return channels, np.array([[row[name] == "1" for name in channels] for row in given.rows])


def truth_of(given: camvid.Answers, head: str) -> tuple[list[str], NDArray[Any]]:
    return presence(given) if head == "presence" else camvid.table(given, "truth_grid.parquet")


def test_frames_are_run_in_the_order_in_which_the_exam_is_defined(exam: Exam, oracle: camvid.Answers) -> None:
    assert exam.suite.frames.ids.tolist() == oracle.ids
    assert (int((exam.suite.frames.split == 0).sum()), int((exam.suite.frames.split == 1).sum())) == (160, 272)


@pytest.mark.parametrize(("head", "channels"), [("grid", 990), ("presence", 11)])
def test_average_precision_is_exactly_that_of_scikit_learn_on_half_precision_scores(
    exam: Exam, oracle: camvid.Answers, head: str, channels: int
) -> None:
    _, truth = truth_of(oracle, head)
    inside = oracle.of_split("validation")
    curve = curves(by_score(exam.answered("incumbent").evidence[f"front.{head}"]), validation(exam))
    measured = average_precision(curve)
    assert len(measured) == channels
    assert curve.total.tolist() == (truth[inside] == 1).sum(axis=0).tolist()
    for k in range(channels):
        here, halves = truth[inside, k] == 1, oracle.outputs[head][inside, k].astype(np.float16)
        if here.any():
            assert measured[k] == pytest.approx(average_precision_score(here, halves), abs=1e-12)
        else:
            assert np.isnan(measured[k])


@pytest.mark.parametrize("head", ["grid", "presence"])
def test_average_precision_of_raw_scores_differs_by_no_more_than_neighbours_that_became_equal(
    exam: Exam, oracle: camvid.Answers, head: str
) -> None:
    _, truth = truth_of(oracle, head)
    inside = oracle.of_split("validation")
    measured = average_precision(
        curves(by_score(exam.answered("incumbent").evidence[f"front.{head}"]), validation(exam))
    )
    known = np.flatnonzero(~np.isnan(measured))
    apart = np.empty(len(known))
    for at, k in enumerate(known):
        here, raw = truth[inside, k] == 1, oracle.outputs[head][inside, k]
        apart[at] = abs(measured[k] - average_precision_score(here, raw))
        _, group, size = np.unique(raw.astype(np.float16), return_inverse=True, return_counts=True)
        # A positive with a half-precision score of its own contributes exactly what scikit-learn says.
        assert apart[at] <= (here & (size[group] > 1)).sum() / here.sum() + 1e-12
    # With 272 frames a single tie is dear where positives are few; most channels have none that matters.
    assert (apart < LATTICE).mean() > 0.7
    assert apart.max() < 0.01


@pytest.mark.parametrize("head", ["grid", "presence"])
def test_every_point_of_a_precision_recall_curve_is_a_point_of_scikit_learns(
    exam: Exam, oracle: camvid.Answers, head: str
) -> None:
    _, truth = truth_of(oracle, head)
    inside = oracle.of_split("validation")
    curve = curves(by_score(exam.answered("incumbent").evidence[f"front.{head}"]), validation(exam))
    for k in range(truth.shape[1]):
        here, scores = truth[inside, k] == 1, oracle.outputs[head][inside, k]
        if not here.any():
            continue
        precision, recall, thresholds = precision_recall_curve(here, scores)
        part = curve.of(k)
        # The lowest score of each bin is one of scikit-learn's thresholds: same accepted frames, same point.
        codes = encode(scores)
        lowest = np.array([scores[codes == code].min() for code in curve.code[part]])
        at = np.searchsorted(thresholds, lowest)
        assert np.abs(curve.tp[part] / (curve.tp[part] + curve.fp[part]) - precision[at]).max() < LATTICE
        assert np.abs(curve.tp[part] / curve.total[k] - recall[at]).max() < LATTICE


@pytest.mark.parametrize("head", ["road_edge", "bev_road"])
def test_average_precision_of_a_raster_is_that_of_scikit_learn(exam: Exam, oracle: camvid.Answers, head: str) -> None:
    inside = oracle.of_split("validation")
    truth, scores = camvid.rasters(oracle, head)[inside], oracle.outputs[head][inside]
    known = truth != 255
    curve = curves(by_score(exam.answered("incumbent").evidence[f"front.{head}"]), validation(exam))
    assert average_precision(curve)[0] == pytest.approx(
        average_precision_score(truth[known] == 1, scores[known]), abs=LATTICE
    )


def test_intersection_over_union_is_exactly_that_of_a_plain_confusion_matrix(
    exam: Exam, oracle: camvid.Answers
) -> None:
    inside = oracle.of_split("validation")
    table = exam.answered("incumbent").evidence["front.seg"]
    tp, fp, fn = (table.sums(name)[:, validation(exam)].sum(axis=1) for name in ("tp", "fp", "fn"))
    said, truth = oracle.outputs["seg"][inside].argmax(axis=1), camvid.labels(oracle)[inside]
    assert (tp / (tp + fp + fn)).tolist() == camvid.iou_of_classes(said, truth, 12)[:11]


def test_coco_average_precision_is_that_of_pycocotools(exam: Exam, oracle: camvid.Answers) -> None:
    curve = curves(by_score(exam.answered("incumbent").evidence["front.det"]), validation(exam))
    measured = coco_average_precision(curve)
    inside = oracle.of_split("validation")
    for channel, name in enumerate(("car", "pedestrian")):
        scenes = camvid.scenes(oracle, inside, channel, name)
        assert measured[channel] == pytest.approx(coco.average_precision(scenes, 0.5), abs=LATTICE)
        tp, _, fn = coco.hits(scenes, 0.5)
        assert curve.total[channel] == tp + fn


def test_mean_absolute_error_is_that_of_scikit_learn(exam: Exam, oracle: camvid.Answers) -> None:
    inside = oracle.of_split("validation")
    _, columns = camvid.table(oracle, "truth_free_space.parquet")
    share = np.array([[float(row["drivable_road_share"])] for row in oracle.rows])
    for head, truth in (("free_space", columns), ("road_share", share)):
        table = exam.answered("incumbent").evidence[f"front.{head}"]
        error, events = (table.sums(name)[:, validation(exam)].sum(axis=1) for name in ("sum_abs_error", "events"))
        expected = mean_absolute_error(truth[inside], oracle.outputs[head][inside], multioutput="raw_values")
        assert error / events == pytest.approx(expected, abs=1e-6)


def whole(result: Result) -> list[Cell]:
    return [cell for cell in result.decision.cells if cell.slice == "all"]


def regressed(result: Result) -> set[str]:
    return {cell.prediction for cell in result.decision.cells if cell.verdict == "regressed"}


def test_a_prediction_without_positives_is_not_measurable(exam: Exam, oracle: camvid.Answers) -> None:
    channels, truth = camvid.table(oracle, "truth_grid.parquet")
    absent = ~truth[oracle.of_split("validation")].any(axis=0)
    assert absent.sum() == 345
    cells = [c for c in whole(exam.decide("equal")) if c.head == "front.grid" or c.prediction.startswith("front.grid[")]
    verdicts = {(c.prediction, c.metric): c for c in cells}
    for name, gone in zip(channels, absent, strict=True):
        for metric in ("average_precision", "f1"):
            cell = verdicts[f"front.grid[{name}]", metric]
            if gone:
                assert (cell.verdict, cell.positives, cell.candidate) == ("not-measurable", 0, None)
            else:
                assert cell.positives


def test_a_release_with_one_bad_head_is_no_go_for_that_head_alone(exam: Exam) -> None:
    result = exam.decide("bad_head")
    assert result.decision.decision == "NO-GO"
    assert regressed(result) == {"front.road_edge"}
    assert {p for r in result.decision.reasons if r.code == "regressed" for p in r.predictions} == {"front.road_edge"}


def test_the_incumbent_against_itself_is_go_and_nothing_differs(exam: Exam) -> None:
    result = exam.decide("incumbent")
    assert result.decision.decision == "GO"
    assert {cell.delta for cell in result.decision.cells} <= {0.0, None}
    assert all(cell.incumbent == cell.candidate for cell in result.decision.cells if cell.candidate is not None)


def test_an_equal_release_has_no_regressed_cell(exam: Exam) -> None:
    result = exam.decide("equal")
    assert regressed(result) == set()
    assert any(cell.delta for cell in result.decision.cells)


def test_a_quantised_release_runs_and_is_judged_everywhere(exam: Exam) -> None:
    result = exam.decide("int8")
    assert exam.answered("int8").faults() == {}
    assert {cell.prediction for cell in whole(result)} >= set(exam.suite.predictions)


def test_critical_heads_that_34_clips_cannot_prove_make_it_inconclusive(exam: Exam) -> None:
    result = exam.decide("equal", "policy-critical.toml")
    assert result.decision.decision == "INCONCLUSIVE"
    undecided = [c for c in whole(result) if c.tier == "critical" and c.verdict == "undecided"]
    assert undecided
    assert all(cell.clips_needed and cell.clips_needed > 0 for cell in undecided)
    assert all(f"about {cell.clips_needed} more clips" in cell.reason for cell in undecided)
    first = result.decision.reasons[0]
    assert set(first.predictions) == {"front.road_edge", "front.bev_road"}
    assert f"about {max(cell.clips_needed or 0 for cell in undecided)} more clips" in first.text
