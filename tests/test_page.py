"""The page says what the decision says, needs nothing from outside, and no name changes the document around it."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from base64 import b64decode, b64encode
from dataclasses import asdict, replace
from typing import Any

import pytest

from gate.judge.decision import Decision, NetworkFacts, Reason
from gate.report import figures, render_page, words
from gate.report.cells import payload
from gate.report.html import LIMIT
from gate.report.impact import common_network, networks_line
from gate.report.view import SEEN, page_view
from tests.support.decisions import (
    a_cell,
    a_decision,
    a_large_decision,
    a_loss,
    a_mixed_decision,
    an_undecided,
)
from tests.support.faces import HOSTILE, gold, hostile_decision, outline
from tests.support.pages import a_detail, a_moved, details_of


def page(decision: Decision) -> str:
    """The page with a panel for everything and frames of the first prediction."""
    first = [c.prediction for c in decision.cells[:1]]
    moved = [a_moved(p) for p in first]
    return render_page(
        decision, details_of(decision.cells), moved, title="hydranet 2026.47.1", command="gate compare old new"
    )


def data_of(html: str) -> dict[str, Any]:
    """The data block, unpacked as a browser does."""
    return json.loads(zlib.decompress(b64decode(outline(html).raw["text/plain"])))


def test_decision_reasons_and_regressed_rows_are_readable_without_javascript() -> None:
    text = outline(page(a_mixed_decision())).text
    assert "NO-GO do not ship" in text
    assert "2 of 9 predictions are proven worse than the incumbent (1 advisory); 1 of 9 predictions is broken" in text
    assert "Proven worse than the incumbent at the family-wise level." in text
    assert "F1 over the whole suite fell from 92.21 % to 85.08 %: −7.13 points, worse." in text
    assert "adjusted p < 0.0001" in text
    assert "F1 on the slice time_of_day=dusk fell" in text
    assert "the candidate gives NaN in 12 frames" in text
    assert "about 140 more clips with positives would decide" in text
    assert "Heads of the candidate that the suite does not judge: front.new_head" in text
    assert "2 of 272 rows fail" in text
    assert "gate compare old new" in text


def test_the_names_in_a_reason_link_to_their_predictions() -> None:
    reason = Reason("regressed", "front.grid[12] and 1 more are proven worse", ("front.grid[12]", "front.grid[1]"))
    parsed = outline(page(a_decision([a_loss("front.grid[12]")], "NO-GO", reasons=(reason,))))
    links = [value for name, value in parsed.attributes if name == "href"][:2]
    assert links == ["#front.grid%5B12%5D", "#front.grid%5B1%5D"]
    assert "front.grid[12] and 1 more are proven worse regressed" in parsed.text


def test_the_page_needs_nothing_from_outside() -> None:
    html = page(a_mixed_decision())
    assert "http" not in html.replace('http-equiv="Content-Security-Policy"', "")
    for part in ("src=", "url(", "@import", "<link", "innerHTML", "eval(", "document.write"):
        assert part not in html, part
    assert not [name for name, _ in outline(html).attributes if name.startswith("on") or name == "style"]


def test_the_content_policy_allows_the_one_script_and_the_one_style_by_their_bytes() -> None:
    parsed = outline(page(a_mixed_decision()))
    policy = next(value for _, value in parsed.attributes if value.startswith("default-src 'none'"))
    for tag in ("script", "style"):
        digest = b64encode(hashlib.sha256(parsed.raw[tag].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_changes_nothing_around_it(name: str) -> None:
    honest, hostile = hostile_decision("name"), hostile_decision(name)
    plain, parsed = outline(page(honest)), outline(page(hostile))
    assert parsed.tags == plain.tags
    assert parsed.raw["script"] == plain.raw["script"]
    shown = words.name(f"front.{name}")
    data = data_of(page(hostile))
    assert shown in data["tables"]["prediction"]
    assert shown in data["panels"]
    assert shown.split() == [part for part in shown.split() if part in parsed.text]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_frame_clip_or_caption_changes_nothing_around_it(name: str) -> None:
    decision = a_decision([a_loss()], "NO-GO")

    def with_frames(text: str) -> str:
        moved = a_moved(pictures=1)
        picture = replace(moved.pictures[0], frame=text, clip=text, told=text, fact=text)
        drawing = replace(picture.candidate, facts=(text,), boxes=((1.0, 1.0, 5.0, 5.0, "hit", text),))
        moved = replace(moved, clips=(text,), pictures=(replace(picture, candidate=drawing, incumbent=drawing),))
        return render_page(decision, (), [moved], title="t", command="c")

    assert outline(with_frames(name)).tags == outline(with_frames("name")).tags


def test_the_same_decision_gives_the_same_bytes() -> None:
    assert page(a_large_decision(50, 3)) == page(a_large_decision(50, 3))


def test_the_data_of_the_page_gives_back_every_figure() -> None:
    cells = a_mixed_decision().cells
    data = json.loads(json.dumps(payload(cells)))
    for row, cell in enumerate(sorted(cells, key=words.worst_first)):
        entry = {name: table[_at(data, name, row)] for name, table in data["tables"].items() if name != "template"}
        scale = figures.scale_of(cell)
        assert entry["prediction"] == cell.prediction
        assert entry["verdict"][0] == cell.verdict
        assert entry["slice"] == cell.slice
        assert entry["threshold"] == (figures.thresholds(cell) or None)
        assert _at(data, "candidate", row) == (
            None if cell.candidate is None else figures.value_steps(cell.candidate, scale)
        )
        assert _at(data, "delta", row) == (None if cell.delta is None else figures.delta_steps(cell.delta, scale))
        assert _at(data, "clips", row) == cell.clips
        place, *numbers = str(_at(data, "reason", row)).split("|")
        assert re.sub("\0", lambda _, n=numbers: n.pop(0), data["tables"]["template"][int(place)]) == cell.reason


def _at(data: dict[str, Any], name: str, row: int) -> Any:
    column = data["columns"][name]
    if isinstance(column, list):
        return column[row]
    return column["all"] if "all" in column else column["some"].get(str(row))


def test_a_page_of_twelve_thousand_cells_with_its_panels_stays_below_its_limit() -> None:
    decision = a_large_decision()
    html = render_page(decision, details_of(decision.cells), title="hydranet 2026.47.1", command="gate compare")
    assert len(decision.cells) == 12_444
    assert len(html.encode()) < 1_000_000


def test_pictures_without_room_are_left_out_from_the_least_bad_ones_and_counted() -> None:
    names = [f"front.h{k}" for k in range(60)]
    decision = a_decision([a_loss(name, delta=-0.3 + 0.001 * k) for k, name in enumerate(names)], "NO-GO")
    moved = [a_moved(name, 4, name=f"f{k}-", seed=k) for k, name in enumerate(names)]
    html = render_page(decision, (), moved, title="t", command="c")
    assert len(html.encode()) <= LIMIT
    shown = html.count('<figure class="frame">') - SEEN
    assert 60 < shown < 240
    assert f"{240 - shown} of 240 pictures have no room in this page" in outline(html).text
    of_each = [html.count(f"<bdi>f{k}-{n:04d}</bdi>") for k in range(60) for n in (0,)]
    assert sorted(of_each) == [1] * (60 - SEEN) + [2] * SEEN, (
        "everybody keeps the worst frame while anybody has a second one"
    )


def test_a_page_that_cannot_hold_all_panels_keeps_those_of_the_worst_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decision = a_large_decision(60, 2)
    details = details_of(decision.cells)
    whole = render_page(decision, details, title="t", command="c")
    monkeypatch.setattr("gate.report.html.LIMIT", len(whole.encode()) - 500)
    cut = render_page(decision, details, title="t", command="c")
    kept = len(details) // 2
    assert list(data_of(cut)["panels"]) == [words.name(d.prediction) for d in details[:kept]]
    assert f"Panels are drawn of the {kept} worst of {len(details)} predictions." in outline(cut).text


def test_a_picture_that_several_heads_share_is_in_the_page_once() -> None:
    decision = a_decision([a_loss("front.a"), a_loss("front.b")], "NO-GO")
    same = a_moved("front.a", 1)
    html = render_page(decision, (), [same, replace(same, prediction="front.b")], title="t", command="c")
    image = b64encode(same.pictures[0].image or b"").decode()
    assert html.count(image) == 1
    name = "picture-" + hashlib.sha256(same.pictures[0].image or b"").hexdigest()[:16]
    assert html.count(f'id="{name}"') == 1
    assert html.count(f'href="#{name}"') == 5, "both releases of both heads, and twice on the first screen"


def test_the_first_screen_shows_the_worst_frame_of_each_of_the_worst_predictions_as_the_candidate_saw_it() -> None:
    names = ["front.a", "front.b"]
    decision = a_decision([a_loss(name, delta=-0.3 + 0.1 * k) for k, name in enumerate(names)], "NO-GO")
    moved = [a_moved(name, 3, name=f"{name}-", seed=k) for k, name in enumerate(names)]
    neighbours = [replace(picture, clip=clip) for picture, clip in zip(moved[0].pictures, "aab", strict=True)]
    moved[0] = replace(moved[0], pictures=tuple(neighbours))
    html = render_page(decision, (), moved, title="t", command="c")
    first = html.partition('<div class="seen">')[2].partition("<h2>What to do</h2>")[0]
    assert re.findall(r"frame <bdi>(.*?)</bdi>", first) == ["front.a-0000", "front.b-0000", "front.b-0001"]
    assert re.findall(r'<a class="name" href="#(.*?)"', first) == ["front.a", "front.b", "front.b"]
    assert 'class="layer candidate"' in first
    assert 'class="layer incumbent"' not in first
    assert "On which frames" not in render_page(decision, (), (), title="t", command="c")


def test_a_prediction_speaks_by_its_worst_cell_over_the_whole_suite_or_by_a_proven_loss_on_a_slice() -> None:
    cells = [
        a_cell("front.a"),
        a_cell("front.a", slice="night", verdict="undecided"),
        a_cell("front.b"),
        a_loss("front.b", slice="night"),
        a_cell("front.c", metric="f1", verdict="improved"),
        an_undecided("front.c", metric="average_precision"),
    ]
    leads = {c.prediction: (c.verdict, c.slice) for c in words.leads(cells)}
    assert leads == {
        "front.a": ("non-inferior", "all"),
        "front.b": ("regressed", "night"),
        "front.c": ("undecided", "all"),
    }
    assert [c.prediction for c in words.leads(cells)] == ["front.b", "front.c", "front.a"]
    view = page_view(a_decision(cells), {}, {}, title="t", command="c")
    assert {c.verdict: c.number for c in view.counts if c.number != "0"} == {
        "regressed": "1",
        "undecided": "1",
        "non-inferior": "1",
    }


GRAPH = (
    NetworkFacts("left", "reached"),
    NetworkFacts("front", "identical"),
    NetworkFacts("top", "reached", ("left", "front")),
    NetworkFacts("stitch", "reached", ("top",)),
)


def hint(*regressed: str) -> str:
    heads = ("left.a", "left.b", "front.a", "top.a", "stitch.a")
    cells = [a_loss(h, network=h.partition(".")[0]) if h in regressed else a_cell(h) for h in heads]
    return common_network(replace(a_decision(cells, "NO-GO"), networks=GRAPH))


def test_the_network_that_regressed_heads_share_is_named() -> None:
    assert hint("left.a", "left.b") == (
        "2 of 2 regressed heads come from network left or read it, which has 4 heads in all: look there first"
    )
    assert hint("top.a", "stitch.a").startswith("2 of 2 regressed heads come from network top or read it, which has 2")
    assert hint("left.a", "stitch.a").startswith("2 of 2 regressed heads come from network left or read it")


def test_one_regressed_head_or_heads_without_a_common_network_give_no_hint() -> None:
    assert hint("left.a") == ""
    assert hint() == ""
    assert hint("front.a", "left.a") == ""


def test_networks_that_the_change_reaches_are_counted() -> None:
    assert networks_line(GRAPH) == "The change reaches 3 of 4 networks"
    assert networks_line(()) == ""


def test_a_panel_has_the_shapes_and_figures_of_its_detail() -> None:
    detail = a_detail("front.road_edge")
    decision = a_decision([a_loss("front.road_edge")], "NO-GO")
    panel = data_of(render_page(decision, [detail], title="t", command="c"))["panels"]["front.road_edge"]
    level, before, after = panel["curves"][0]
    assert level == ""
    for drawn, curve in ((before, detail.curves[0].incumbent), (after, detail.curves[0].candidate)):
        for steps, values in ((drawn[0], curve.recall), (drawn[1], curve.precision)):
            total = 0
            for step, value in zip(steps, values, strict=True):
                total += step
                assert abs(total / 250 - value) <= 0.002
    assert panel["limit"] == ["precision", 225, "precision ≥ 0.9"]
    assert max(panel["scores"][2] + panel["scores"][4]) == 100
    assert panel["strip"][2] == 200
    assert panel["strip"][0][0] == -100
    assert ["status", "calibrated", "calibrated"] in panel["points"]
    assert ["proven bound", "90.50 %", "90.50 %"] in panel["points"]


def test_a_share_is_never_rounded_up_to_all() -> None:
    assert words.share(0.99999999) == "99.99 %"
    assert words.share(1.0) == "100.00 %"
    assert words.share(0.56789) == "56.78 %"
    assert words.share(None) == "not measured"


def test_a_decision_about_nothing_has_its_page() -> None:
    empty = a_decision((), "NO-GO", reasons=(), contracts=())
    assert "Nothing that the change can reach was measured." in outline(page(empty)).text


def test_the_view_of_the_page_is_the_gold_file() -> None:
    decision = replace(a_mixed_decision(), networks=GRAPH)
    details = {d.prediction: d for d in details_of(decision.cells)}
    moved = a_moved("front.road_edge", 1)
    moved = replace(moved, pictures=tuple(replace(p, image=None) for p in moved.pictures))
    view = page_view(decision, details, {moved.prediction: moved}, title="hydranet 2026.47.1", command="gate compare")
    text = json.dumps(asdict(view), indent=1, ensure_ascii=False)
    # A PNG's bytes are its library's; what is in it has a test of its own.
    gold("page-view.json", re.sub(r'"raster": "[^"]+"', '"raster": "PNG"', text) + "\n")
