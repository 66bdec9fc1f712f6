"""ONNX programs answer what the reference implementation answers, whole or cut, in every precision."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from gate.bundle import looks_like_onnx, program_graph, read_bundle
from gate.bundle.onnx_scan import read_onnx
from gate.errors import BundleError
from gate.run import run
from gate.run.onnx_model import part_of
from gate.run.onnx_program import load_onnx
from gate.suite import read_suite
from tests.support.onnx_models import FLOAT, FRAME, HEADS, edited, hydra, model, network, tensor, weight_of
from tests.support.programs import Programs
from tests.support.tiny import program_bundle
from tests.test_onnx_scan import control

HALVES = {TensorProto.FLOAT16: np.dtype(np.float16), TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16)}
KINDS = (FLOAT, *HALVES)
IMAGES = np.random.default_rng(0).random((5, *FRAME), np.float32)
Answers = dict[str, tuple[NDArray[np.float32], str]]


def loaded(made: onnx.ModelProto | bytes, heads: tuple[str, ...] = HEADS, frame: tuple[int, ...] | None = FRAME) -> Any:
    data = made if isinstance(made, bytes) else made.SerializeToString()
    return load_onnx(network(Path("front.onnx"), heads), data, {"image": frame}, 1).forward


def reference(made: onnx.ModelProto, heads: tuple[str, ...] = HEADS) -> list[Any]:
    return ReferenceEvaluator(made).run(list(heads), {"image": IMAGES})


def subsets(heads: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (part for size in range(1, len(heads)) for part in combinations(heads, size))


def equal(part: Answers, whole: Answers) -> bool:
    return all(values.tobytes() == whole[head][0].tobytes() for head, (values, _) in part.items())


# Answers


@pytest.mark.parametrize("opset", [15, 17, 18, 22])
def test_answers_are_those_of_the_reference(opset: int) -> None:
    made = hydra(opset=opset)
    answers = loaded(made)({"image": IMAGES})
    assert list(answers) == list(HEADS)
    for head, expected in zip(HEADS, reference(made), strict=True):
        values, kind = answers[head]
        assert (kind, values.dtype, values.shape) == ("float32", np.float32, (5, 2))
        np.testing.assert_allclose(values, expected, rtol=1e-5)


@pytest.mark.parametrize("opset", [7, 9, 11, 13])
def test_older_operators_answer_as_newer_ones(opset: int) -> None:
    assert equal(loaded(hydra(opset=opset))({"image": IMAGES}), loaded(hydra(opset=18))({"image": IMAGES}))


@pytest.mark.parametrize("kind", HALVES)
def test_half_precision_is_float32_rounded_after_every_operator(kind: int) -> None:
    half = HALVES[kind]
    made = hydra(kind=kind)
    answers = loaded(made)({"image": IMAGES})

    def rounded(values: NDArray[Any]) -> NDArray[np.float32]:
        return values.astype(half).astype(np.float32)

    known = {"image": rounded(IMAGES)}
    known |= {t.name: numpy_helper.to_array(t).astype(np.float32) for t in made.graph.initializer}
    for node in made.graph.node:
        alone = model([node], dict.fromkeys(node.output), inputs={name: [] for name in node.input})
        for value in alone.graph.input:
            value.type.tensor_type.ClearField("shape")
        values = ReferenceEvaluator(alone).run(list(node.output), {name: known[name] for name in node.input})
        known |= {name: rounded(v) for name, v in zip(node.output, values, strict=True)}
    for head in HEADS:
        values, name = answers[head]
        assert name == half.name
        assert np.array_equal(values, rounded(values))
        # A sum in another order may round to the neighbour, once in a while.
        assert np.mean(values == known[head]) > 0.8
        np.testing.assert_allclose(values, known[head], rtol=2 * float(ml_dtypes.finfo(half).eps))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", [3, 7, 13])
def test_weights_may_be_listed_among_the_inputs(kind: int, version: int) -> None:
    def listed(other: onnx.ModelProto) -> None:
        other.ir_version = version
        other.graph.input.extend(
            helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in other.graph.initializer
        )

    forward = loaded(edited(hydra(kind=kind, opset=13), listed))
    answers = forward({"image": IMAGES})
    assert equal(answers, loaded(hydra(kind=kind, opset=13))({"image": IMAGES}))
    assert equal(forward({"image": IMAGES}, ["lane"]), answers)


@pytest.mark.parametrize("kind", HALVES)
def test_operators_that_name_a_type_make_halves(kind: int) -> None:
    third = tensor("third", np.full((), 1 / 3), kind)
    nodes = [
        helper.make_node("Constant", [], ["third"], value=third),
        helper.make_node("CastLike", ["wide", "third"], ["narrow"]),
        helper.make_node("Add", ["narrow", "third"], ["sum"]),
        helper.make_node("Cast", ["image"], ["wide"], to=FLOAT),
        helper.make_node("Cast", ["sum"], ["y"], to=FLOAT),
    ]
    made = model([nodes[0], nodes[3], *nodes[1:3], nodes[4]], {"y": None}, opset=19)
    half = HALVES[kind]
    expected = (IMAGES.astype(half).astype(np.float32) + np.float32(np.array(1 / 3, half))).astype(half)
    np.testing.assert_array_equal(loaded(made, ("y",))({"image": IMAGES})["y"][0], expected.astype(np.float32))


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_int8_programs_of_both_forms_run(form: str, tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Frames(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter([{"image": IMAGES}])

        def get_next(self) -> Any:
            return next(self.rest, None)

    made, path = hydra(), tmp_path / "q.onnx"
    quantize_static(made, str(path), Frames(), quant_format=QuantFormat[form])
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert ("QLinearConv" in operators) == (form == "QOperator")
    forward = loaded(path.read_bytes())
    answers = forward({"image": IMAGES})
    for head, expected in zip(HEADS, reference(made), strict=True):
        np.testing.assert_allclose(answers[head][0], expected, rtol=0.05)
        assert not np.array_equal(answers[head][0], expected)
    for part in subsets(HEADS):
        assert equal(forward({"image": IMAGES}, part), answers)


def test_outputs_of_other_types_are_told_as_they_are() -> None:
    nodes = [
        helper.make_node("ArgMax", ["image"], ["best"], axis=1, keepdims=0),
        helper.make_node("Greater", ["image", "half"], ["above"]),
        helper.make_node("Cast", ["image"], ["bytes"], to=TensorProto.UINT8),
    ]
    made = model(nodes, {"best": None, "above": None, "bytes": None}, [tensor("half", np.full((), 0.5))])
    kinds = (TensorProto.INT64, TensorProto.BOOL, TensorProto.UINT8)
    for value, kind in zip(made.graph.output, kinds, strict=True):
        value.type.tensor_type.elem_type = kind
    answers = loaded(made, ("best", "above", "bytes"))({"image": IMAGES})
    assert [kind for _, kind in answers.values()] == ["int64", "bool", "uint8"]
    np.testing.assert_array_equal(answers["best"][0], IMAGES.argmax(1))
    np.testing.assert_array_equal(answers["above"][0], IMAGES > 0.5)


def test_heads_are_bound_by_name_and_else_by_position() -> None:
    made = hydra()
    named = loaded(made)({"image": IMAGES})
    backwards = loaded(made, HEADS[::-1])({"image": IMAGES})
    assert list(backwards) == list(HEADS[::-1])
    assert equal(backwards, named)
    placed = loaded(made, ("a", "b", "c"))({"image": IMAGES})
    for head, name in zip(HEADS, ("a", "b", "c"), strict=True):
        assert placed[name][0].tobytes() == named[head][0].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_frames_in_a_batch_hardly_matters(kind: int) -> None:
    forward = loaded(hydra(kind=kind))
    together = forward({"image": IMAGES})
    for head in HEADS:
        alone = np.concatenate([forward({"image": IMAGES[k : k + 1]})[head][0] for k in range(5)])
        np.testing.assert_allclose(alone, together[head][0], rtol=1e-5)


def test_an_input_and_a_weight_can_be_heads() -> None:
    made = model([helper.make_node("Relu", ["image"], ["y"])], {"y": None, "image": None, "w": None})
    made.graph.initializer.append(tensor("w", np.ones((5, 2))))
    heads = ("y", "image", "w")
    forward = loaded(made, heads)
    answers = forward({"image": IMAGES})
    np.testing.assert_array_equal(answers["image"][0], IMAGES)
    assert (answers["w"][0] == 1).all()
    for part in subsets(heads):
        assert equal(forward({"image": IMAGES}, part), answers)


@pytest.mark.parametrize("name", ["If", "Loop", "Scan"])
def test_branches_and_loops_run_whole(name: str) -> None:
    def beside(other: onnx.ModelProto) -> None:
        other.graph.node.append(helper.make_node("Neg", ["image"], ["x"]))
        other.graph.output.append(helper.make_tensor_value_info("x", 1, None))

    forward = loaded(edited(control(name), beside), ("y", "x"))
    for answers in (forward({"image": IMAGES}), forward({"image": IMAGES}, ["x"])):
        np.testing.assert_array_equal(answers["y"][0], IMAGES * 2)
        np.testing.assert_array_equal(answers["x"][0], -IMAGES)


# Parts


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_answers_the_bits_of_the_whole_and_nothing_else(kind: int) -> None:
    forward = loaded(hydra(kind=kind))
    whole = forward({"image": IMAGES})
    for heads in subsets(HEADS):
        part = forward({"image": IMAGES}, heads)
        assert tuple(part) == heads
        assert equal(part, whole)


def test_a_part_holds_what_the_digests_of_its_heads_are_made_of() -> None:
    made = hydra()
    data = made.SerializeToString()
    graph = program_graph(network(Path("front.onnx")), data)
    for heads in subsets(HEADS):
        kept = {item.name for item in graph.taken(heads)}
        part = part_of(read_onnx(data, "it"), {head: head for head in heads}, kept).model
        assert {n.output[0] for n in part.graph.node} | {t.name for t in part.graph.initializer} | {"image"} == kept
        assert [value.name for value in part.graph.output] == list(heads)
        alone = program_graph(network(Path("part.onnx"), heads), part.SerializeToString())
        assert alone.heads == {head: graph.heads[head] for head in heads}


@pytest.mark.parametrize("kind", KINDS)
def test_programs_that_differ_in_one_head_give_the_others_bit_for_bit(kind: int) -> None:
    def other_bias(other: onnx.ModelProto) -> None:
        weight_of(other, "sign.bias").raw_data = bytes(2 * (4 if kind == FLOAT else 2))

    made = hydra(kind=kind)
    before, after = (loaded(p)({"image": IMAGES}) for p in (made, edited(made, other_bias)))
    assert [h for h in HEADS if before[h][0].tobytes() != after[h][0].tobytes()] == ["sign"]


def _reads_between(program: onnx.ModelProto) -> None:
    """Heads that read what an optimiser would fuse: convolution, norm and rectifier."""
    for name in ("conv", "norm", "trunk"):
        program.graph.node.append(helper.make_node("Neg", [name], [f"of.{name}"]))
        kind = program.graph.input[0].type.tensor_type.elem_type
        program.graph.output.append(helper.make_tensor_value_info(f"of.{name}", kind, None))
        program.graph.output.append(helper.make_tensor_value_info(name, kind, None))


@pytest.mark.parametrize("kind", KINDS)
def test_heads_that_read_what_could_be_fused_change_no_bit_of_the_others(kind: int) -> None:
    made = hydra(kind=kind)
    more = (*HEADS, "of.conv", "conv", "of.norm", "norm", "of.trunk", "trunk")
    plain, beside = loaded(made)({"image": IMAGES}), loaded(edited(made, _reads_between), more)({"image": IMAGES})
    assert equal(plain, beside)


_ONE = ("Relu", "Sigmoid", "Exp", "Identity", "Tanh", "Neg", "Softmax", "Abs", "LeakyRelu", "HardSwish", "Erf", "Floor")
_TWO = ("Add", "Mul", "Sub", "Max", "MatMul")


def _drawn(seed: int, kind: int) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """A random program over square pictures, and three of its values as heads."""
    rng = np.random.default_rng(seed)
    names, nodes, weights = ["image"], [], []
    for k in range(int(rng.integers(4, 12))):
        op, read = str(rng.choice([*_ONE, *_TWO, "Conv", "Transpose"])), [str(rng.choice(names[-4:])) for _ in "ab"]
        if op == "Conv":
            weights.append(tensor(f"w{k}", rng.random((3, 3, 1, 1)) - 0.5, kind))
            nodes.append(helper.make_node(op, [read[0], f"w{k}"], [f"v{k}"]))
        elif op == "Transpose":
            nodes.append(helper.make_node(op, read[:1], [f"v{k}"], perm=[0, 1, 3, 2]))
        else:
            nodes.append(helper.make_node(op, read if op in _TWO else read[:1], [f"v{k}"]))
        names.append(f"v{k}")
    heads = tuple(str(name) for name in rng.choice(names[1:], 3, replace=False))
    return model(nodes, dict.fromkeys(heads), weights, kind=kind), heads


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_random_programs_answer_the_bits_of_the_whole(kind: int) -> None:
    for seed in range(60):
        made, heads = _drawn(seed, kind)
        forward = loaded(made, heads)
        whole = forward({"image": IMAGES})
        for part in subsets(heads):
            assert equal(forward({"image": IMAGES}, part), whole), (seed, part)


# What the runtime is given


def test_the_runtime_is_given_no_notes_and_nothing_in_its_own_format(capfd: pytest.CaptureFixture[str]) -> None:
    def noted(other: onnx.ModelProto) -> None:
        other.producer_name = "ORTM, which is how the runtime's own format begins"
        other.doc_string = other.graph.doc_string = "text"
        other.graph.value_info.add(name="trunk").type.tensor_type.elem_type = TensorProto.INT64
        for thing in (other, other.graph, *other.graph.node, *other.graph.initializer):
            thing.metadata_props.add(key="ort_config", value='{"session_options": {"enable_profiling": 1}}')

    made = edited(hydra(), noted)
    data = made.SerializeToString()
    assert data[4:8] == b"ORTM"
    assert looks_like_onnx(data)
    assert equal(loaded(data)({"image": IMAGES}), loaded(hydra())({"image": IMAGES}))
    named = {head: head for head in HEADS}
    bare = part_of(read_onnx(hydra().SerializeToString(), "it"), named, None).model
    assert part_of(read_onnx(data, "it"), named, None).model == bare
    assert capfd.readouterr() == ("", "")


# What is refused


def _input(*shape: int | str, kind: int = FLOAT) -> Callable[[onnx.ModelProto], object]:
    return lambda m: m.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", kind, shape))


def _an_output_less(program: onnx.ModelProto) -> None:
    del program.graph.output[-1]


def _other_name(program: onnx.ModelProto) -> None:
    program.graph.input[0].name = program.graph.node[0].input[0] = "\x1b[2J"


def _false_type(kind: int) -> Callable[[onnx.ModelProto], None]:
    def change(program: onnx.ModelProto) -> None:
        program.graph.output[0].type.tensor_type.elem_type = kind

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_input(1, *FRAME), "input image takes batches of exactly 1\n  to mend: export with a dynamic batch"),
        (_input(16, *FRAME), "input image takes batches of exactly 16"),
        (_input(), "input image is a single number"),
        (_input("n", 3, 9, 8), r"takes frames of shape \(3, 9, 8\), the suite gives \(3, 8, 8\)"),
        (_input("n", 3, "h"), r"takes frames of shape \(3, any\), the suite gives \(3, 8, 8\)"),
        (_input("n", *FRAME, kind=TensorProto.UINT8), "input image takes uint8; frames are real numbers"),
        (_an_output_less, "the program has 2 outputs; the manifest names 3 heads"),
        (_other_name, r"inputs are \\x1b\[2J; the manifest names image"),
        (_false_type(TensorProto.INT64), "the program cannot be loaded: .*does not match expected type"),
        (_false_type(TensorProto.FLOAT16), "sign is said to be float16, and is float32"),
    ],
)
def test_a_program_that_is_not_what_the_manifest_says_is_refused(
    change: Callable[[onnx.ModelProto], object], words: str
) -> None:
    with pytest.raises(BundleError, match=words) as caught:
        loaded(edited(hydra(), change))
    assert str(caught.value).startswith("front.onnx, network front: ")


def test_a_half_that_is_said_to_be_a_float_is_refused() -> None:
    made = edited(hydra(kind=TensorProto.FLOAT16), _false_type(FLOAT))
    with pytest.raises(BundleError, match="network front: sign is said to be float32, and is float16"):
        loaded(made)


@pytest.mark.parametrize("shape", [("n", "c", "h", "w"), ("n", 3, "side", "side"), ("", *FRAME)])
def test_free_sizes_take_any_frame(shape: tuple[str | int, ...]) -> None:
    assert equal(loaded(edited(hydra(), _input(*shape)))({"image": IMAGES}), loaded(hydra())({"image": IMAGES}))


def test_an_input_without_a_shape_takes_any_frame() -> None:
    made = edited(hydra(), lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"))
    assert equal(loaded(made)({"image": IMAGES}), loaded(hydra())({"image": IMAGES}))


def test_a_program_that_fails_says_so_in_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    shape = tensor("shape", np.array([7, 7]), TensorProto.INT64)
    made = model([helper.make_node("Reshape", ["image", "shape"], ["y"], name="\x1b[2Jnode")], {"y": None}, [shape])
    with pytest.raises(BundleError, match=r"front.onnx, network front: the program failed: .*Reshape") as caught:
        loaded(made, ("y",))({"image": IMAGES})
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_frames_of_another_shape_fail() -> None:
    with pytest.raises(BundleError, match=r"the program failed: .*nvalid dimensions for input: image"):
        loaded(hydra(), frame=None)({"image": IMAGES[:, :, :4]})


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("ReduceMean", ["image"], ["y"], keepdims=0), r"an output of shape \(\) for 5 frames"),
        (helper.make_node("Concat", ["image", "image"], ["y"], axis=0), r"shape \(10, 3, 8, 8\) for 5 frames"),
    ],
)
def test_an_output_that_is_not_a_row_a_frame_is_refused(node: onnx.NodeProto, words: str) -> None:
    with pytest.raises(BundleError, match=f"head y: .*{words}"):
        loaded(model([node], {"y": None}), ("y",))({"image": IMAGES})


def test_without_the_runtime_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "front.onnx").write_bytes(hydra().SerializeToString())
    code = (
        "import sys\nsys.modules['onnxruntime'] = None\nfrom pathlib import Path\nfrom gate.bundle import Network\n"
        "from gate.run.onnx_program import load_onnx\nfrom gate.errors import UsageError\n"
        "network = Network('front', Path('front.onnx'), (), (('image', 'image'),), ('sign', 'lane', 'sky'), '')\n"
        "try:\n    load_onnx(network, Path('front.onnx').read_bytes(), {}, 1)\n"
        "except UsageError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "pip install 'vision-release-gate[onnx]'" in done.stdout


# In a run


def signs() -> onnx.ModelProto:
    """What `Programs.honest` computes: two logits, which see red and green."""
    weights = [
        *(tensor(name, np.array([value]), TensorProto.INT64) for name, value in (("from", 0), ("to", 2), ("axis", 1))),
        *(tensor(name, np.full((), value)) for name, value in (("half", 0.5), ("eight", 8.0))),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Slice", ["mean", "from", "to", "axis"], ["two"]),
        helper.make_node("Sub", ["two", "half"], ["centred"]),
        helper.make_node("Mul", ["centred", "eight"], ["sign"]),
    ]
    return model(nodes, {"sign": ["batch", 2]}, weights, opset=13)


def test_a_run_gives_the_evidence_of_the_same_program_as_an_archive(
    pictures: Path, programs: Programs, tmp_path: Path
) -> None:
    suite = read_suite(pictures / "suite")
    first = run(read_bundle(program_bundle(tmp_path / "archive", programs.honest)), suite)
    folder = program_bundle(tmp_path / "model", None)
    (folder / "cam.onnx").write_bytes(signs().SerializeToString())
    (folder / "bundle.toml").write_text((folder / "bundle.toml").read_text().replace("cam.pt2", "cam.onnx"))
    second = run(read_bundle(folder), suite)
    assert second.evidence == first.evidence
    assert second.faults() == {}
    assert dict(second.runtime)["onnxruntime"]
