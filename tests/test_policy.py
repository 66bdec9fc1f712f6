"""`policy.toml` is read strictly, and the last matching rule wins, key by key."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.heads import Head
from gate.judge import Policy, Rule, assign, read_policy, tier_of
from gate.judge.policy import members, pattern

SIGN = Head("cam.sign", "multilabel", ("stop", "yield"), (0, 1), "sigmoid")
EDGE = Head("cam.edge", "occupancy", ("",), (0,), "sigmoid")
RANGE = Head("cam.range", "regression", ("",), (0,), unit="m")
HEADS = (SIGN, EDGE)
BASE = '[[rules]]\nmatch = "*"\nmetrics = ["f1"]\nmargin = 0.02\n'


def written(folder: Path, text: str) -> Policy:
    path = folder / "policy.toml"
    path.write_text(text)
    return read_policy(path)


def assigned(folder: Path, text: str, heads: Collection[Head] = HEADS) -> dict[str, Rule]:
    return assign(written(folder, text), list(heads))


def refused(folder: Path, text: str, heads: Collection[Head] = HEADS) -> str:
    """What is said about a policy that is wrong, without the folder."""
    with pytest.raises(ConfigError) as error:
        assigned(folder, text, heads)
    return str(error.value).replace(f"{folder}/", "")


def test_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    text = written(tmp_path, BASE).text
    assert (text.alpha, text.confidence, text.resamples, text.min_effect) == (0.05, 0.95, 9999, 0.005)
    shares = text.shares
    assert (shares.critical, shares.supporting, shares.slices, shares.groups) == (0.4, 0.3, 0.1, 0.2)
    assert (text.must_pass, text.groups) == ((), {})
    assert assigned(tmp_path, BASE)["cam.edge"] == Rule("supporting", "max f1", ("f1",), (0.02,))


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    policies = [written(tmp_path, text) for text in (BASE, BASE, BASE + "\n")]
    assert policies[0].digest == policies[1].digest != policies[2].digest
    assert policies[0].facts.digest.startswith("sha256:")


def test_the_last_matching_rule_wins_key_by_key(tmp_path: Path) -> None:
    text = BASE + (
        '[[rules]]\nmatch = "cam.sign*"\ntier = "critical"\nobjective = "max f2"\nmetrics = ["recall", "precision"]\n'
        '[[rules]]\nmatch = "cam.sign[stop]"\nmargin = 0.01\n'
        '[[rules]]\nmatch = "*edge"\ntier = "advisory"\n'
    )
    assert assigned(tmp_path, text) == {
        "cam.sign[stop]": Rule("critical", "max f2", ("recall", "precision"), (0.01, 0.01)),
        "cam.sign[yield]": Rule("critical", "max f2", ("recall", "precision"), (0.02, 0.02)),
        "cam.edge": Rule("advisory", "max f1", ("f1",), (0.02,)),
    }
    mild = text + '[[rules]]\nmatch = "*"\ntier = "supporting"\n'
    assert {r.tier for r in assigned(tmp_path, mild).values()} == {"supporting"}


def test_margin_and_margins_are_one_key(tmp_path: Path) -> None:
    by_name = '[[rules]]\nmatch = "cam.edge"\nmetrics = ["f1", "recall"]\nmargins = { f1 = 0.03, recall = 0.04 }\n'
    assert assigned(tmp_path, BASE + by_name)["cam.edge"].margins == (0.03, 0.04)
    one = '[[rules]]\nmatch = "cam.edge"\nmargin = 0.05\n'
    assert assigned(tmp_path, BASE + by_name + one)["cam.edge"].margins == (0.05, 0.05)
    partly = '[[rules]]\nmatch = "cam.edge"\nmetrics = ["f1", "recall"]\nmargins = { f1 = 0.03 }\n'
    said = refused(tmp_path, BASE + partly)
    assert said.startswith("policy.toml:7")
    assert "no margin for recall of cam.edge" in said


def test_brackets_are_literal_and_stars_are_not(tmp_path: Path) -> None:
    assert pattern("cam.*[stop]").fullmatch("cam.sign[stop]")
    assert not pattern("cam.sign[stop]").fullmatch("cam.signs")
    assert not pattern("cam.sign[stop]").fullmatch("camxsign[stop]")
    assert pattern("cam.sign[sto?]").fullmatch("cam.sign[stop]")
    assert not pattern("sign*").fullmatch("cam.sign[stop]"), "a pattern is for the whole name"
    assert pattern("a+b(c").fullmatch("a+b(c")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('match = "cam.nothing"\ntier = "critical"', ":6: rules.1.match: 'cam.nothing' matches no prediction"),
        ('match = "cam.edge"\nmetrics = ["mae"]', ":7: rules.1.metrics: 'mae' cannot be measured on cam.edge"),
        ('match = "cam.edge"\nmetrics = ["f3x"]', ":7: rules.1.metrics: unknown metric 'f3x'"),
        ('match = "cam.edge"\nmetrics = []', ":7: rules.1.metrics: metrics are one or more different names"),
        ('match = "*"\nmetrics = ["f1", "f1"]', ":7: rules.1.metrics: metrics are one or more different names"),
        ('match = "*"\nmargin = 0.004', "the margin 0.004 of f1 is smaller than min_effect 0.005"),
        ('match = "*"\nmargin = 0.0', ":7: rules.1.margin"),
        ('match = "*"\nmargins = { recal = 0.1 }', ":7: rules.1.margins: unknown metric 'recal'"),
        ('match = "*"\nmargin = 0.1\nmargins = { f1 = 0.1 }', "`margin` or `margins`, not both"),
        ('match = "*"\nobjective = "max fun"', ":7: rules.1.objective: unknown objective 'max fun'"),
        ('match = "*"\nobjective = "max f0"', ":7: rules.1.objective: unknown objective 'max f0'"),
        ('match = "*"\ntier = "vital"', ":7: rules.1.tier"),
        ('match = "*"\nteir = "critical"', "did you mean 'tier'?"),
        ('tier = "critical"', "rules.1.match: missing"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    assert said in refused(tmp_path, f"{BASE}[[rules]]\n{line}\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("alpha = 0.0", "policy.toml:1: alpha"),
        ("alpha = 1.0", "policy.toml:1: alpha"),
        ("confidence = 95", "policy.toml:1: confidence"),
        ("resamples = 10", "policy.toml:1: resamples"),
        ("resamples = 99.5", "policy.toml:1: resamples"),
        ("min_effect = -0.1", "policy.toml:1: min_effect"),
        ("shares = { critical = 0.8, supporting = 0.3 }", ":1: shares: the shares of alpha add up to more than 1"),
        ("shares = { critical = -0.1 }", "policy.toml:1: shares.critical"),
        ("share = { critical = 0.1 }", "did you mean 'shares'?"),
        ('groups = { none = "rear.*" }', "policy.toml:1: groups.none: 'rear.*' matches no prediction"),
        ('groups = { "a b" = "*" }', "'a b' is not a name"),
        ("must_pass = [3]", "policy.toml:1: must_pass.0"),
    ],
)
def test_a_wrong_key_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    assert said in refused(tmp_path, f"{line}\n{BASE}")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = BASE + '[[rules]]\nmatch = "x"\n[[rules]]\nmatch = "y"\n[[rules]]\nmatch = "*edge"\nmetrics = ["mae"]\n'
    said = refused(tmp_path, text)
    assert "'x' matches" in said
    assert "'y' matches" in said
    assert "'mae' cannot" in said


def test_a_policy_without_rules_or_metrics_is_refused(tmp_path: Path) -> None:
    assert "at least one rule" in refused(tmp_path, "rules = []\n")
    assert "rules" in refused(tmp_path, "alpha = 0.05\n")
    said = refused(tmp_path, '[[rules]]\nmatch = "cam.edge"\nmetrics = ["f1"]\nmargin = 0.02\n')
    assert "no rule gives cam.sign[stop] any metrics" in said
    assert 'add a rule with match = "*"' in said
    assert "no margin for f1" in refused(tmp_path, '[[rules]]\nmatch = "*"\nmetrics = ["f1"]\n')


def test_what_a_task_can_give_is_told_with_the_metric_that_it_cannot(tmp_path: Path) -> None:
    said = refused(tmp_path, BASE, (RANGE,))
    assert "'f1' cannot be measured on cam.range (regression); it can give mae, rmse" in said
    assert 'match = "cam.range*"' in said


def test_a_metric_with_a_unit_may_have_any_positive_margin(tmp_path: Path) -> None:
    text = '[[rules]]\nmatch = "*"\nmetrics = ["mae"]\nmargin = 0.001\n'
    assert assigned(tmp_path, text, (RANGE,))["cam.range"].margins == (0.001,)


def test_a_rule_may_name_a_head_that_nobody_judges(tmp_path: Path) -> None:
    """So that an uncovered head can be marked advisory."""
    text = BASE + '[[rules]]\nmatch = "cam.extra"\ntier = "advisory"\n'
    policy = written(tmp_path, text)
    assert set(assign(policy, HEADS, ["cam.extra"])) == {"cam.sign[stop]", "cam.sign[yield]", "cam.edge"}
    assert (tier_of(policy, "cam.extra"), tier_of(policy, "cam.other")) == ("advisory", "supporting")
    with pytest.raises(ConfigError, match="matches no prediction"):
        assign(policy, HEADS)


def test_a_group_names_its_members_by_a_pattern(tmp_path: Path) -> None:
    policy = written(tmp_path, 'groups = { signs = "cam.sign[*]", all = "*" }\n' + BASE)
    predictions = [p for h in HEADS for p in h.predictions]
    assert members(policy, predictions) == {"signs": [0, 1], "all": [0, 1, 2]}


def test_a_group_of_different_units_is_refused(tmp_path: Path) -> None:
    width = Head("cam.width", "regression", ("",), (0,), unit="cm")
    text = '[groups]\nall = "*"\n' + BASE.replace("f1", "mae")
    assert refused(tmp_path, text, (RANGE, width)) == (
        "policy.toml:2: groups.all: its members have different units (cm, m); make a group of each"
    )
    assert assigned(tmp_path, text, (RANGE, RANGE))


@pytest.mark.parametrize(("resamples", "accepted"), [(198, False), (199, True)])
def test_too_few_sign_vectors_to_prove_anything_are_refused(tmp_path: Path, resamples: int, accepted: bool) -> None:
    # The slices have 0.1 of 0.05, and the smallest p-value of R vectors is 1 / (R + 1).
    text = f"resamples = {resamples}\n" + BASE
    if accepted:
        assert assigned(tmp_path, text)
    else:
        assert refused(tmp_path, text) == (
            "policy.toml:1: resamples: too few sign vectors to ever prove a loss; at least 199"
        )


@pytest.mark.parametrize(("line", "key"), [("confidence = 0.05", "confidence"), ("alpha = 0.95", "alpha")])
def test_a_confidence_and_an_alpha_that_were_mixed_up_are_refused(tmp_path: Path, line: str, key: str) -> None:
    """A confidence of 0.05 would turn the bound inside out, and certify what looks worse than its margin."""
    assert key in refused(tmp_path, f"{line}\n" + BASE)
