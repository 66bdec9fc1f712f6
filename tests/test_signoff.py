"""The page that two people sign: complete, honest, at most two pages on paper, and nothing from outside."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from base64 import b64encode
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from gate.judge.decision import Decision, Identity, Reason
from gate.report.signoff import NOT_SAFE, signoff_page, signoff_view
from tests.support.decisions import (
    a_cell,
    a_decision,
    a_full_decision,
    a_large_decision,
    a_loss,
    a_worst_decision,
    an_undecided,
    an_unmeasured,
)
from tests.support.faces import gold, outline

TIME, DIGEST = "2026-11-24T01:10:00+00:00", "sha256:" + "7e" * 32
STATISTICS = Path(__file__).parents[1] / "docs" / "statistics.md"


def signed(decision: Decision) -> str:
    return signoff_page(decision, time=TIME, verdict=DIGEST)


def text_of(decision: Decision) -> str:
    return outline(signed(decision)).text


def test_what_the_page_says_is_the_gold_file() -> None:
    view = signoff_view(a_full_decision(), time=TIME, verdict=DIGEST)
    gold("signoff.json", json.dumps(asdict(view), indent=1, ensure_ascii=False) + "\n")


def test_the_page_says_what_was_decided_what_changed_and_what_regressed() -> None:
    text = text_of(a_full_decision())
    for said in (
        "✖ NO-GO do not ship",
        "4 of 11 predictions are proven worse than the incumbent (1 advisory, 1 waived)",
        "Decided 2026-11-24T01:10:00+00:00 by gate 0.1.0.",
        "hydranet 2026.47.1 would replace hydranet 2026.46.0; judged on the suite city 12.",
        "10 reached by the change, 1 identical by construction",
        "Proven better: front.presence[building].",
        "92.21 % → 85.08 %−7.13 points [−9.03, −5.32]adjusted p < 0.0001",
        "−2.20 points since its anchor, adjusted p = 0.0021",
    ):
        assert said in text, said


def test_the_residual_risks_have_numbers_and_the_clips_that_are_needed() -> None:
    text = text_of(a_full_decision())
    for said in (
        "Critical and undecided: 1",
        "−0.80 points [−3.13, +1.51], margin 1 point; about 140 more clips with positives would decide",
        "Looks worse without proof, to acknowledge: 1",
        "Not measurable: 1",
        "4 clips with positives, and 10 are needed",
        "Waived: 1",
        "waived WAIVER-7: regressed: −7.13 points [−9.03, −5.32], margin 2 points",
        "Heads of the candidate that the suite does not judge: 1",
        "Data contracts that do not hold (1 hold): 1",
        "Slow drift over many releases: measured from hydranet 2026.40.0",
        "the scores of 1 of 2 predictions are worse",
    ):
        assert said in text, said


def test_without_an_anchor_the_page_says_that_nobody_looked_for_drift() -> None:
    assert "Slow drift over many releases: not looked at: no anchor was given" in text_of(a_decision([a_cell()]))


def test_what_passes_without_proof_is_counted() -> None:
    cells = [an_undecided("a.b", tier="supporting"), an_undecided("c.d", tier="advisory"), a_cell()]
    assert "2 supporting or advisory cells: over the whole suite neither proven worse" in text_of(a_decision(cells))


def test_a_clean_go_says_that_nothing_is_proven_worse_and_that_contracts_hold() -> None:
    text = text_of(a_decision([a_cell()]))
    assert "Nothing is proven worse, and nothing is broken." in text
    assert "Data contracts: all 1 hold" in text


def test_error_rates_are_in_words_and_go_does_not_mean_safe() -> None:
    text = text_of(a_decision([a_cell()]))
    assert "an equal candidate would be blocked in at most 5 % of releases" in text
    assert "holds cell by cell with 95 % confidence" in text
    assert NOT_SAFE in text


def test_what_go_does_not_mean_is_what_the_documentation_says() -> None:
    said = " ".join(STATISTICS.read_text(encoding="utf-8").split())
    assert "safe on roads that the suite does not hold" in said
    assert "knows nothing of clips that nobody thinks of recording" in said
    assert "safe on roads that the suite does not hold" in NOT_SAFE
    assert "knows nothing of clips that nobody thinks of recording" in NOT_SAFE


def test_every_digest_stands_there_in_full() -> None:
    decision = a_full_decision()
    text = text_of(decision)
    identities = (decision.candidate, decision.incumbent, decision.suite, *decision.anchors)
    for digest in (*(i.digest for i in identities), decision.policy.digest, DIGEST):
        assert len(digest) == 71
        assert digest in text


@pytest.mark.parametrize(
    ("outcome", "statement"),
    [("GO", "and release hydranet 2026.47.1."), ("NO-GO", "hydranet 2026.47.1 is not released."),
     ("INCONCLUSIVE", "hydranet 2026.47.1 is not proven fit to ship, and is not released.")],
)  # fmt: skip
def test_two_people_sign_for_what_was_decided(outcome: str, statement: str) -> None:
    text = text_of(replace(a_full_decision(), decision=outcome))  # type: ignore[arg-type]
    assert statement in text
    assert "Release manager Name Date Signature" in text
    assert "Perception engineer Name Date Signature" in text


def test_a_list_that_is_cut_says_how_long_it_is() -> None:
    cells = [a_loss(f"front.h{k}") for k in range(1000)] + [an_unmeasured(f"rear.h{k}") for k in range(40)]
    reasons = tuple(Reason("regressed", f"front.h{k} lost", (f"front.h{k}",)) for k in range(9))
    text = text_of(a_decision(cells, "NO-GO", reasons=reasons))
    assert "What regressed: 1,000 predictions, the first 6 here and all in report.html" in text
    assert "Why: 9 reasons, the first 5 here and all in report.html" in text
    acknowledged = [replace(c, acknowledge=True) for c in cells if c.verdict == "not-measurable"]
    assert "Not measurable: 40, the first 14 here and all in report.html" in text_of(a_decision(acknowledged))
    older = tuple(Identity("n", str(k), f"sha256:{k}") for k in range(7))
    assert "Anchor, 2 of 7" in text_of(a_decision([a_cell()], anchors=older))


def test_a_prediction_that_lost_in_many_slices_takes_one_line() -> None:
    cells = [a_loss(), *(a_loss(slice=f"road={k}") for k in range(20)), a_loss("rear.x", delta_worse=-0.01)]
    view = signoff_view(a_decision(cells, "NO-GO"), time=TIME, verdict=DIGEST)
    assert [(loss.name, loss.about) for loss in view.losses] == [
        ("front.road_edge", "f1 ↑, supporting; and 20 more cells"),
        ("rear.x", "f1 ↑, supporting"),
    ]


def test_a_name_that_is_cut_keeps_both_its_ends() -> None:
    text = text_of(a_decision([a_loss("front." + "x" * 200 + "[pedestrian]")], "NO-GO"))
    assert re.search(r"front\.x{20,}…x*\[pedestrian\]", text)


def test_the_page_needs_nothing_from_outside_and_has_no_script() -> None:
    html = signed(a_full_decision())
    assert "http" not in html.replace('http-equiv="Content-Security-Policy"', "")
    parsed = outline(html)
    assert not {tag for tag, *_ in parsed.tags} & {"script", "img", "link", "iframe", "svg", "a", "form"}
    assert not [name for name, _ in parsed.attributes if name.startswith("on") or name in ("style", "src", "href")]
    for part in ("url(", "@import"):
        assert part not in html


def test_the_content_policy_allows_the_one_style_by_its_bytes_and_nothing_else() -> None:
    parsed = outline(signed(a_full_decision()))
    digest = b64encode(hashlib.sha256(parsed.raw["style"].encode()).digest()).decode()
    policy = next(value for _, value in parsed.attributes if value.startswith("default-src"))
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'none'; base-uri 'none'; form-action 'none'"
    )


# --------------------------------------------------------------------------------------------------------------- paper


def pages(html: str, folder: Path, paper: str) -> int:
    """How many pages chromium prints. paper: size of the page, which the browser else takes from its country."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    # Another style needs another policy: this one asks for a size of paper and changes nothing else.
    sized = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', f"<style>@page{{size:{paper}}}</style>", html)
    assert sized != html
    source, target = folder / "page.html", folder / "page.pdf"
    source.write_text(sized, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
             "--disable-background-networking", "--disable-component-update", "--no-pdf-header-footer",
             f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={target}"]  # fmt: skip
    subprocess.run([browser, *flags, source.as_uri()], capture_output=True, timeout=600, check=True)
    printed = target.read_bytes()
    return len(re.findall(rb"/Type\s*/Page\b", printed))


@pytest.mark.parametrize("paper", ["A4", "letter"])
@pytest.mark.parametrize("name", ["W" * 300, "\ufdfd" * 300, "a b " * 75, "full"])
def test_it_prints_on_two_pages_at_most_whatever_is_listed(name: str, paper: str, tmp_path: Path) -> None:
    decision = a_full_decision() if name == "full" else a_worst_decision(name)
    assert 1 <= pages(signed(decision), tmp_path, paper) <= 2


def test_a_release_without_a_question_prints_on_one_page(tmp_path: Path) -> None:
    assert pages(signed(a_decision([a_cell()])), tmp_path, "A4") == 1


def test_a_page_of_twelve_thousand_cells_stays_below_forty_kilobytes() -> None:
    assert len(signed(a_large_decision()).encode()) < 40_000
