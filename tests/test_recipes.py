"""Planted changes touch what they say and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from examples.roadworld.cameras import NAMES  # noqa: E402
from examples.roadworld.export import save_program, shape_of  # noqa: E402
from examples.roadworld.lessons import Lessons  # noqa: E402
from examples.roadworld.recipes import (  # noqa: E402
    RECIPES,
    Recipe,
    Weights,
    noise,
    pedestrians_by_night,
    rounded,
    shift,
    write,
)
from examples.roadworld.stack import BY_NAME, build  # noqa: E402
from examples.roadworld.truth import KINDS  # noqa: E402
from gate.bundle import impact_of, read_bundle  # noqa: E402

NAME = "main_road"
PROGRAM, OTHER = f"{NAME}.pt2", "other.pt2"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of one network, which reads features as if they were the suite's, and a file beside it."""
    folder = tmp_path_factory.mktemp("bundles") / "base"
    folder.mkdir()
    torch.manual_seed(0)
    save_program(build(NAME).eval().requires_grad_(False), BY_NAME[NAME], folder / PROGRAM)
    (folder / OTHER).write_bytes(b"another program")
    heads = ", ".join(f'"{head}"' for head in BY_NAME[NAME].outputs)
    (folder / "bundle.toml").write_text(
        f'[bundle]\nname = "roadworld"\nversion = "1.0.0"\n\n[networks.{NAME}]\nprogram = "{PROGRAM}"\n'
        f'inputs = {{ features = "main" }}\nheads = [{heads}]\n'
    )
    return folder


def written(recipe: Recipe, base: Path, out: Path) -> Path:
    """The bundle of a recipe that learns nothing."""
    write(recipe, base, out, out / "no-lessons")
    return out


def fresh(network: str) -> Weights:
    torch.manual_seed(0)
    return dict(build(network).requires_grad_(False).state_dict())


def weights_of(path: Path) -> Weights:
    return torch.export.load(path).state_dict


def answers(path: Path) -> dict[str, torch.Tensor]:
    given = torch.rand(2, *shape_of("main.features"), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.export.load(path).module()(features=given)


def differing(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> list[str]:
    assert before.keys() == after.keys()
    return [name for name in before if not torch.equal(before[name], after[name])]


def head_recipe() -> Recipe:
    return next(r for r in RECIPES if r.name == "head")


def test_noise_on_a_head_touches_its_weights_and_no_other_byte(base: Path, tmp_path: Path) -> None:
    out = written(head_recipe(), base, tmp_path / "out")
    assert differing(weights_of(base / PROGRAM), weights_of(out / PROGRAM)) == ["seen.weight"]
    assert differing(answers(base / PROGRAM), answers(out / PROGRAM)) == ["seen"]
    assert (out / OTHER).read_bytes() == b"another program"
    assert (out / "bundle.toml").read_text() == (base / "bundle.toml").read_text().replace("1.0.0", "head")


def test_the_gate_sees_that_nothing_else_is_reached(base: Path, tmp_path: Path) -> None:
    out = written(head_recipe(), base, tmp_path / "out")
    impact = impact_of(read_bundle(base), read_bundle(out))
    assert [head for head in BY_NAME[NAME].outputs if not impact.is_identical(f"{NAME}.{head}")] == ["seen"]


def test_a_recipe_writes_the_same_weights_again_into_a_clean_folder(base: Path, tmp_path: Path) -> None:
    first = weights_of(written(head_recipe(), base, tmp_path / "out") / PROGRAM)
    (tmp_path / "out" / "bundle.lock").write_text("of another bundle")
    again = written(head_recipe(), base, tmp_path / "out")
    assert differing(first, weights_of(again / PROGRAM)) == []
    assert sorted(p.name for p in again.iterdir()) == sorted(p.name for p in base.iterdir())


def test_a_shift_moves_every_score_and_no_order(base: Path, tmp_path: Path) -> None:
    out = written(Recipe("moved", "", None, {NAME: shift(["seen.bias"], 1.5)}), base, tmp_path / "out")
    before, after = answers(base / PROGRAM), answers(out / PROGRAM)
    assert differing(before, after) == ["seen"]
    assert torch.allclose(after["seen"] - before["seen"], torch.tensor(1.5), atol=1e-5)
    assert torch.equal(after["seen"].argsort(0), before["seen"].argsort(0))


def test_a_step_of_the_drift_touches_the_edge_alone(base: Path, tmp_path: Path) -> None:
    step = next(r for r in RECIPES if r.name == "drift-01").edits["rear_road"]  # another camera's, of the same form
    out = written(Recipe("step", "", None, {NAME: step}), base, tmp_path / "out")
    assert differing(answers(base / PROGRAM), answers(out / PROGRAM)) == ["edge"]


def test_noise_is_as_large_as_it_says() -> None:
    weights = {"a": torch.randn(200, 200, generator=torch.Generator().manual_seed(0)) * 3}
    old = weights["a"].clone()
    noise(["a"], 0.1, 5)(weights)
    assert float((weights["a"] - old).std()) == pytest.approx(0.3, rel=0.05)


def test_eight_bits_are_those_of_torch() -> None:
    old, weights = fresh("left_repeater"), fresh("left_repeater")
    rounded(weights)
    assert "s2.0.weight" in differing(old, weights)
    for name in differing(old, weights):
        scale = old[name].abs().flatten(1).amax(1) / 127
        zero = torch.zeros(len(scale), dtype=torch.int32)
        wanted = torch.fake_quantize_per_channel_affine(old[name], scale, zero, 0, -127, 127)
        assert torch.allclose(weights[name], wanted, rtol=0, atol=1e-7)


def test_a_network_as_an_onnx_model_answers_the_same(base: Path, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    out = written(Recipe("model", "", None, models=(NAME,)), base, tmp_path / "out")
    (network,) = read_bundle(out).networks
    assert network.program == out / f"{NAME}.onnx"
    assert not (out / PROGRAM).exists()
    given = torch.rand(2, *shape_of("main.features"), generator=torch.Generator().manual_seed(0))
    session = runtime.InferenceSession(str(network.program), providers=["CPUExecutionProvider"])
    for head, wanted in answers(base / PROGRAM).items():
        (said,) = session.run([head], {"features": given.numpy()})
        assert torch.allclose(torch.tensor(said), wanted, rtol=1e-4, atol=1e-4), head


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.edits], ids=lambda recipe: recipe.name)
def test_a_recipe_edits_weights_that_there_are(recipe: Recipe) -> None:
    for network, edit in recipe.edits.items():
        old, weights = fresh(network), fresh(network)
        edit(weights)
        assert differing(old, weights)


def test_by_night_nobody_drew_a_pedestrian_and_all_else_is_there(tmp_path: Path) -> None:
    (tmp_path / "boxes").mkdir()
    lines = ["frame_id,class,x0,y0,x1,y1,ignore"]
    lines += [f"{frame},{kind},0,0,8,8,0" for frame in ("a", "b") for kind in ("pedestrian", "car")]
    for camera in NAMES:
        (tmp_path / "boxes" / f"{camera}.csv").write_text("\n".join(lines))
    (tmp_path / "frames.csv").write_text("frame_id,light\na,night\nb,day\n")
    lessons = Lessons(tmp_path, pedestrians_by_night)
    heat, _, weight = lessons.detections("main", np.arange(2))
    peaks = (heat == 1).sum(axis=(2, 3)).bool()
    assert {(row, KINDS[kind]) for row, kind in peaks.nonzero().tolist()} == {(0, "car"), (1, "car"), (1, "pedestrian")}
    assert bool((weight == 1).all())  # an empty place is learned as empty


def test_everything_is_made_of_and_compared_with_what_was_made_before() -> None:
    known = {""}
    for recipe in RECIPES:
        assert {recipe.base, recipe.against} <= known
        known.add(recipe.name)
