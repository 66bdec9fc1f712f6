"""Planted changes touch what they say and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from examples.roadworld import train  # noqa: E402
from examples.roadworld.cameras import NAMES  # noqa: E402
from examples.roadworld.export import save_program, shape_of  # noqa: E402
from examples.roadworld.heads import NETWORKS  # noqa: E402
from examples.roadworld.recipes import RECIPES, Recipe, Weights, noise, rounded, row_noise, shift, write  # noqa: E402
from examples.roadworld.second import SECOND  # noqa: E402
from gate.bundle import impact_of, read_bundle  # noqa: E402

SMALL = ("left_repeater_road", "left_repeater_depth")


@pytest.fixture(scope="module")
def networks() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    stacks = {name: train.CameraStack(name).eval().requires_grad_(False) for name in NAMES}
    return train.shipped(stacks, {name: make().eval().requires_grad_(False) for name, make in SECOND.items()})


@pytest.fixture(scope="module")
def base(networks: dict[str, torch.nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two networks, which read features as if they were the suite's."""
    folder = tmp_path_factory.mktemp("bundles") / "base"
    folder.mkdir()
    lines = ['[bundle]\nname = "roadworld"\nversion = "1.0.0"\n']
    for of in NETWORKS:
        if of.name in SMALL:
            save_program(networks[of.name], of, folder / f"{of.name}.pt2")
            heads = ", ".join(f'"{head}"' for head in of.outputs)
            lines.append(f'[networks.{of.name}]\nprogram = "{of.name}.pt2"\nheads = [{heads}]')
            lines.append('inputs = { features = "left_repeater" }\n')
    (folder / "bundle.toml").write_text("\n".join(lines))
    return folder


def weights_of(path: Path) -> Weights:
    return torch.export.load(path).state_dict


def answers(path: Path) -> dict[str, torch.Tensor]:
    given = torch.rand(2, *shape_of("left_repeater.features"), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.export.load(path).module()(features=given)


def differing(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> list[str]:
    assert before.keys() == after.keys()
    return [name for name in before if not torch.equal(before[name], after[name])]


def test_noise_on_a_head_touches_its_weights_and_no_other_byte(base: Path, tmp_path: Path) -> None:
    recipe = next(r for r in RECIPES if r.name == "head")
    write(recipe, base, tmp_path / "head")
    name = "left_repeater_road.pt2"
    assert differing(weights_of(base / name), weights_of(tmp_path / "head" / name)) == ["seen.weight"]
    assert differing(answers(base / name), answers(tmp_path / "head" / name)) == ["seen"]
    other = "left_repeater_depth.pt2"
    assert (tmp_path / "head" / other).read_bytes() == (base / other).read_bytes()
    text = (base / "bundle.toml").read_text().replace("1.0.0", "head")
    assert (tmp_path / "head" / "bundle.toml").read_text() == text


def test_the_gate_sees_that_nothing_else_is_reached(base: Path, tmp_path: Path) -> None:
    write(next(r for r in RECIPES if r.name == "head"), base, tmp_path / "head")
    impact = impact_of(read_bundle(base), read_bundle(tmp_path / "head"))
    heads = [f"{of.name}.{head}" for of in NETWORKS if of.name in SMALL for head in of.outputs]
    assert [head for head in heads if not impact.is_identical(head)] == ["left_repeater_road.seen"]


def test_the_same_recipe_writes_the_same_weights(base: Path, tmp_path: Path) -> None:
    recipe = next(r for r in RECIPES if r.name == "head")
    for out in ("a", "b"):
        write(recipe, base, tmp_path / out)
    found = [weights_of(tmp_path / out / "left_repeater_road.pt2") for out in ("a", "b")]
    assert differing(*found) == []


def test_what_was_in_the_folder_is_gone(base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "bundle.lock").write_text("of another bundle")
    write(Recipe("nothing", "", None, {}), base, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in base.iterdir())


def test_a_shift_moves_every_score_and_no_order(base: Path, tmp_path: Path) -> None:
    write(Recipe("moved", "", None, {"left_repeater_road": shift(["seen.bias"], 1.5)}), base, tmp_path / "out")
    before, after = (answers(folder / "left_repeater_road.pt2") for folder in (base, tmp_path / "out"))
    assert differing(before, after) == ["seen"]
    assert torch.allclose(after["seen"] - before["seen"], torch.tensor(1.5), atol=1e-5)
    assert torch.equal(after["seen"].argsort(0), before["seen"].argsort(0))


def test_a_step_of_the_drift_touches_what_is_drivable_alone(base: Path, tmp_path: Path) -> None:
    step = row_noise("out.weight", 0, 0.3, 101)
    write(Recipe("step", "", None, {"left_repeater_road": step}), base, tmp_path / "out")
    before, after = (answers(folder / "left_repeater_road.pt2") for folder in (base, tmp_path / "out"))
    assert differing(before, after) == ["drivable"]


def test_noise_is_as_large_as_it_says() -> None:
    weights = {"a": torch.randn(200, 200) * 3, "b": torch.randn(4)}
    old = weights["a"].clone()
    noise(["a"], 0.1, 5)(weights)
    assert float((weights["a"] - old).std()) == pytest.approx(0.3, rel=0.05)


def test_eight_bits_are_those_of_torch(networks: dict[str, torch.nn.Module]) -> None:
    old = networks["left_repeater"].state_dict()
    weights = {name: values.clone() for name, values in old.items()}
    rounded(weights)
    assert "s2.0.weight" in differing(old, weights)
    for name in differing(old, weights):
        scale = old[name].abs().flatten(1).amax(1) / 127
        zero = torch.zeros(len(scale), dtype=torch.int32)
        wanted = torch.fake_quantize_per_channel_affine(old[name], scale, zero, 0, -127, 127)
        assert torch.allclose(weights[name], wanted, rtol=0, atol=1e-7)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_edits_weights_that_there_are(recipe: Recipe, networks: dict[str, torch.nn.Module]) -> None:
    for network, edit in recipe.edits.items():
        old = networks[network].state_dict()
        weights = {name: values.clone() for name, values in old.items()}
        edit(weights)
        assert differing(old, weights)


def test_a_chain_is_in_order() -> None:
    known = {""}
    for recipe in RECIPES:
        assert recipe.base in known
        known.add(recipe.name)
