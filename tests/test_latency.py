"""The latency of networks: taken in turn, judged by signed ranks, told as what it is, a measurement of one machine.

What is said of times is held to times made up here, whose truth is known; programs are run only to see that they are.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import numpy as np
import pytest
import torch
from scipy.stats import wilcoxon

from benchmarks.simulations.latency import alarms, released
from gate.bundle import Bundle, Network, read_bundle
from gate.errors import ConfigError, RefusedError
from gate.heads import Head
from gate.judge import Policy, Rule, assign, decide, read_policy, tier_of
from gate.judge.decision import Cell, Decision
from gate.judge.latency import Ask, asks, bounds, latency_cells, noise, signed_ranks, timed_on
from gate.report import print_decision
from gate.report.html import render_page
from gate.report.junit import junit_xml
from gate.report.sarif import sarif_json
from gate.report.signoff import signoff_page
from gate.report.summary import summary_markdown
from gate.report.verdict import schema, verdict_json
from gate.report.view import page_view
from gate.run import latency as timing
from gate.run import process
from gate.run.latency import Latency, UntimedError, in_turn
from tests.support.decisions import a_cell, a_decision
from tests.support.programs import Programs, added
from tests.support.tiny import gate, program_bundle, without_worker

BASE = '[[rules]]\nmatch = "*"\nmetrics = ["f1"]\nmargin = 0.02\n'
TIMED = '[[rules]]\nmatch = "*"\nmetrics = ["latency_p50"]\nmargins = { latency_p50 = 1.0 }\n'
SIGN = Head("cam.sign", "multilabel", ("stop", "yield"), (0, 1), "sigmoid", outputs=(("", "cam.sign"),))
EDGE = Head("rear.edge", "occupancy", ("",), (0,), "sigmoid", outputs=(("", "rear.edge"),))
HEADS = (SIGN, EDGE)
MARGIN = 1.0


def network(name: str, content: str = "a", *, heads: Sequence[str] = ("sign",), recorded: bool = False) -> Network:
    program = None if recorded else Path(f"{name}.pt2")
    return Network(name, program, (), (("image", "image"),), () if recorded else tuple(heads), content, content)


def bundle(*networks: Network) -> Bundle:
    return Bundle(Path(), "tiny", "1", networks, "sha256:0", False)


def written(folder: Path, text: str) -> Policy:
    path = folder / "policy.toml"
    path.write_text(text)
    return read_policy(path)


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return written(tmp_path, BASE)


def one_cell(times: Latency, policy: Policy, *, margin: float = MARGIN, tier: Any = "supporting") -> Cell:
    (cell,) = latency_cells(
        {"cam": Ask(tier, margin)},
        bundle(network("cam")),
        bundle(network("cam", "b")),
        policy,
        seed=0,
        time=lambda programs, **_: times,
    )
    return cell


# The order of turns, on a clock and on programs that are made up


def test_every_block_has_fresh_processes_two_of_each_program_in_an_order_that_a_seed_draws() -> None:
    def told(seed: int) -> list[str]:
        events: list[str] = []
        count = iter(range(10**6))

        @contextmanager
        def process(program: int) -> Iterator[Callable[[], list[float]]]:
            name = f"{program}.{next(count)}"
            events.append(f"start {program}")
            yield lambda: events.append(f"turn {name}") or [0.001] * timing.PASSES
            events.append(f"end {program}")

        in_turn(process, 2, seed=seed)
        return events

    events = told(3)
    assert events == told(3) != told(4)
    block = events[: len(events) // timing.BLOCKS]
    assert sorted(e for e in block if e[0] == "s") == ["start 0", "start 0", "start 1", "start 1"]
    assert sorted(block[-4:]) == ["end 0", "end 0", "end 1", "end 1"]
    turns = [e for e in events if e.startswith("turn")]
    assert len(turns) == timing.BLOCKS * 4 * (timing.TURNS + 1), "one turn sets a process up"
    assert len(set(turns)) == timing.BLOCKS * 4, "no process outlives its block"
    rounds = [tuple(turns[k : k + 4]) for k in range(4, 4 * (timing.TURNS + 1), 4)]
    assert all(len(set(r)) == 4 for r in rounds), "each process has one turn a round"
    assert len(set(rounds)) > 1, "in another order"


def test_a_median_is_of_the_passes_of_one_process_without_those_that_set_it_up() -> None:
    @contextmanager
    def process(program: int) -> Iterator[Callable[[], list[float]]]:
        taken = iter([[9.0] * 3, *[[0.001, 0.002, 0.009]] * timing.TURNS])
        yield lambda: next(taken)

    times = in_turn(process, 1, seed=0)
    assert times.p50_ms.shape == (timing.BLOCKS, 1, 2)
    assert times.p50_ms == pytest.approx(2.0)
    assert times.p50(0) == 2.0


def test_noise_is_the_greatest_bound_of_what_a_program_differs_from_itself_by() -> None:
    rng = np.random.default_rng(4)
    apart = rng.standard_t(2, (20, 2))  # of both processes of two programs
    times = Latency(np.stack([apart, np.zeros((20, 2))], axis=2))
    ends = [bounds(apart[:, k], 0.95) for k in (0, 1)]
    assert noise(times, 0.95) == max(abs(x) for end in ends for x in end)
    for d, (low, high) in zip(apart.T, ends, strict=True):
        for bound, side, inward in ((high, "less", -1e-9), (low, "greater", 1e-9)):
            p_in, p_out = (wilcoxon(d - bound - s * inward, alternative=side, method="exact").pvalue for s in (1, -1))
            assert p_out <= 0.05 < p_in
    steady, few = fixed(5.0, 0.3), fixed(5.0, 0.3, blocks=4)
    assert (noise(steady, 0.95), noise(few, 0.95)) == (pytest.approx(0.3), np.inf)


def test_time_has_a_limit_that_first_shortens_blocks_and_then_leaves_some_out() -> None:
    now = [0.0]

    @contextmanager
    def process(program: int) -> Iterator[Callable[[], list[float]]]:
        def turn() -> list[float]:
            now[0] += slow
            return [slow] * timing.PASSES

        yield turn

    told: list[int] = []
    slow = 2.0
    shortened = in_turn(process, 1, seed=0, clock=lambda: now[0], progress=lambda done, of: told.append(done))
    assert len(shortened.p50_ms) == timing.BLOCKS
    assert now[0] <= timing.MOST_S + 2 * slow, "it overruns by a round at most"
    assert sum(told) == timing.BLOCKS * 2 * timing.TURNS * timing.PASSES
    slow, told[:] = 60.0, []
    began = now[0]
    cut = in_turn(process, 1, seed=0, clock=lambda: now[0], progress=lambda done, of: told.append(done))
    assert 1 <= len(cut.p50_ms) < timing.BLOCKS
    assert now[0] - began < timing.MOST_S + 4 * slow
    assert sum(told) == timing.BLOCKS * 2 * timing.TURNS * timing.PASSES, "a bar ends full"


# What is said of times


@pytest.mark.parametrize("blocks", [1, 2, 7, 20])
def test_chances_and_averages_are_those_of_wilcoxons_signed_ranks(blocks: int) -> None:
    rng = np.random.default_rng(blocks)
    for _ in range(20):
        d = rng.standard_t(2, blocks) + 0.3
        averages, chance = signed_ranks(d)
        assert len(averages) == len(chance) - 1 == blocks * (blocks + 1) // 2
        for effect in (-0.5, 0.0, 0.4):
            ours = chance[np.count_nonzero(averages <= effect)]
            assert ours == pytest.approx(wilcoxon(d - effect, alternative="greater", method="exact").pvalue)


def test_a_bound_is_where_the_test_turns(policy: Policy) -> None:
    rng = np.random.default_rng(0)
    d = rng.standard_t(2, 20)
    both = np.stack([np.full(20, 30.0), 30.0 + d], axis=1)
    cell = one_cell(Latency(np.repeat(both[..., None], 2, axis=2)), policy)  # without noise
    low, high = cell.ci_low, cell.ci_high
    assert low is not None
    assert high is not None
    for bound, side, inward in ((high, "less", -1e-9), (low, "greater", 1e-9)):
        p_in, p_out = (wilcoxon(d - bound - s * inward, alternative=side, method="exact").pvalue for s in (1, -1))
        assert p_out <= 0.05 < p_in
    assert cell.delta == pytest.approx(np.median(both[:, 1]) - np.median(both[:, 0]))
    assert (cell.candidate or 0) - (cell.incumbent or 0) == cell.delta == -(cell.delta_worse or 0)


@pytest.mark.parametrize("world", [{}, {"luck": 0.05}, {"busy": 0.05}, {"luck": 0.05, "busy": 0.2}], ids=str)
def test_the_same_program_is_never_called_slower(policy: Policy, world: dict[str, float]) -> None:
    loose = replace(policy, text=replace(policy.text, alpha=0.5))
    said = [one_cell(released(0.010, 0.010, seed, **world), loose).verdict for seed in range(100)]
    assert set(said) <= {"non-inferior", "undecided"}
    if "busy" not in world:
        assert set(said) == {"non-inferior"}


@pytest.mark.parametrize("world", [{}, {"luck": 0.02}, {"busy": 0.05}], ids=str)
def test_a_program_that_takes_twice_as_long_is(policy: Policy, world: dict[str, float]) -> None:
    for seed in range(20):
        assert one_cell(released(0.010, 0.020, seed, **world), policy).verdict == "regressed"
        assert one_cell(released(0.020, 0.010, seed, **world), policy).verdict == "improved"


def test_processes_that_live_on_would_break_the_promise() -> None:
    """Why each block starts its own: luck that lasts looks like the program's doing, on a machine however quiet."""
    assert alarms(1, 150, kept=False) <= 6  # 1.5 are expected; more than 6 in one of 1,000 such tests
    assert alarms(1, 150, kept=True) >= 30


@pytest.mark.parametrize("world", [{}, {"luck": 0.05}, {"luck": 0.05, "busy": 0.2}], ids=str)
def test_a_program_slower_by_its_margin_is_certified_in_one_of_twenty_at_most(
    policy: Policy, world: dict[str, float]
) -> None:
    said = [one_cell(released(0.010, 0.011, seed, **world), policy).verdict for seed in range(200)]
    certified = sum(verdict in ("non-inferior", "improved") for verdict in said)
    assert certified <= 19  # 10 are expected; more than 19 in one of 300 such tests


def fixed(delta: float, noise: float = 0.0, *, blocks: int = 20, before: float = 10.0) -> Latency:
    """Times whose blocks all differ by `delta`, and whose processes differ by `noise`."""
    sides = np.tile([before, before + delta], (blocks, 1))
    return Latency(np.stack([sides - noise / 2, sides + noise / 2], axis=2))


@pytest.mark.parametrize(
    ("delta", "noise", "margin", "verdict"),
    [
        (0.0, 0.0, 1.0, "non-inferior"),
        (0.09, 0.0, 1.0, "non-inferior"),  # a tenth of the margin is no loss
        (0.11, 0.0, 1.0, "regressed"),
        (0.5, 0.45, 1.0, "regressed"),
        (0.5, 0.55, 1.0, "non-inferior"),  # less than it differs from itself by
        (1.5, 1.6, 1.0, "undecided"),
        (5.0, 0.1, 1.0, "regressed"),
        (-0.5, 0.1, 1.0, "improved"),
        (-0.5, 0.6, 1.0, "non-inferior"),
    ],
)
def test_a_loss_counts_beyond_a_tenth_of_the_margin_and_beyond_the_noise(
    policy: Policy, delta: float, noise: float, margin: float, verdict: str
) -> None:
    cell = one_cell(fixed(delta, noise), policy, margin=margin)
    assert cell.verdict == verdict
    assert cell.ci_low == pytest.approx(delta) == cell.ci_high, "all blocks agree"
    assert (cell.unit, cell.lower_is_better, cell.margin) == ("ms", True, margin)
    assert cell.suspect == cell.acknowledge == (delta >= margin and verdict == "undecided")


def test_the_level_is_a_hundredth_of_alpha_shared_by_the_networks_that_were_timed(policy: Policy) -> None:
    # 11 equal blocks prove at 2^-11 = 0.00049, and 10 only at 0.00098; the level of one network is 0.0005.
    assert one_cell(fixed(5.0, blocks=11), policy).verdict == "regressed"
    ten = one_cell(fixed(5.0, blocks=10), policy)
    assert (ten.verdict, ten.provable, ten.p_adjusted) == ("undecided", False, 2**-10)
    names = [f"n{k}" for k in range(48)]

    def all_of(blocks: int) -> list[Cell]:
        old, new = (bundle(*(network(n, c) for n in names)) for c in "ab")
        asked = {n: Ask("supporting", MARGIN) for n in names}
        same = bundle(*(network(n, "a" if n == "n0" else "b") for n in names))
        assert len(new.networks) == len(same.networks)
        times = fixed(5.0, blocks=blocks)
        return list(latency_cells(asked, old, same, policy, seed=0, time=lambda programs, **_: times))

    found = all_of(17)  # 47 / 2^17 = 0.00036
    assert [c.verdict for c in found] == ["non-inferior", *["regressed"] * 47]
    assert found[1].p_adjusted == 47 / 2**17
    assert {c.verdict for c in all_of(16)[1:]} == {"undecided"}  # 47 / 2^16 = 0.00072


def test_too_few_blocks_have_no_bound_and_certify_nothing(policy: Policy) -> None:
    cell = one_cell(fixed(0.0, blocks=4), policy)  # 2^-4 > 0.05
    assert (cell.verdict, cell.ci_low, cell.ci_high) == ("undecided", None, None)
    assert cell.reason.endswith("too few blocks to tell the noise")
    assert one_cell(fixed(0.0, blocks=5), policy).verdict == "non-inferior"


# What is asked of which network


def test_a_rule_for_latency_alone_leaves_predictions_as_they_are(tmp_path: Path) -> None:
    text = BASE + TIMED.replace("[[rules]]", '[[rules]]\ntier = "critical"')
    policy = written(tmp_path, text)
    assert set(assign(policy, HEADS).values()) == {Rule("supporting", "max f1", ("f1",), (0.02,))}
    assert tier_of(policy, "cam.new") == "supporting"
    asked = asks(policy, HEADS, [network("cam"), network("rear")])
    assert asked == {"cam": Ask("critical", 1.0), "rear": Ask("critical", 1.0)}


def test_a_rule_may_list_latency_beside_the_metrics_of_predictions(tmp_path: Path) -> None:
    both = '[[rules]]\nmatch = "cam.*"\nmetrics = ["f1", "latency_p50"]\nmargins = { latency_p50 = 2.5 }\n'
    for more, margin in (("", 0.02), ("margin = 0.05\n", 0.05)):
        policy = written(tmp_path, BASE + both + more)
        rules = assign(policy, HEADS)
        assert rules["cam.sign[stop]"] == Rule("supporting", "max f1", ("f1",), (margin,))
        assert rules["rear.edge"].margins == (0.02,)
        assert asks(policy, HEADS, [network("cam"), network("rear")]) == {"cam": Ask("supporting", 2.5)}


def rule(match: str, margin: float, tier: str = "supporting") -> str:
    return TIMED.replace('"*"', f'"{match}"\ntier = "{tier}"').replace("1.0", str(margin))


def test_the_last_rule_counts_for_a_name_and_the_strictest_of_all_names_for_a_network(tmp_path: Path) -> None:
    networks = [network("cam", heads=("sign", "hidden")), network("rear", heads=("edge",)), network("trunk")]
    text = BASE + rule("*", 5) + rule("rear.*", 9, "advisory")
    assert asks(written(tmp_path, text), HEADS, networks) == {
        "cam": Ask("supporting", 5), "rear": Ask("advisory", 9), "trunk": Ask("supporting", 5)
    }  # fmt: skip
    text = BASE + rule("cam.*", 5) + rule("cam.sign[stop]", 7, "critical") + rule("cam.hidden", 2, "advisory")
    assert asks(written(tmp_path, text), HEADS, networks) == {"cam": Ask("critical", 2)}
    assert asks(written(tmp_path, BASE + rule("trunk.*", 3)), HEADS, networks) == {"trunk": Ask("supporting", 3)}
    assert asks(written(tmp_path, BASE), HEADS, networks) == {}


def test_a_network_that_the_candidate_lacks_is_for_others_to_miss(tmp_path: Path, policy: Policy) -> None:
    old, new = bundle(network("cam"), network("rear", heads=("edge",))), bundle(network("cam"))
    asked = asks(written(tmp_path, BASE + rule("rear.*", 3)), HEADS, [*old.networks, *new.networks])
    assert asked == {"rear": Ask("supporting", 3)}
    assert latency_cells(asked, old, new, policy, seed=0) == ()


def test_a_head_of_two_networks_and_recorded_predictions_name_their_networks(tmp_path: Path) -> None:
    det = Head("cam.det", "detection", ("car",), (0,), outputs=(("heat", "cam.heat"), ("box", "rear.box")))
    networks = [network("cam", heads=("heat",)), network("rear", recorded=True)]
    found = asks(written(tmp_path, BASE + rule("cam.det", 3)), (det,), networks)
    assert found == {"cam": Ask("supporting", 3), "rear": Ask("supporting", 3)}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('match = "*"\nmetrics = ["f1", "latency_p50"]\nmargin = 0.02', ":7: rules.1.metrics"),
        ('match = "*"\nmetrics = ["latency_p50"]', "`margins = { latency_p50 = ... }`, in milliseconds, go together"),
        ('match = "*"\nmetrics = ["f1"]\nmargins = { f1 = 0.02, latency_p50 = 1.0 }', "go together"),
        ('match = "*"\nmargins = { latency_p50 = 1.0 }', "go together"),
        ('match = "*"\nmetrics = ["latency_p50"]\nmargins = { latency_p50 = 0.0 }', "rules.1.margins.latency_p50"),
        ('match = "*"\nmetrics = ["latency_p99"]\nmargins = { latency_p99 = 1 }', "unknown metric 'latency_p99'"),
        (
            'match = "*"\nmetrics = ["latency_p50"]\nmargin = 1.0\nmargins = { latency_p50 = 1.0 }',
            ":5: rules.1: a rule for latency_p50 alone has a match, a tier and margins, no more",
        ),
        (
            'match = "*"\nmetrics = ["f1", "latency_p50"]\nmargin = 0.1\nmargins = { latency_p50 = 1.0, f1 = 0.1 }',
            "`margin` or `margins`, not both",
        ),
        ('match = "front.*"\nmetrics = ["latency_p50"]\nmargins = { latency_p50 = 1.0 }', "matches no output"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_line(tmp_path: Path, rule: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        asks(written(tmp_path, f"{BASE}[[rules]]\n{rule}\n"), HEADS, [network("cam"), network("rear")])
    assert said in str(error.value)
    assert str(error.value).startswith(f"{tmp_path}/policy.toml:")


# Networks that are not timed, or cannot be


ASKED = {"cam": Ask("supporting", MARGIN)}


def nobody(programs: Sequence[Network], **_: Any) -> Latency:
    raise AssertionError("nothing is to be timed")


def test_an_equal_program_is_identical_whatever_it_reads_and_not_timed(policy: Policy) -> None:
    old, new = network("cam"), replace(network("cam"), digest="another one upstream")
    (cell,) = latency_cells(ASKED, bundle(old), bundle(new), policy, seed=0, time=nobody)
    assert (cell.verdict, cell.impact, cell.delta) == ("non-inferior", "identical", 0.0)
    assert timed_on([cell]) == ()


@pytest.mark.parametrize(
    ("old", "why"),
    [
        (bundle(), "the incumbent has no such network: there is nothing to compare with"),
        (
            bundle(network("cam", "r", recorded=True)),
            "the incumbent has recorded predictions, which take no time: there is nothing to compare with",
        ),
    ],
)
def test_without_a_program_of_the_incumbent_there_is_nothing_to_compare(policy: Policy, old: Bundle, why: str) -> None:
    new = bundle(network("cam", "b"), network("rear", "c"))
    (cell,) = latency_cells(ASKED, old, new, policy, seed=0, time=nobody)
    assert (cell.verdict, cell.reason, cell.incumbent, cell.acknowledge) == ("not-measurable", why, None, True)


def failing(which: int, why: str = "it has stopped") -> Callable[..., Latency]:
    """A timer to which one program does not answer."""

    def time(programs: Sequence[Network], **_: Any) -> Latency:
        if which < len(programs):
            raise UntimedError(which, why)
        return Latency(fixed(0.0).p50_ms[:, : len(programs)])

    return time


@pytest.mark.parametrize("recorded", [False, True])
def test_a_latency_that_only_the_candidate_lacks_was_lost_and_blocks(policy: Policy, recorded: bool) -> None:
    new = bundle(network("cam", "b", recorded=recorded))
    (cell,) = latency_cells(ASKED, bundle(network("cam")), new, policy, seed=0, time=failing(1))
    assert (cell.verdict, cell.incumbent, cell.candidate, cell.delta) == ("not-measurable", 10.0, None, None)
    known = "has recorded predictions, which take no time" if recorded else "cannot be timed: it has stopped"
    assert cell.reason == f"the candidate {known}"
    outcome, reasons = decided([a_cell(), cell])
    assert (outcome, reasons[0].code) == ("NO-GO", "lost-measurability")
    assert reasons[0].text.startswith("1 network could be measured on the incumbent")


def test_an_incumbent_that_cannot_be_timed_is_no_fault_of_the_candidate(policy: Policy) -> None:
    pair = bundle(network("cam")), bundle(network("cam", "b"))
    (cell,) = latency_cells(ASKED, *pair, policy, seed=0, time=failing(0))
    assert (cell.verdict, cell.incumbent) == ("not-measurable", None)
    assert cell.reason == "the incumbent cannot be timed: it has stopped"
    assert decided([a_cell(), cell])[0] == "GO"


# What it does to a release, and how that is told


def decided(cells: Sequence[Cell]) -> tuple[str, Any]:
    return decide(cells, missing=(), uncovered={}, must_pass=(), identical_uncovered=())


@pytest.mark.parametrize(
    ("tier", "delta", "outcome", "code", "text"),
    [
        ("supporting", 5.0, "NO-GO", "regressed", "cam got 5.0 ms slower a frame in 20 blocks, adjusted p < 0.0001"),
        ("critical", 5.0, "NO-GO", "regressed", "cam got 5.0 ms slower a frame"),
        ("critical", 1.1, "INCONCLUSIVE", "undecided-critical", "1 critical network is not proven as fast as before"),
        ("supporting", 1.1, "GO", "no-regression", "of 1 measured predictions, of 1 in the suite"),
        ("advisory", 5.0, "GO", "no-regression", "of 1 measured predictions, of 1 in the suite"),
        ("critical", 0.0, "GO", "no-regression", "of 1 measured predictions, of 1 in the suite"),
    ],
)
def test_a_latency_gates_like_any_cell(
    policy: Policy, tier: str, delta: float, outcome: str, code: str, text: str
) -> None:
    noise = 1.2 if delta == 1.1 else 0.2
    found, reasons = decided([a_cell(), one_cell(fixed(delta, noise), policy, tier=tier)])
    assert (found, reasons[0].code) == (outcome, code)
    assert text in reasons[0].text
    assert [r.code for r in reasons].count("suspect") == (tier == "supporting" and delta == 1.1)


def test_a_latency_alone_is_not_what_was_to_be_measured(policy: Policy) -> None:
    nothing = a_cell(verdict="not-measurable", delta=None, incumbent=None, candidate=None, reason="no positives")
    assert decided([nothing, one_cell(fixed(0.0), policy)])[0] == "INCONCLUSIVE"


def told(policy: Policy, *, tier: str = "supporting", delta: float = 5.0, noise: float = 0.2) -> Decision:
    """A decision on one prediction, one network that was timed, and two that were not."""
    old = bundle(network("cam"), network("rear"))
    new = bundle(network("cam", "b"), network("rear"), network("added"))
    asked = {n.name: Ask(tier, MARGIN) for n in new.networks}  # type: ignore[arg-type]
    times = fixed(delta, noise)
    cells = latency_cells(asked, old, new, policy, seed=0, time=lambda programs, **_: times)
    outcome, reasons = decided([a_cell(), *cells])
    return a_decision([a_cell(), *cells], outcome, reasons=reasons, runtime=timed_on(cells), predictions=1)  # type: ignore[arg-type]


CASES = [("supporting", 5.0, 0.2), ("critical", 1.1, 1.2), ("supporting", 0.0, 0.2), ("supporting", -3.0, 0.2)]


@pytest.mark.parametrize(("tier", "delta", "noise"), CASES)
def test_verdict_json_keeps_its_schema_and_says_that_a_machine_was_measured(
    policy: Policy, tier: str, delta: float, noise: float
) -> None:
    verdict = json.loads(verdict_json(told(policy, tier=tier, delta=delta, noise=noise), time="now"))
    jsonschema.validate(verdict, schema())
    cell = next(c for c in verdict["cells"] if c["prediction"] == "cam")
    assert (cell["metric"], cell["slice"], cell["unit"], cell["task"]) == ("latency_p50", "all", "ms", "network")
    assert (cell["head"], cell["channel"], cell["network"]) == ("", None, "cam")
    assert "another run reads other figures" in verdict["runtime"]["latency"]
    assert verdict["counts"]["impact"] == {"identical": 0, "reached": 1}, "networks are no predictions"


def test_nothing_is_said_of_latency_where_none_was_asked_for() -> None:
    decision = a_decision([a_cell()])
    page = render_page(decision, title="t", command="c")
    assert "atency" not in verdict_json(decision, time="now") + summary_markdown(decision)
    assert "Latency" not in page


@pytest.mark.parametrize(("tier", "delta", "noise"), CASES)
def test_every_face_tells_it_in_milliseconds_of_a_frame_and_never_in_clips(
    policy: Policy, tier: str, delta: float, noise: float
) -> None:
    from rich.console import Console

    decision = told(policy, tier=tier, delta=delta, noise=noise)
    screen = Console(file=io.StringIO(), width=100)
    print_decision(decision, screen)
    texts = {
        "terminal": screen.file.getvalue(),  # type: ignore[attr-defined]
        "page": render_page(decision, title="t", command="c"),
        "junit": junit_xml(decision),
        "sarif": sarif_json(decision),
        "markdown": summary_markdown(decision),
        "signoff": signoff_page(decision, time="now", verdict="sha256:0"),
    }
    for name, text in texts.items():
        assert "0 clips" not in text, name
        assert "0 frames" not in text, name
        assert "clips like these" not in text, name
    blocks, open_ = decision.decision == "NO-GO", decision.decision == "INCONCLUSIVE"
    assert blocks == (delta == 5.0)
    assert open_ == (tier == "critical")
    assert (ET.fromstring(texts["junit"]).find(".//failure") is not None) == (blocks or open_)
    levels = [r["level"] for r in json.loads(texts["sarif"])["runs"][0]["results"]]
    assert ("error" in levels) == blocks
    assert ("warning" in levels) == (open_ and not blocks)
    if blocks:
        assert [name for name, text in texts.items() if "5.00" not in text] == []
        assert "1 network is proven slower" in texts["terminal"]
        assert "median latency of one frame rose from 10.00\u00a0ms to 15.00\u00a0ms" in texts["page"]
        assert ET.fromstring(texts["junit"]).find(".//testcase[@classname='network']") is not None
    if open_:
        assert "Time cam again" in texts["page"]
        assert "a quieter machine or a wider margin would decide" in texts["markdown"]


def test_the_page_counts_networks_apart_and_says_how_they_were_timed(policy: Policy) -> None:
    view = page_view(told(policy), {}, {}, title="t", command="c")
    assert view.predictions == "1 prediction and 3 networks"
    assert view.regressed == "1 network"
    assert [gap.count for gap in view.gaps] == ["1 cell of 1 network"]
    assert any(line.startswith("Latency: ") for line in view.method)
    assert any("machine that they were timed on" in line for line in view.certainty)


# Real programs


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("BLOCKS", 2), ("TURNS", 1), ("PASSES", 2)):
        monkeypatch.setattr(timing, name, value)


def a_network(folder: Path, program: bytes) -> Network:
    return read_bundle(program_bundle(folder, program)).networks[0]


@pytest.mark.usefixtures("short")
def test_programs_are_timed_one_frame_at_a_time(tmp_path: Path, programs: Programs) -> None:
    pair = [a_network(tmp_path / name, programs.honest) for name in ("a", "b")]
    times = timing.latency(pair, seed=1)
    assert times.p50_ms.shape == (2, 2, 2)
    assert (times.p50_ms > 0).all()
    assert np.isfinite(times.p50_ms).all()


class Remembers(torch.nn.Module):
    def forward(self, image: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        left = memory + image.mean((1, 2, 3, 4))[:, None]
        return left[:, :2], left


@pytest.mark.usefixtures("short")
def test_states_and_windows_are_fed_as_the_program_declares_them(tmp_path: Path) -> None:
    from tests.support.hydra import archive

    made = program_bundle(
        tmp_path,
        archive(Remembers(), (4, 3, 8, 8), (6,)),
        inputs='image = "image", memory = "cam.memory"',
        heads='"sign", "memory"',
    )
    with (made / "bundle.toml").open("a") as manifest:
        manifest.write('state = { memory = "zeros" }\n')
    assert (timing.latency(read_bundle(made).networks, seed=1).p50_ms > 0).all()


class AnySize(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean((2, 3))[:, :2]


class NotOfZeros(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.linalg.cholesky(image[:, 0])[:, 0, :2]


def exported(module: torch.nn.Module, *free: int) -> bytes:
    """A program in which these dimensions of its input are free."""
    dims = {d: torch.export.Dim(f"d{d}", min=1 if d == 0 else 2, max=64) for d in free}
    file = io.BytesIO()
    torch.export.save(torch.export.export(module, (torch.zeros(3, 3, 8, 8),), dynamic_shapes=(dims,)), file)
    return file.getvalue()


@pytest.mark.usefixtures("short")
def test_a_program_that_cannot_be_timed_is_named_with_the_reason(tmp_path: Path, programs: Programs) -> None:
    good = a_network(tmp_path / "good", programs.honest)
    wrong = {
        "takes frames of any size (3, any, 8)": exported(AnySize(), 0, 2),
        "the program failed": exported(NotOfZeros(), 0),
        "inputs are picture": programs.other_input,
    }
    for k, (why, program) in enumerate(wrong.items()):
        bad = a_network(tmp_path / str(k), program)
        with pytest.raises(UntimedError) as error:
            timing.latency([good, bad], seed=1)
        assert error.value.program == 1
        assert why in error.value.why


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("seed", range(5))
def test_who_falls_in_the_middle_is_blamed_and_nobody_beside_it(
    monkeypatch: pytest.MonkeyPatch, which: int, seed: int
) -> None:
    pair = [network("cam"), network("cam", "b")]
    running: list[object] = []
    turns = iter(range(10**6))

    def time_passes(worker: object, asked: Network, passes: int) -> list[float]:
        if asked is pair[which] and next(turns) > 30:
            raise process.FallenError("cam", "its process ended", False)
        return [0.001] * passes

    monkeypatch.setattr(timing, "start", lambda: running.append(object()) or running[-1])
    monkeypatch.setattr(timing, "end", running.remove)
    monkeypatch.setattr(timing, "load", lambda *_: "")
    monkeypatch.setattr(timing, "time_passes", time_passes)
    with pytest.raises(UntimedError) as error:
        timing.latency(pair, seed=seed)
    assert (error.value.program, error.value.why) == (which, "its process ended")
    assert not running, "nothing is left running"


@pytest.mark.usefixtures("short")
def test_what_is_not_safe_to_load_is_refused_and_not_timed(tmp_path: Path, programs: Programs) -> None:
    bad = a_network(tmp_path / "bad", added(programs.honest, "data.pkl", pickle.dumps(print)))
    with pytest.raises(RefusedError):
        timing.latency([bad], seed=1)


@pytest.mark.parametrize("said", [None, [], [0.001], [0.001, -1.0], [0.001, "1"], [0.001, True], {"a": 1}])
@pytest.mark.usefixtures("short")
def test_times_that_are_none_are_not_believed(
    tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch, said: object
) -> None:
    real = process.receive

    def receive(*args: Any) -> Any:
        head, arrays = real(*args)
        return (head | {"seconds": said} if "seconds" in head else head), arrays

    monkeypatch.setattr(process, "receive", receive)
    with pytest.raises(UntimedError, match="not asked"):
        timing.latency([a_network(tmp_path / "a", programs.honest)], seed=1)


@pytest.mark.usefixtures("short")
def test_show_times_networks_when_it_is_asked_to(tmp_path: Path, programs: Programs) -> None:
    program_bundle(tmp_path / "made", programs.honest)
    plain = gate("bundle", "show", "made", cwd=tmp_path)
    assert "latency" not in plain.out
    shown = gate("bundle", "show", "made", "--latency", cwd=tmp_path)
    assert (shown.code, shown.made, shown.changed) == (0, (), ())
    assert shown.out.startswith(plain.out)
    assert "latency of one frame at batch 1, on device cpu" in shown.out
    row = shown.out.splitlines()[-1].split()
    assert (row[0], row[3]) == ("cam", "2")
    assert float(row[1]) > 0 <= float(row[2])


@pytest.mark.usefixtures("short")
def test_a_comparison_times_a_program_that_was_exported_anew(
    pictures: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two blocks prove nothing, so it is undecided; that it was timed is what this shows."""
    without_worker(monkeypatch)
    text = (pictures / "suite" / "policy.toml").read_text()
    (pictures / "policy.toml").write_text(text + TIMED.replace("[[rules]]", '\n[[rules]]\ntier = "critical"'))
    program_bundle(pictures / "old", programs.honest)
    program_bundle(pictures / "new", programs.named_output)
    out = gate("compare", "old", "new", "--suite", "suite", "--out", "out", "--frames", "0", cwd=pictures)
    verdict = json.loads((pictures / "out" / "verdict.json").read_text())
    (cell,) = (c for c in verdict["cells"] if c["metric"] == "latency_p50")
    assert (cell["prediction"], cell["tier"], cell["verdict"]) == ("cam", "critical", "undecided")
    assert cell["incumbent"] > 0 < cell["candidate"]
    assert (out.code, verdict["decision"]) == (3, "INCONCLUSIVE")
    assert verdict["runtime"]["latency"].startswith("timed on ")
    same = gate("compare", "old", "old", "--suite", "suite", "--out", "again", "--frames", "0", cwd=pictures)
    again = json.loads((pictures / "again" / "verdict.json").read_text())
    assert same.code in (0, 3)
    assert "latency" not in again["runtime"], "the same bytes are not timed"
