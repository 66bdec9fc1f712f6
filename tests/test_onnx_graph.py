"""A head's digest changes with all that its value is made of and with nothing else, in ONNX models as in archives."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from gate.bundle import impact_of, read_bundle
from tests.support.hydra import changed
from tests.support.onnx_models import FRAME, HEADS, digests, edited, hydra, made, model, tensor, weight_of
from tests.support.tiny import gate
from tests.test_onnx_scan import control

Change = Callable[[onnx.ModelProto], object]


@pytest.fixture(scope="module")
def program() -> onnx.ModelProto:
    return hydra()


# What leaves every digest as it is


def _renamed(name: str) -> str:
    return name if name in ("image", *HEADS) or not name else f"other/{name[::-1]}"


def _other_names(program: onnx.ModelProto) -> None:
    program.graph.name, program.producer_name, program.producer_version = "other", "someone", "9"
    for weight in program.graph.initializer:
        weight.name = _renamed(weight.name)
    for node in program.graph.node:
        node.name = ""
        node.input[:] = map(_renamed, node.input)
        node.output[:] = map(_renamed, node.output)


def _notes(program: onnx.ModelProto) -> None:
    program.doc_string = program.graph.doc_string = "a text"
    program.model_version = 7
    for thing in (program, program.graph, *program.graph.node, *program.graph.initializer):
        thing.metadata_props.add(key="stack", value="another file")
    program.graph.node[0].attribute[0].doc_string = "pads"
    program.graph.input[0].type.denotation = "IMAGE"
    program.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "frames"


def _shapes_in_between(program: onnx.ModelProto) -> None:
    program.graph.value_info.extend(onnx.shape_inference.infer_shapes(program).graph.value_info)


def _another_order(program: onnx.ModelProto) -> None:
    """Weights backwards; and of two heads that do not read each other the last one first."""
    weights, nodes = list(program.graph.initializer), list(program.graph.node)
    program.graph.ClearField("initializer")
    program.graph.ClearField("node")
    program.graph.initializer.extend(reversed(weights))
    program.graph.node.extend([*nodes[:3], *nodes[-3:], *nodes[3:-3]])


def _typed(program: onnx.ModelProto) -> None:
    for weight in program.graph.initializer:
        values = numpy_helper.to_array(weight)
        weight.ClearField("raw_data")
        weight.float_data.extend(values.reshape(-1).tolist())


def _the_long_name_of_the_domain(program: onnx.ModelProto) -> None:
    program.opset_import[0].domain = "ai.onnx"
    for node in program.graph.node[::2]:
        node.domain = "ai.onnx"


def _unused(program: onnx.ModelProto) -> None:
    program.graph.initializer.append(tensor("nobody reads it", np.ones(3)))
    program.graph.node.append(helper.make_node("Relu", ["trunk"], ["nobody"]))
    program.opset_import.add(domain="com.example", version=3)


def _outputs_backwards(program: onnx.ModelProto) -> None:
    outputs = list(program.graph.output)
    program.graph.ClearField("output")
    program.graph.output.extend(reversed(outputs))


def _attributes_backwards(program: onnx.ModelProto) -> None:
    for node in program.graph.node:
        attributes = list(node.attribute)
        node.ClearField("attribute")
        node.attribute.extend(reversed(attributes))


@pytest.mark.parametrize(
    "change",
    [
        *(_other_names, _notes, _shapes_in_between, _another_order, _typed, _the_long_name_of_the_domain, _unused),
        *(_outputs_backwards, _attributes_backwards),
    ],
)
def test_what_no_value_is_made_of_changes_nothing(program: onnx.ModelProto, change: Change) -> None:
    other = edited(program, change)
    assert other.SerializeToString() != program.SerializeToString()
    if change is not _the_long_name_of_the_domain:  # onnxruntime takes it, the checker does not
        onnx.checker.check_model(other)
    assert digests(other) == digests(program)


def test_a_head_more_or_less_changes_nothing_for_the_others(program: onnx.ModelProto) -> None:
    more, fewer = ("sign", "lane", "sky", "car"), ("sky", "sign")
    assert changed(digests(program), digests(hydra(more), more)) == set()
    assert changed(digests(program), digests(hydra(fewer), fewer)) == set()


def test_the_digest_is_the_same_in_another_process(program: onnx.ModelProto, tmp_path: Path) -> None:
    (tmp_path / "front.onnx").write_bytes(program.SerializeToString())
    code = (
        "import sys\nfrom pathlib import Path\nfrom gate.bundle import Network, program_graph\n"
        "network = Network('front', None, (), (('image', 'image'),), ('sign', 'lane', 'sky'), '')\n"
        "print(program_graph(network, Path('front.onnx').read_bytes()).heads['lane'].digest)\n"
        "print([m for m in ('torch', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [digests(program)["lane"], "[]"]


# What changes exactly the heads that it can reach


@pytest.mark.parametrize(
    ("weight", "reached"),
    [
        ("sign.bias", {"sign"}),
        ("lane.before", {"lane"}),
        ("trunk.norm.mean", set(HEADS)),
        ("trunk.conv", set(HEADS)),
    ],
)
def test_one_weight_reaches_the_heads_that_read_it(program: onnx.ModelProto, weight: str, reached: set[str]) -> None:
    def nudge(other: onnx.ModelProto) -> None:
        stored = weight_of(other, weight)
        stored.raw_data = (numpy_helper.to_array(stored) + np.float32(1e-6)).tobytes()

    assert changed(digests(program), digests(edited(program, nudge))) == reached


def truly_reached(program: onnx.ModelProto, weight: str) -> set[str]:
    """Heads that a weight flows into, by what a NaN in its place makes of them in the reference implementation."""

    def poison(other: onnx.ModelProto) -> None:
        stored = weight_of(other, weight)
        stored.raw_data = np.full(tuple(stored.dims), np.nan, np.float32).tobytes()

    image = {"image": np.random.default_rng(0).random((2, *FRAME), np.float32)}
    answers = ReferenceEvaluator(edited(program, poison)).run(list(HEADS), image)
    return {head for head, values in zip(HEADS, answers, strict=True) if np.isnan(values).any()}


_HYDRA = hydra()
_WEIGHTS = [weight.name for weight in _HYDRA.graph.initializer]
_REACHED = {name: truly_reached(_HYDRA, name) for name in _WEIGHTS}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.sampled_from(_WEIGHTS), position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_bit_of_any_weight_reaches_what_a_nan_in_its_place_reaches(which: str, position: int, bit: int) -> None:
    def flip(other: onnx.ModelProto) -> None:
        stored = weight_of(other, which)
        data = bytearray(stored.raw_data)
        data[position % len(data)] ^= 1 << bit
        stored.raw_data = bytes(data)

    assert changed(digests(_HYDRA), digests(edited(_HYDRA, flip))) == _REACHED[which]


def _epsilon(program: onnx.ModelProto) -> None:
    program.graph.node[1].attribute[0].f = np.nextafter(np.float32(1e-5), np.float32(1))


def _axis(program: onnx.ModelProto) -> None:
    (node,) = (n for n in program.graph.node if n.output[0] == "sky.flat")
    node.attribute.append(helper.make_attribute("axis", -3))


def _another_operator(program: onnx.ModelProto) -> None:
    (node,) = (n for n in program.graph.node if n.output[0] == "lane.pool")
    node.op_type = "GlobalMaxPool"


def _opset(program: onnx.ModelProto) -> None:
    program.opset_import[0].version = 17


def _format(program: onnx.ModelProto) -> None:
    program.ir_version = 9


def _another_shape(program: onnx.ModelProto) -> None:
    weight_of(program, "sign.bias").dims[:] = [1, 2]


def _as_a_default(program: onnx.ModelProto) -> None:
    program.graph.input.append(helper.make_tensor_value_info("sign.bias", 1, [2]))


def _another_frame(program: onnx.ModelProto) -> None:
    program.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 9


def _another_limit(program: onnx.ModelProto) -> None:
    program.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 16


def _one_symbol(program: onnx.ModelProto) -> None:
    for dim in program.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "side"


def _two_symbols(program: onnx.ModelProto) -> None:
    for name, dim in zip("hw", program.graph.input[0].type.tensor_type.shape.dim[2:], strict=True):
        dim.dim_param = name


@pytest.mark.parametrize(
    ("change", "reached"),
    [
        (_epsilon, set(HEADS)),
        (_axis, {"sky"}),
        (_another_operator, {"lane"}),
        (_opset, set(HEADS)),
        (_format, set(HEADS)),
        (_another_shape, {"sign"}),
        (_as_a_default, {"sign"}),
        (_another_frame, set(HEADS)),
        (_another_limit, set(HEADS)),
    ],
)
def test_a_change_reaches_what_is_made_of_it(program: onnx.ModelProto, change: Change, reached: set[str]) -> None:
    assert changed(digests(program), digests(edited(program, change))) == reached


def test_sizes_that_must_be_equal_are_not_sizes_that_may_differ(program: onnx.ModelProto) -> None:
    equal, free = digests(edited(program, _one_symbol)), digests(edited(program, _two_symbols))
    assert changed(equal, free) == set(HEADS)


def test_two_heads_that_change_places_are_noticed(program: onnx.ModelProto) -> None:
    def swapped(other: onnx.ModelProto) -> None:
        names = {"sign": "sky", "sky": "sign"}
        for node in other.graph.node:
            node.output[:] = [names.get(name, name) for name in node.output]

    assert changed(digests(program), digests(edited(program, swapped))) == {"sign", "sky"}

    # Names that are not the manifest's bind by position.
    heads = ("a", "b", "c")
    plain, backwards = digests(program, heads), digests(edited(program, _outputs_backwards), heads)
    assert changed(plain, backwards) == {"a", "c"}
    assert plain["a"] == backwards["c"] == digests(program)["sign"]


def test_a_copy_of_a_head_has_its_digest(program: onnx.ModelProto) -> None:
    def twice(other: onnx.ModelProto) -> None:
        nodes = [n for n in other.graph.node if n.output[0].startswith("sign")]
        for node in nodes:
            copy = other.graph.node.add()
            copy.CopyFrom(node)
            copy.output[0] = f"again.{node.output[0]}"
            copy.input[:] = [f"again.{n}" if n in ("sign.pool", "sign.flat") else n for n in copy.input]
        other.graph.output.add().CopyFrom(other.graph.output[0])
        other.graph.output[-1].name = "again.sign"

    both = digests(edited(program, twice), (*HEADS, "again.sign"))
    assert both["again.sign"] == both["sign"] == digests(program)["sign"]


def test_which_output_of_an_operator_is_read_matters() -> None:
    def halves(*names: str) -> onnx.ModelProto:
        node = helper.make_node("Split", ["image"], list(names), axis=1, num_outputs=2)
        return model([node], {"a": None, "b": None}, inputs={"image": ["n", 4]})

    assert changed(digests(halves("a", "b"), ("a", "b")), digests(halves("b", "a"), ("a", "b"))) == {"a", "b"}


def test_what_is_fed_in_reaches_what_reads_it() -> None:
    nodes = [helper.make_node("Relu", ["left"], ["a"]), helper.make_node("Relu", ["right"], ["b"])]
    two, heads = model(nodes, {"a": None, "b": None}, inputs={"left": ["n", 4], "right": ["n", 4]}), ("a", "b")
    same = made(two, heads, {"left": "left", "right": "left"}).heads
    assert same["a"] == same["b"]
    before, after = (made(two, heads, {"left": "left", "right": r}).heads for r in ("right", "rear"))
    # Inputs limit what the whole program takes, so all heads of it are reached by another source.
    assert before["a"] != after["a"]
    assert before["b"] != after["b"]


def test_the_type_in_which_an_input_is_read_reaches_what_reads_it() -> None:
    """One suite input in two types: rounded to half precision, it is other numbers."""

    def reads(which: str) -> onnx.ModelProto:
        wide = [helper.make_node("Cast", [name], [f"{name}.wide"], to=TensorProto.DOUBLE) for name in ("left", "right")]
        ends = [helper.make_node("Neg", [f"{which}.wide"], ["a"])]
        ends.append(helper.make_node("Add", ["left.wide", "right.wide"], ["both"]))
        outputs = {"a": None, "both": None}
        made = model([*wide, *ends], outputs, inputs={"left": ["n", 4], "right": ["n", 4]}, kind=TensorProto.FLOAT)
        made.graph.input[1].type.tensor_type.elem_type = TensorProto.FLOAT16
        return made

    fed = {"left": "speed", "right": "speed"}
    first, second = (made(reads(which), ("a", "both"), fed) for which in ("left", "right"))
    assert (first.whole, second.whole) == ("", "")
    assert first.heads["a"].digest != second.heads["a"].digest
    assert first.heads["a"].form != second.heads["a"].form
    assert first.heads["both"] == second.heads["both"]


# What is not certain


@pytest.mark.parametrize("name", ["If", "Loop", "Scan"])
def test_branches_and_loops_make_the_program_a_whole(name: str) -> None:
    def beside(program: onnx.ModelProto) -> None:
        program.graph.node.append(helper.make_node("Relu", ["image"], ["x"]))
        program.graph.output.append(helper.make_tensor_value_info("x", 1, None))

    program = edited(control(name), beside)
    graph = made(program, ("y", "x"))
    assert graph.whole == f"it calls {name}, which runs a graph of its own"
    assert graph.taken(["x"]) == []
    # A single byte anywhere reaches all heads, and so does a head's place.
    noted = made(edited(program, lambda other: setattr(other, "producer_name", "x")), ("y", "x"))
    moved = made(program, ("x", "y"))
    for head in ("y", "x"):
        assert len({g.heads[head].digest for g in (graph, noted, moved)}) == 3
    assert graph.heads["x"] == made(program, ("y", "x")).heads["x"] != graph.heads["y"]


@pytest.mark.parametrize(
    ("heads", "inputs", "why"),
    [
        (("sign", "lane"), {"image": "image"}, "the program has 3 outputs; the manifest names 2 heads"),
        (HEADS, {"picture": "image"}, "the manifest's inputs are not the program's"),
        (HEADS, {"image": "image", "trunk.conv": "more"}, "the manifest's inputs are not the program's"),
    ],
)
def test_a_manifest_of_another_program_makes_it_a_whole(
    program: onnx.ModelProto, heads: tuple[str, ...], inputs: dict[str, str], why: str
) -> None:
    assert made(program, heads, inputs).whole == why


def test_a_very_long_program_is_a_whole() -> None:
    nodes = [helper.make_node("Relu", [f"v{k}" if k else "image"], [f"v{k + 1}"]) for k in range(50_001)]
    assert "too many nodes" in made(model(nodes, {"v50001": None}), ("v50001",)).whole


# Programs at random: equal digests are equal values

_ONE = ("Relu", "Neg", "Abs", "Sin")
_TWO = ("Add", "Sub", "Mul")


def _drawn(seed: int) -> onnx.ModelProto:
    """A few calls on values drawn at random, ending in `y`; names, order of weights and dead code at random too."""
    rng = np.random.default_rng(seed)
    names, nodes = ["image", "c0", "c1"], []
    length = int(rng.integers(1, 4))
    for k in range(length):
        op = str(rng.choice(_ONE + _TWO))
        read = [str(rng.choice(names)) for _ in range(2 if op in _TWO else 1)]
        names.append("y" if k == length - 1 else f"n{seed}.{k}")
        nodes.append(helper.make_node(op, read, names[-1:]))
    if rng.random() < 0.5:
        nodes.append(helper.make_node("Exp", ["image"], [f"dead{seed}"]))
    weights = [tensor("c0", np.full((4,), 0.5)), tensor("c1", np.full((4,), rng.choice([0.5, 2.0])))]
    return model(nodes, {"y": ["n", 4]}, weights[:: int(rng.choice([-1, 1]))], inputs={"image": ["n", 4]})


def test_random_programs_with_equal_digests_have_equal_values() -> None:
    image = {"image": np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)}
    by_digest: dict[str, bytes] = {}
    by_value: dict[bytes, set[str]] = {}
    shared = 0
    for seed in range(1500):
        program = _drawn(seed)
        digest = digests(program, ("y",))["y"]
        (value,) = ReferenceEvaluator(program).run(["y"], image)
        shared += digest in by_digest
        assert by_digest.setdefault(digest, value.tobytes()) == value.tobytes()
        by_value.setdefault(value.tobytes(), set()).add(digest)
    # The trial could have failed: many programs shared a digest, and many did not.
    assert shared > 300
    assert len(by_value) > 100


# The command, as for archives


def bundle(folder: Path, program: onnx.ModelProto) -> Path:
    folder.mkdir()
    (folder / "front.onnx").write_bytes(program.SerializeToString())
    (folder / "bundle.toml").write_text(
        '[bundle]\nname = "tiny"\nversion = "1"\n\n[networks.front]\nprogram = "front.onnx"\n'
        'inputs = { image = "image" }\nheads = ["sign", "lane", "sky"]\n'
    )
    return folder


def test_bundle_diff_says_what_is_reached_and_why(program: onnx.ModelProto, tmp_path: Path) -> None:
    def other_bias(other: onnx.ModelProto) -> None:
        weight_of(other, "sign.bias").raw_data = np.zeros(2, np.float32).tobytes()

    old = bundle(tmp_path / "old", program)
    bundle(tmp_path / "bias", edited(program, other_bias))
    bundle(tmp_path / "again", edited(program, _other_names))
    bundle(tmp_path / "pool", edited(program, _another_operator))
    told = json.loads(gate("bundle", "diff", "old", "bias", "--json", cwd=tmp_path).out)
    assert {h["head"]: h["impact"] for h in told["heads"]} == {
        "front.sign": "reached",
        "front.lane": "identical",
        "front.sky": "identical",
    }
    assert told["causes"] == [{"network": "front", "kind": "weights", "names": ["sign.bias"], "heads": ["front.sign"]}]
    said = gate("bundle", "diff", "old", "pool", cwd=tmp_path).out
    assert "front.lane: the program differs from node lane.pool (GlobalMaxPool) on" in said
    again = impact_of(read_bundle(old), read_bundle(tmp_path / "again"))
    assert (len(again.identical), again.reached, again.rewritten) == (3, (), ("front",))


def test_very_many_heads_that_all_hang_on_very_many_nodes_are_told_at_once(tmp_path: Path) -> None:
    from time import process_time

    heads = [f"h{k}" for k in range(1000)]
    for side, first in (("old", "Neg"), ("new", "Abs")):
        nodes = [
            helper.make_node("Neg" if k else first, [f"v{k}" if k else "image"], [f"v{k + 1}"]) for k in range(5000)
        ]
        nodes += [helper.make_node("Identity", ["v5000"], [head]) for head in heads]
        bundle(tmp_path / side, model(nodes, dict.fromkeys(heads)))
        text = (tmp_path / side / "bundle.toml").read_text()
        text = text.replace('["sign", "lane", "sky"]', json.dumps(heads))
        (tmp_path / side / "bundle.toml").write_text(text)
    old, new = (read_bundle(tmp_path / side) for side in ("old", "new"))
    begun = process_time()
    found = impact_of(old, new)
    assert process_time() - begun < 4
    assert [(c.kind, c.names, len(c.heads)) for c in found.causes] == [("program", ("v1 (Abs)",), 1000)]


@pytest.mark.parametrize(
    ("kind", "name", "size"),
    [(TensorProto.FLOAT, "float32", 4), (TensorProto.FLOAT16, "float16", 2), (TensorProto.BFLOAT16, "bfloat16", 2)],
)
def test_bundle_show_tells_shapes_and_precision(kind: int, name: str, size: int, tmp_path: Path) -> None:
    bundle(tmp_path / "b", hydra(kind=kind))
    shown = gate("bundle", "show", "b", cwd=tmp_path)
    assert shown.code == 0, shown.err
    count = 4 * 3 * 3 * 3 + 4 * 4 + 3 * (4 * 2 + 2) + 4 * 4
    assert f"parameters: {count:,} in {name}; " in shown.out
    assert ["image", "(3,", "8,", "8)", name, "front"] in [line.split() for line in shown.out.splitlines()]
    rows: list[Any] = [line.split() for line in shown.out.splitlines() if line.startswith("front.")]
    assert [row[:3] for row in rows] == [[f"front.{head}", "(2)", name] for head in HEADS]
    assert [row[3] for row in rows] == [made[:12] for made in digests(hydra(kind=kind)).values()]
