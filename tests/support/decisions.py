"""Decisions built by hand, and one of realistic size: what every report is tested with."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gate.judge.decide import decide
from gate.judge.decision import (
    Cell,
    Decision,
    Identity,
    Outcome,
    PolicyFacts,
    Probabilities,
    Probability,
    Reason,
)
from gate.suite.contract import ContractResult

POLICY = PolicyFacts("sha256:" + "9a" * 32, alpha=0.05, confidence=0.95, resamples=9999, min_effect=0.005)
CANDIDATE = Identity("hydranet", "2026.47.1", "sha256:" + "c0ffee" * 10 + "c0ff")
INCUMBENT = Identity("hydranet", "2026.46.0", "sha256:" + "1b77a9" * 10 + "1b77")
SUITE = Identity("city", "12", "sha256:" + "6d1e55" * 10 + "6d1e")


def a_cell(prediction: str = "front.presence[sky]", **changes: Any) -> Cell:
    """A measured, non-inferior F1 cell of a supporting prediction over the whole suite, with `changes`."""
    head, _, channel = prediction.partition("[")
    cell = Cell(
        prediction=prediction,
        network=prediction.partition(".")[0],
        head=head,
        channel=channel.rstrip("]") or None,
        task="multilabel",
        metric="f1",
        unit="",
        lower_is_better=False,
        slice="all",
        tier="supporting",
        margin=0.02,
        verdict="non-inferior",
        reason="the bound is within the margin",
        clips=212,
        frames=3392,
        positives=812,
        incumbent=0.9221,
        candidate=0.9204,
        delta=0.9204 - 0.9221,
        delta_worse=0.9204 - 0.9221,
        ci_low=-0.0089,
        ci_high=0.0055,
        p_adjusted=1.0,
        mdr=0.0214,
        provable=True,
        suspect=False,
        clips_needed=None,
        threshold_incumbent=0.6519,
        threshold_candidate=0.6602,
        delta_at_incumbent_threshold=-0.0021,
        impact="reached",
    )
    return replace(cell, **changes)


def a_loss(prediction: str = "front.road_edge", **changes: Any) -> Cell:
    """A proven regression of 7.13 points."""
    fields: dict[str, Any] = {
        "task": "binary", "verdict": "regressed", "reason": "worse than the incumbent by more than chance",
        "incumbent": 0.9221, "candidate": 0.8508, "delta": 0.8508 - 0.9221, "delta_worse": 0.8508 - 0.9221,
        "ci_low": -0.09021, "ci_high": -0.05312, "p_adjusted": 0.00004, "threshold_incumbent": 0.6519,
        "threshold_candidate": 0.46, "delta_at_incumbent_threshold": -0.0644,
    }  # fmt: skip
    return a_cell(prediction, **(fields | changes))


def an_undecided(prediction: str = "front.presence[pedestrian]", **changes: Any) -> Cell:
    """A critical cell that waits for 140 clips."""
    fields: dict[str, Any] = {
        "tier": "critical", "metric": "recall", "margin": 0.01, "verdict": "undecided", "clips_needed": 140,
        "reason": "the bound is beyond the margin", "incumbent": 0.911, "candidate": 0.903, "delta": -0.008,
        "delta_worse": -0.008, "ci_low": -0.0313, "ci_high": 0.0151, "p_adjusted": 0.8213,
    }  # fmt: skip
    return a_cell(prediction, **(fields | changes))


def an_unmeasured(prediction: str = "front.presence[tram]", **changes: Any) -> Cell:
    """A cell without numbers."""
    fields: dict[str, Any] = {
        "verdict": "not-measurable", "reason": "4 clips with positives, and 10 are needed", "positives": 9, "clips": 4,
        "frames": 64, "provable": False, "task": "multilabel",
    }  # fmt: skip
    nothing = dict.fromkeys(
        ("incumbent", "candidate", "delta", "delta_worse", "ci_low", "ci_high", "p_adjusted", "mdr",
         "threshold_incumbent", "threshold_candidate", "delta_at_incumbent_threshold")
    )  # fmt: skip
    return a_cell(prediction, **(nothing | fields | changes))


def a_mean_error(prediction: str = "front.free_space", **changes: Any) -> Cell:
    """A metric with a unit, for which lower is better: +0.024 image height, a loss."""
    fields: dict[str, Any] = {
        "task": "regression", "metric": "mae", "unit": "image height", "lower_is_better": True, "margin": 0.02,
        "verdict": "undecided", "suspect": True, "reason": "worse than the margin, not proven", "positives": None,
        "incumbent": 0.0713, "candidate": 0.0953, "delta": 0.024, "delta_worse": -0.024, "ci_low": -0.0012,
        "ci_high": 0.0491, "p_adjusted": 0.2119, "mdr": 0.0311, "clips_needed": 380, "threshold_incumbent": None,
        "threshold_candidate": None, "delta_at_incumbent_threshold": None,
    }  # fmt: skip
    return a_cell(prediction, **(fields | changes))


def a_contract(success: bool = True, **changes: Any) -> ContractResult:
    contract = ContractResult(
        name="labels.unique.sample_id",
        success=success,
        expectation="every value of sample_id is unique",
        observed="272 rows, all hold" if success else "2 of 272 rows fail: '0001TP_06690'",
        where="samples.csv, column sample_id",
    )
    return replace(contract, **changes)


def a_decision(cells: Iterable[Cell] = (), outcome: Outcome = "GO", **changes: Any) -> Decision:
    """A decision over `cells` with one honest reason for `outcome`."""
    cells = tuple(cells)
    regressed = tuple(dict.fromkeys(c.prediction for c in cells if c.verdict == "regressed"))
    reasons: dict[Outcome, Reason] = {
        "GO": Reason("no-loss", "No gated cell is proven worse, and every critical cell is proven no worse."),
        "NO-GO": Reason("regressed", "Proven worse than the incumbent at the family-wise level.", regressed),
        "INCONCLUSIVE": Reason("undecided", "A critical cell is neither proven worse nor proven no worse."),
    }
    decision = Decision(
        decision=outcome,
        reasons=(reasons[outcome],),
        candidate=CANDIDATE,
        incumbent=INCUMBENT,
        suite=SUITE,
        policy=POLICY,
        gate_version="0.1.0",
        runtime=(("python", "3.12"), ("device", "cpu"), ("torch", "2.13.0")),
        cells=cells,
        contracts=(a_contract(),),
        predictions=len({c.prediction for c in cells if not c.prediction.startswith("group:")}),
    )
    return replace(decision, **changes)


def a_mixed_decision() -> Decision:
    """One of everything, small enough to read: the gold files are made from it."""
    cells = (
        a_loss(),
        a_loss(metric="average_precision", threshold_incumbent=None, threshold_candidate=None,
               delta_at_incumbent_threshold=None, incumbent=0.951, candidate=0.9013, delta=-0.0497, delta_worse=-0.0497,
               ci_low=-0.0612, ci_high=-0.0377, p_adjusted=0.0007),
        a_loss(slice="time_of_day=dusk", clips=31, frames=496, positives=77, p_adjusted=0.0312),
        an_unmeasured("front.lane[left]", verdict="broken", reason="the candidate gives NaN in 12 frames",
                      positives=40),
        an_undecided(),
        a_mean_error(),
        an_unmeasured(),
        a_cell("front.presence[building]", verdict="improved", reason="better than the incumbent by more than chance",
               incumbent=0.801, candidate=0.842, delta=0.041, delta_worse=0.041, ci_low=0.021, ci_high=0.0608),
        a_cell(),
        a_cell("rear.presence[sky]", impact="identical", reason="identical by construction", candidate=0.9221,
               delta=0.0, delta_worse=0.0, ci_low=0.0, ci_high=0.0, p_adjusted=None, threshold_candidate=0.6519,
               delta_at_incumbent_threshold=0.0),
        a_loss("front.grid[3]", tier="advisory", candidate=0.9, delta=-0.0221, delta_worse=-0.0221, ci_low=-0.031,
               ci_high=-0.0112, p_adjusted=0.004),
        a_cell("group:grid", network="", head="", task="group", incumbent=0.9221, candidate=0.9211, delta=-0.001,
               delta_worse=-0.001, ci_low=-0.002, ci_high=0.0, threshold_incumbent=None, threshold_candidate=None,
               delta_at_incumbent_threshold=None, delta_threshold_free=None),
    )  # fmt: skip
    return a_decision(
        cells,
        "NO-GO",
        contracts=(a_contract(), a_contract(False, name="candidate.predictions.finite")),
        uncovered=("front.new_head",),
    )


def a_drift(prediction: str = "rear.lane[left]", **changes: Any) -> Cell:
    """As good as the incumbent within the noise, and proven 2.2 points below its anchor."""
    fields: dict[str, Any] = {
        "task": "multilabel", "reason": "lost 2.2 points of F1 since its anchor on 212 clips, adjusted p 0.0021",
        "incumbent": 0.9012, "candidate": 0.9001, "delta": -0.0011, "delta_worse": -0.0011, "ci_low": -0.0071,
        "ci_high": 0.0052, "p_adjusted": 0.9104, "anchor": 0.9221, "delta_anchor": -0.022, "p_anchor": 0.0021,
        "delta_threshold_free": -0.0014, "delta_at_incumbent_threshold": -0.0008,
    }  # fmt: skip
    return a_loss(prediction, **(fields | changes))


def a_probability(prediction: str, log_loss: tuple[float, float, float] | None) -> Probability:
    """Scores read as probabilities: equal but for the change in log-loss, in nats, with its bounds."""
    side = Probabilities(3392, observed=812, expected=790.5, ratio=812 / 790.5, z=0.9, rms=0.01, ece=0.02, bins=())
    return Probability(prediction, side, side, brier=None, log_loss=log_loss)


def a_full_decision() -> Decision:
    """The mixed decision with drift, a waiver and probabilities, and with the reasons that the gate itself gives."""
    waived = a_loss("front.cone", waiver="WAIVER-7", reason="lost 7.1 points of F1 on 212 clips, adjusted p < 0.0001")
    unmeasured = [replace(c, acknowledge=c.suspect or c.verdict == "not-measurable") for c in a_mixed_decision().cells]
    cells = (*unmeasured, a_drift(), waived)
    outcome, reasons = decide(
        [c for c in cells if c.waiver is None],
        missing=(), uncovered={"front.new_head": "supporting"}, must_pass=(), identical_uncovered=(),
    )  # fmt: skip
    return replace(
        a_mixed_decision(),
        decision=outcome,
        reasons=reasons,
        cells=cells,
        predictions=11,
        anchors=(Identity("hydranet", "2026.40.0", "sha256:" + "a0c403" * 10 + "a0c4"),),
        probabilities=(
            a_probability("front.road_edge", (0.0412, 0.0201, 0.0633)),
            a_probability("front.presence[sky]", (-0.001, -0.0022, 0.0003)),
            a_probability("front.lane[left]", None),
        ),
    )


def a_worst_decision(name: str, many: int = 1000) -> Decision:
    """`many` of everything that a report can list, each with `name` in it: what no page may grow under."""
    cells = [a_loss(f"{k}.{name}", head=name, slice=f"{name}={name}", reason=name) for k in range(many)]
    cells += [an_unmeasured(f"b{k}.{name}", verdict="broken", reason=name * 3) for k in range(many // 10)]
    cells += [an_undecided(f"u{k}.{name}", reason=name, clips_needed=10**6 + k) for k in range(many)]
    cells += [a_mean_error(f"s{k}.{name}", unit=name, reason=name, acknowledge=True) for k in range(many)]
    cells += [an_unmeasured(f"n{k}.{name}", reason=name * 3, acknowledge=True) for k in range(many)]
    cells += [a_loss(f"w{k}.{name}", waiver=name) for k in range(many // 10)]
    cells += [a_cell(f"i{k}.{name}", verdict="improved") for k in range(many)]
    names = tuple(c.prediction for c in cells)
    identity = Identity(name, name, "sha256:" + "0" * 64)
    told = [Reason(code, name * 3, names) for code in ("regressed", "infeasible", "no-anchor") for _ in range(20)]
    return a_decision(
        cells, "NO-GO", reasons=tuple(told), candidate=identity, incumbent=identity, suite=identity,
        contracts=tuple(a_contract(False, name=name, observed=name, where=name, expectation=name) for _ in range(40)),
        uncovered=(name,) * many, anchors=(identity,) * many, runtime=((name, name),),
        probabilities=tuple(a_probability(n, (0.1, 0.01, 0.2)) for n in names),
    )  # fmt: skip


def a_large_decision(predictions: int = 1037, slices: int = 6, seed: int = 47) -> Decision:
    """`predictions` x 2 metrics x `slices`, plausible and repeatable, with one regression: `front.road_edge`."""
    rng = random.Random(seed)
    slice_names = ("all", "time_of_day=day", "time_of_day=dusk", "weather=rain", "scene_density=high",
                   "time_of_day=dusk & weather=rain", "road=tunnel", "road=motorway")[:slices]  # fmt: skip
    shares = {name: 1.0 if name == "all" else rng.uniform(0.05, 0.5) for name in slice_names}
    cells = []
    for index, prediction in enumerate(_prediction_names(predictions)):
        reached = prediction.startswith("front.")
        quality, noise = rng.uniform(0.62, 0.97), rng.uniform(0.002, 0.012)
        tier = "critical" if 0 < index < 24 else "advisory" if index % 17 == 1 else "supporting"
        rare = rng.random() < 0.03
        frequency = rng.uniform(2, 30)
        old, new = rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8)
        for metric in ("f1", "average_precision"):
            for slice_ in slice_names:
                share = shares[slice_]
                clips = int(480 * share)
                positives = int(clips * frequency) if not rare else int(8 * share)
                common = {
                    "metric": metric, "slice": slice_, "tier": tier, "clips": clips, "frames": clips * 16,
                    "positives": positives, "margin": 0.01 if tier == "critical" else 0.02,
                    "task": ("multilabel", "segmentation", "binary")[index % 3],
                    "threshold_incumbent": old if metric == "f1" else None,
                    "threshold_candidate": (new if reached else old) if metric == "f1" else None,
                }  # fmt: skip
                cells.append(_plausible(prediction, common, reached, quality, noise / math.sqrt(share), rare, rng))
    contracts = tuple(a_contract(name=f"labels.check_{k}") for k in range(40))
    return a_decision(cells, "NO-GO", contracts=contracts, uncovered=("front.new_head",))


def _prediction_names(number: int) -> list[str]:
    names = ["front.road_edge"]
    classes = (
        "car",
        "truck",
        "bus",
        "pedestrian",
        "cyclist",
        "traffic_light",
        "cone",
        "sky",
        "building",
        "pole",
        "tree",
    )
    cameras = (
        "front",
        "rear",
        "left_pillar",
        "right_pillar",
        "left_repeater",
        "right_repeater",
        "narrow",
        "fisheye",
    )
    heads = ("presence", "seg", "det", "occupancy", "lane", "grid", "drivable", "depth_bin", "cut_in")
    for k in range(number - 1):
        camera, rest = cameras[k % 8], k // 8
        cls, head = classes[rest % 11], heads[rest // 11 % 9]
        names.append(f"{camera}.{head}{rest // 99 or ''}[{cls}]")
    return names


def _plausible(
    prediction: str,
    common: dict[str, Any],
    reached: bool,
    quality: float,
    noise: float,
    rare: bool,
    rng: random.Random,
) -> Cell:
    if rare:
        reason = f"{common['positives']} clips with positives, and 10 are needed"
        return an_unmeasured(prediction, **(common | {"reason": reason, "threshold_candidate": None,
                                                      "threshold_incumbent": None}))  # fmt: skip
    if not reached:
        return a_cell(prediction, **common, impact="identical", reason="identical by construction", incumbent=quality,
                      candidate=quality, delta=0.0, delta_worse=0.0, ci_low=0.0, ci_high=0.0, p_adjusted=None,
                      mdr=0.005 + 5 * noise, delta_at_incumbent_threshold=0.0)  # fmt: skip
    delta = rng.gauss(0, noise)
    if prediction == "front.road_edge":
        delta -= 0.07
    low, high = delta - 1.68 * noise, delta + 1.68 * noise
    p = 0.00004 if prediction == "front.road_edge" and common["slice"] in ("all", "time_of_day=dusk") else 1.0
    verdict = "regressed" if p < 0.01 else "non-inferior" if low > -common["margin"] else "undecided"
    if delta > 3.5 * noise:
        verdict = "improved"
    reason = {
        "regressed": f"adjusted p < 0.0001, and the bound {low:.5f} is below the margin",
        "non-inferior": f"the bound {low:.5f} is within the margin",
        "undecided": f"the bound {low:.5f} is beyond the margin, and the loss is not proven",
        "improved": f"better by {delta:.5f} than chance allows",
    }[verdict]
    return a_cell(
        prediction, **common, verdict=verdict, reason=reason, incumbent=quality, candidate=quality + delta, delta=delta,
        delta_worse=delta, ci_low=low, ci_high=high, p_adjusted=p if p < 1 else rng.uniform(0.2, 1),
        mdr=0.005 + 5 * noise,
        suspect=verdict == "undecided" and delta < -common["margin"] and common["slice"] == "all",
        clips_needed=rng.randrange(10, 900) if verdict == "undecided" else None,
        delta_at_incumbent_threshold=delta + rng.gauss(0, 0.002) if common["metric"] == "f1" else None,
    )  # fmt: skip
