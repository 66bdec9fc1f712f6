"""ONNX files that reach outside, call what is not known, or exhaust their reader are refused from their bytes."""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, defs, helper

from gate.bundle import onnx_operators, read_bundle, scanned
from gate.bundle.onnx_scan import read_onnx
from gate.bundle.tensors import TYPES, raw_bytes
from gate.bundle.wire import MAX_DEPTH, MAX_FIELDS, check_wire
from gate.errors import BundleError, ConfigError, RefusedError
from tests.support.onnx_models import FLOAT, edited, hydra, model, tensor, weight_of
from tests.support.programs import Programs
from tests.support.tiny import gate, program_bundle, refused


def put(folder: Path, data: bytes, name: str = "cam.onnx") -> Path:
    """A bundle whose program goes by this name."""
    program_bundle(folder, None)
    text = (folder / "bundle.toml").read_text()
    (folder / "bundle.toml").write_text(text.replace("cam.pt2", name))
    (folder / name).write_bytes(data)
    return folder / name


def refuse(
    data: bytes | onnx.ModelProto, folder: Path, *words: str, error: type[BundleError] = RefusedError, name: str = ""
) -> None:
    """The scan refuses the file, and so does the command line, with one line that has all words."""
    raw = data if isinstance(data, bytes) else data.SerializeToString()
    path = put(folder / "bundle", raw, name or "cam.onnx")
    with pytest.raises(error) as caught:
        scanned(path)
    assert type(caught.value) is error
    for command in ("check", "show"):
        refused(gate("bundle", command, "bundle", cwd=folder), 4, f"bundle/{path.name}", *words)


@pytest.fixture(scope="module")
def honest() -> onnx.ModelProto:
    return hydra()


def relu(**more: object) -> onnx.NodeProto:
    return helper.make_node("Relu", ["image"], ["y"], **more)


# Honest models


def test_an_honest_model_passes_and_its_bytes_are_handed_on(honest: onnx.ModelProto, tmp_path: Path) -> None:
    data = honest.SerializeToString()
    assert scanned(put(tmp_path, data)) == data


@pytest.mark.parametrize("name", ["If", "Loop", "Scan"])
def test_a_model_with_branches_and_loops_passes(name: str, tmp_path: Path) -> None:
    assert scanned(put(tmp_path, control(name).SerializeToString()))


def test_the_scan_imports_neither_torch_nor_a_runtime(honest: onnx.ModelProto, tmp_path: Path) -> None:
    put(tmp_path, honest.SerializeToString())
    code = (
        "import sys\nfrom pathlib import Path\nfrom gate.bundle import describe, digests_of, read_bundle, scanned\n"
        "scanned(Path('cam.onnx'))\n"
        "print([m for m in ('torch', 'onnxruntime', 'pandas') if m in sys.modules], 'onnx' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"


def test_without_the_onnx_package_the_extra_is_named(honest: onnx.ModelProto, tmp_path: Path) -> None:
    put(tmp_path, honest.SerializeToString())
    code = (
        "import sys\nsys.modules['onnx'] = None\nsys.argv = ['gate', 'bundle', 'check', '.']\n"
        "from gate.cli import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'vision-release-gate[onnx]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_operators_of_the_runtime_that_its_quantiser_writes_pass(tmp_path: Path) -> None:
    nodes = [helper.make_node("QLinearSigmoid", ["image", "s", "", "s", ""], ["y"], domain="com.microsoft")]
    made = model(nodes, {"y": None}, [tensor("s", np.ones(()))], domains=["com.microsoft"])
    assert scanned(put(tmp_path, made.SerializeToString()))


# What a file is, its content says


def test_a_name_that_lies_about_its_content_is_refused(
    honest: onnx.ModelProto, programs: Programs, tmp_path: Path
) -> None:
    onnx_words = ("an ONNX model under the name of a torch.export archive", "name it cam.onnx")
    refuse(honest, tmp_path / "a", *onnx_words, name="cam.pt2")
    archive_words = ("a torch.export archive under the name of an ONNX model", "name it cam.pt2")
    refuse(programs.honest, tmp_path / "b", *archive_words)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pickle.dumps({"a": 1}, 4), id="pickle"),
        pytest.param(pickle.dumps({"a": 1}, 0), id="pickle 0"),
        pytest.param(b"x\x9c" + bytes(40), id="joblib"),
        pytest.param(b"\x7fELF" + bytes(60), id="native"),
        pytest.param(b"\x93NUMPY\x01\x00" + bytes(60), id="npy"),
        pytest.param(b"\x10\x00\x00\x00{}", id="safetensors"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", id="pointer"),
        pytest.param(b"", id="empty"),
        pytest.param(b"ORTM", id="ort"),
    ],
)
@pytest.mark.parametrize("name", ["cam.onnx", "cam.pt2"])
def test_anything_else_is_refused_whatever_it_is_called(data: bytes, name: str, tmp_path: Path) -> None:
    kind = "an ONNX model" if name == "cam.onnx" else "a torch.export archive"
    refuse(data, tmp_path, f"not {kind}", error=BundleError, name=name)


def test_only_the_two_endings_can_be_named(honest: onnx.ModelProto, tmp_path: Path) -> None:
    put(tmp_path, honest.SerializeToString(), "cam.pt")
    with pytest.raises(ConfigError, match=r"torch.export archives \(.pt2\) or ONNX models \(.onnx\)"):
        read_bundle(tmp_path)


# Outside the file


@pytest.mark.parametrize("location", ["../../../etc/passwd", "/etc/passwd", "weights.bin", "a\u202eb"])
def test_weights_in_another_file_are_refused(honest: onnx.ModelProto, tmp_path: Path, location: str) -> None:
    def outside(program: onnx.ModelProto) -> None:
        weight = weight_of(program, "sign.bias")
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=location)

    shown = location.replace("\u202e", "\\u202e")
    refuse(edited(honest, outside), tmp_path, "cam.onnx: weight sign.bias", f"in another file, {shown}", "to mend:")


def test_a_location_that_is_only_mentioned_is_refused(honest: onnx.ModelProto, tmp_path: Path) -> None:
    def mentioned(program: onnx.ModelProto) -> None:
        weight_of(program, "sign.bias").external_data.add(key="location", value="weights.bin")

    refuse(edited(honest, mentioned), tmp_path, "in another file, weights.bin")


def test_a_constant_in_another_file_is_refused_at_any_depth(tmp_path: Path) -> None:
    outside = tensor("c", np.zeros(2))
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="../secret")
    for nodes in ([helper.make_node("Constant", [], ["y"], value=outside)], [branch(outside)]):
        refuse(model(nodes, {"y": None}), tmp_path, "in another file, ../secret")


# What could do more than compute


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (relu(domain="com.evil"), ("Relu is an operator of another domain, com.evil", "ship predictions")),
        (relu(domain="ai.onnx.ml"), ("operator of another domain, ai.onnx.ml",)),
        (relu(domain="com.microsoft"), ("Relu is not on the list",)),
        (relu(domain="ai.onnx.training"), ("operator of another domain",)),
        (relu(overload="mine"), ("operator of another domain",)),
        (helper.make_node("Shell", ["image"], ["y"]), ("Shell is not on the list of operators that only compute",)),
        (helper.make_node("\x1b[31mRelu\nok", ["image"], ["y"]), ("\\x1b[31mRelu\\nok is not on the list",)),
        (helper.make_node("RandomNormalLike", ["image"], ["y"]), ("RandomNormalLike draws random numbers",)),
        (helper.make_node("Bernoulli", ["image"], ["y"]), ("Bernoulli draws random numbers",)),
        (helper.make_node("ImageDecoder", ["image"], ["y"]), ("ImageDecoder is not on the list",)),
        (helper.make_node("StringNormalizer", ["image"], ["y"]), ("StringNormalizer is not on the list",)),
        (helper.make_node("SequenceConstruct", ["image"], ["y"]), ("SequenceConstruct is not on the list",)),
        (helper.make_node("Dropout", ["image", "", "image"], ["y"]), ("Dropout that can be switched to training",)),
        (helper.make_node("Constant", [], ["y"], value_string="text"), ("tensors of texts",)),
        (helper.make_node("Cast", ["image"], ["y"], to=TensorProto.STRING), ("tensors of texts",)),
    ],
)
def test_what_does_more_than_compute_is_refused(node: onnx.NodeProto, words: tuple[str, ...], tmp_path: Path) -> None:
    domains = ["com.evil", "ai.onnx.ml", "com.microsoft", "ai.onnx.training"]
    refuse(model([node], {"y": None}, domains=domains), tmp_path, "cam.onnx: node", *words)


def test_what_does_more_than_compute_is_refused_in_a_branch(tmp_path: Path) -> None:
    inner = helper.make_node("RandomUniform", [], ["t"], shape=[1])
    refuse(
        model([branch(tensor("c", np.zeros(1)), inner)], {"y": None}), tmp_path, "RandomUniform draws random numbers"
    )


def _function(program: onnx.ModelProto) -> None:
    program.functions.append(helper.make_function("mine", "F", ["a"], ["b"], [relu()], [helper.make_opsetid("", 18)]))


def _training(program: onnx.ModelProto) -> None:
    program.training_info.add()


def _sparse(program: onnx.ModelProto) -> None:
    program.graph.sparse_initializer.add()


def _of_a_function(program: onnx.ModelProto) -> None:
    program.graph.node[0].attribute.add(name="group", ref_attr_name="outer", type=AttributeProto.INT)


def _a_graph(program: onnx.ModelProto) -> None:
    program.graph.node[0].attribute.append(helper.make_attribute("body", helper.make_graph([], "g", [], [])))


def _types(program: onnx.ModelProto) -> None:
    program.graph.node[0].attribute.add(name="type", type=AttributeProto.TYPE_PROTO)


def _a_part(program: onnx.ModelProto) -> None:
    weight_of(program, "sign.bias").segment.begin = 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_function, "a model with functions of its own"),
        (_training, "a model with instructions for training"),
        (_sparse, "sparse weights"),
        (_of_a_function, "attribute group is of an unknown kind"),
        (_a_graph, "Conv with a graph of its own"),
        (_types, "attribute type is of an unknown kind"),
        (_a_part, "weight sign.bias: a part of a tensor"),
    ],
)
def test_parts_of_the_format_that_nothing_here_needs_are_refused(
    honest: onnx.ModelProto, change: Callable[[onnx.ModelProto], None], words: str, tmp_path: Path
) -> None:
    refuse(edited(honest, change), tmp_path, words)


# Broken models


def _opset(version: int) -> Callable[[onnx.ModelProto], None]:
    def change(program: onnx.ModelProto) -> None:
        program.opset_import[0].version = version

    return change


def _two_opsets(program: onnx.ModelProto) -> None:
    program.opset_import.add(domain="ai.onnx", version=12)


def _no_opset(program: onnx.ModelProto) -> None:
    program.ClearField("opset_import")


def _no_nodes(program: onnx.ModelProto) -> None:
    program.graph.ClearField("node")


def _twice(program: onnx.ModelProto) -> None:
    program.graph.node.extend([program.graph.node[-1]])


def _circle(program: onnx.ModelProto) -> None:
    program.graph.node[0].input[0] = "trunk"


def _nobody(program: onnx.ModelProto) -> None:
    program.graph.node[-1].input[0] = "nowhere"


def _out_of_order(program: onnx.ModelProto) -> None:
    first = onnx.NodeProto()
    first.CopyFrom(program.graph.node[0])
    del program.graph.node[0]
    program.graph.node.append(first)


def _weight_twice(program: onnx.ModelProto) -> None:
    program.graph.initializer.add().CopyFrom(program.graph.initializer[0])


def _output_twice(program: onnx.ModelProto) -> None:
    program.graph.output.add().CopyFrom(program.graph.output[0])


def _no_output(program: onnx.ModelProto) -> None:
    program.graph.output[0].name = "nowhere"


def _sequence(program: onnx.ModelProto) -> None:
    value = program.graph.input[0]
    value.type.sequence_type.elem_type.tensor_type.elem_type = FLOAT


def _text(program: onnx.ModelProto) -> None:
    program.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def _attribute_twice(program: onnx.ModelProto) -> None:
    program.graph.node[0].attribute.append(helper.make_attribute("pads", [0, 0, 0, 0]))


def _two_values(program: onnx.ModelProto) -> None:
    program.graph.node[0].attribute[0].i = 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_opset(6), "its operators are of opset 6; known are 7 to 26"),
        (_opset(27), "its operators are of opset 27; known are 7 to 26"),
        (_opset(-1), "its operators are of opset -1"),
        (_two_opsets, "a domain of operators has two versions"),
        (_no_opset, "its operators are of opset None"),
        (_no_nodes, "not an ONNX model: it has no nodes"),
        (_twice, "sky is made twice"),
        (_circle, "it reads trunk, which no earlier node makes"),
        (_nobody, "it reads nowhere, which no earlier node makes"),
        (_out_of_order, "it reads conv, which no earlier node makes"),
        (_weight_twice, "a weight without a name, or two of one name"),
        (_output_twice, "an output without a name, or two of one name"),
        (_no_output, "no node makes the output nowhere"),
        (_sequence, "image is not a tensor of numbers"),
        (_text, "image is not a tensor of numbers"),
        (_attribute_twice, "Conv has an attribute twice"),
        (_two_values, "attribute pads has two values"),
    ],
)
def test_a_broken_model_is_refused(
    honest: onnx.ModelProto, change: Callable[[onnx.ModelProto], None], words: str, tmp_path: Path
) -> None:
    refuse(edited(honest, change), tmp_path, words, error=BundleError)


def test_an_operator_whose_version_is_not_said_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("QLinearSigmoid", ["image", "image", "", "image"], ["y"], domain="com.microsoft")
    refuse(model([node], {"y": None}), tmp_path, "the version of QLinearSigmoid is not said", error=BundleError)


@pytest.mark.parametrize("version", [2, 14, 100])
def test_a_version_of_the_format_that_is_not_known_is_refused(
    honest: onnx.ModelProto, version: int, tmp_path: Path
) -> None:
    def change(program: onnx.ModelProto) -> None:
        program.ir_version = version

    refuse(edited(honest, change), tmp_path, f"version {version} of the format is not known", error=BundleError)


# Tensors


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.dims.__setitem__(0, 10**12), "8 bytes of values where its shape takes 4,000,000,000,000"),
        (lambda t: t.ClearField("raw_data"), "0 bytes of values where its shape takes 8"),
        (lambda t: t.dims.__setitem__(0, -2), "a shape with a negative size"),
        (lambda t: t.dims.extend([1 << 40] * 50), "8 bytes of values where its shape takes"),
        (lambda t: t.float_data.extend([1, 2]), "in two places"),
        (lambda t: t.int64_data.append(1), "values of another type than float32"),
        (lambda t: t.string_data.append(b"x"), "values of another type than float32"),
        (lambda t: setattr(t, "data_type", TensorProto.STRING), "a type of numbers that is not known (8)"),
        (lambda t: setattr(t, "data_type", TensorProto.COMPLEX64), "a type of numbers that is not known (14)"),
        (lambda t: setattr(t, "data_type", 99), "a type of numbers that is not known (99)"),
    ],
)
def test_a_tensor_that_is_not_what_it_says_is_refused(
    honest: onnx.ModelProto, change: Callable[[TensorProto], None], words: str, tmp_path: Path
) -> None:
    broken = edited(honest, lambda program: change(weight_of(program, "sign.bias")))
    refuse(broken, tmp_path, "weight sign.bias", words, error=BundleError)


@pytest.mark.parametrize("code", sorted(TYPES))
def test_bytes_of_a_tensor_are_the_same_however_they_are_kept(code: int) -> None:
    """What helper.make_tensor writes of numbers, and of the same as raw bytes, onnx itself reads as equal."""
    numbers = [0, 1, 1, 0, 1, 1]
    typed = helper.make_tensor("t", code, [6], numbers)
    values = onnx.numpy_helper.to_array(typed)
    kept = onnx.numpy_helper.from_array(values, "t")
    assert kept.data_type == code
    assert kept.HasField("raw_data")
    assert not typed.HasField("raw_data")
    assert raw_bytes(typed) == raw_bytes(kept) == kept.raw_data


@pytest.mark.parametrize(
    ("code", "value"), [(TensorProto.INT8, 200), (TensorProto.UINT8, -1), (TensorProto.FLOAT16, -1)]
)
def test_numbers_that_a_type_does_not_have_are_refused(code: int, value: int) -> None:
    with pytest.raises(ValueError, match="values that are not"):
        raw_bytes(TensorProto(data_type=code, dims=[1], int32_data=[value]))


# Bytes that two readers could read differently


def varint(number: int) -> bytes:
    said = b""
    while number >= 0x80:
        said += bytes([number & 0x7F | 0x80])
        number >>= 7
    return said + bytes([number])


def field(number: int, content: bytes) -> bytes:
    """A field of bytes or of a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


BEGIN = b"\x08\x0a"  # ir_version 10


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (field(200, b"x"), "ModelProto has an unknown field 200"),
        (field(7, field(99, b"x")), "has its field graph twice"),
        (b"\x08\x0a", "ModelProto has its field ir_version twice"),
        (field(14, field(9, b"x")), "StringStringEntryProto has an unknown field 9"),
        (field(2, b"\xff\xfe"), "can't decode byte 0xff"),
        (b"\x73", "ModelProto.metadata_props is written as another type"),
        (b"\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "it ends in the middle of a number"),
        (b"\x72\xff\xff\xff\xff\x0f", "it ends in the middle of a field"),
        (field(20, field(1, field(1, field(5, field(20, b""))))), "is written as another type"),
        (b"\x15\x00\x00\x00\x00", "ModelProto.producer_name is written as another type"),
        (b"\x28", "it ends in the middle of a number"),
    ],
)
def test_bytes_with_more_than_one_reading_are_refused(
    honest: onnx.ModelProto, more: bytes, words: str, tmp_path: Path
) -> None:
    refuse(honest.SerializeToString() + more, tmp_path, "not an ONNX model", words, error=BundleError)


def test_an_attribute_of_an_unknown_kind_is_refused_from_its_bytes(tmp_path: Path) -> None:
    attribute = field(1, b"a") + b"\xa0\x01\x63"  # type = 99
    node = field(1, b"image") + field(2, b"y") + field(4, b"Relu") + field(5, attribute)
    refuse(BEGIN + field(7, field(1, node)), tmp_path, "AttributeProto.type is 99", error=BundleError)


@pytest.mark.parametrize("dims", [[(1 << 63) - 1] * 100_000, [1] * 65, [(1 << 40) + 1]])
def test_a_weight_of_very_many_or_very_large_dimensions_is_refused(
    honest: onnx.ModelProto, tmp_path: Path, dims: list[int]
) -> None:
    def change(program: onnx.ModelProto) -> None:
        weight_of(program, "sign.bias").dims[:] = dims

    refuse(
        edited(honest, change), tmp_path, "weight sign.bias: more than 64 dimensions, or one above 1,099,511,627,776"
    )


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_model_is_refused(honest: onnx.ModelProto, tmp_path: Path, part: float) -> None:
    data = honest.SerializeToString()
    refuse(data[: int(part * len(data))], tmp_path, "cam.onnx", error=BundleError)


def test_flipped_bits_are_read_or_refused_and_never_more(honest: onnx.ModelProto) -> None:
    data = honest.SerializeToString()
    rng = np.random.default_rng(0)
    refused_ones = 0
    for _ in range(400):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            damaged[at] ^= 1 << int(rng.integers(0, 8))
        try:
            read_onnx(bytes(damaged), "it")
        except BundleError:
            refused_ones += 1
    assert 50 < refused_ones < 400


def test_what_the_strict_reader_accepts_the_parser_writes_again_with_the_same_length(honest: onnx.ModelProto) -> None:
    """Nothing was skipped: nothing is lost when it is written again."""
    data = honest.SerializeToString()
    check_wire(data, onnx.ModelProto.DESCRIPTOR)
    assert len(onnx.ModelProto.FromString(data).SerializeToString()) == len(data)


# Bombs


def limited(folder: Path) -> subprocess.CompletedProcess[str]:
    """`gate bundle check` with five seconds of processor time and a gigabyte of memory."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    command = [sys.executable, "-m", "gate", "bundle", "check", "bundle"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, preexec_fn=limit)


def nested(levels: int) -> bytes:
    """Types of sequences of sequences, without ever ending."""
    kind = b""
    for _ in range(levels):
        kind = field(4, field(1, kind))
    return BEGIN + field(7, field(11, field(1, b"image") + field(2, kind)))


def branches(levels: int) -> onnx.ModelProto:
    node = relu()
    for _ in range(levels):
        inner = helper.make_graph([node], "b", [], [helper.make_tensor_value_info("y", FLOAT, None)])
        node = helper.make_node("If", ["image"], ["y"], then_branch=inner, else_branch=inner)
        if node.ByteSize() > 1 << 20:  # every level doubles
            del node.attribute[1]
    return model([node], {"y": None})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(BEGIN + field(7, b"\x0a\x00" * 30_000_000), f"more than {MAX_FIELDS:,} fields", id="nodes"),
        pytest.param(
            BEGIN + field(7, field(1, b"\x0a\x00" * 9_000_000)), f"more than {MAX_FIELDS:,} fields", id="inputs"
        ),
        pytest.param(BEGIN + field(7, field(5, field(1, bytes(60_000_000)))), "too many packed integers", id="dims"),
        pytest.param(nested(30_000), f"nested more than {MAX_DEPTH} deep", id="types"),
        pytest.param(branches(9).SerializeToString(), "nested more than", id="branches"),
        pytest.param(BEGIN + field(2, bytes(200_000_000)), "has no nodes", id="long name"),
    ],
)
def test_a_bomb_is_refused_in_bounded_time_and_memory(data: bytes, words: str, tmp_path: Path) -> None:
    put(tmp_path / "bundle", data)
    ended = limited(tmp_path)
    assert (ended.returncode, ended.stdout) == (4, ""), ended.stderr[-2000:]
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_weight_of_a_terabyte_takes_no_memory(honest: onnx.ModelProto, tmp_path: Path) -> None:
    def giant(program: onnx.ModelProto) -> None:
        weight = weight_of(program, "trunk.conv")
        weight.dims[0] = 1 << 40
        weight.ClearField("raw_data")

    put(tmp_path / "bundle", edited(honest, giant).SerializeToString())
    ended = limited(tmp_path)
    assert ended.returncode == 4
    assert "0 bytes of values where its shape takes" in ended.stderr


def branch(constant: TensorProto, inner: onnx.NodeProto | None = None) -> onnx.NodeProto:
    """An If over a constant, in both of whose branches stand the constant and perhaps a node."""
    nodes = [helper.make_node("Constant", [], ["inner"], value=constant), *([inner] if inner is not None else [])]
    graph = helper.make_graph(nodes, "b", [], [helper.make_tensor_value_info("inner", FLOAT, None)])
    return helper.make_node("If", ["image"], ["y"], then_branch=graph, else_branch=graph)


def control(name: str) -> onnx.ModelProto:
    """A model that doubles its input in a branch, in a loop of three rounds, or along the frames."""
    value = helper.make_tensor_value_info
    if name == "If":
        body = helper.make_graph([helper.make_node("Add", ["image", "image"], ["z"])], "b", [], [value("z", 1, None)])
        node = helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=body)
    elif name == "Loop":
        nodes = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["x", "image"], ["z"])]
        given = [value("k", 7, []), value("go", 9, []), value("x", 1, None)]
        body = helper.make_graph(nodes, "b", given, [value("on", 9, []), value("z", 1, None)])
        node = helper.make_node("Loop", ["one", "yes", "image"], ["y"], body=body)
    else:
        nodes = [helper.make_node("Add", ["x", "x"], ["z"])]
        body = helper.make_graph(nodes, "b", [value("x", 1, None)], [value("z", 1, None)])
        node = helper.make_node("Scan", ["image"], ["y"], body=body, num_scan_inputs=1)
    yes, one = tensor("yes", np.ones(()), TensorProto.BOOL), tensor("one", np.ones(()), TensorProto.INT64)
    return model([node], {"y": ["batch", 3, 8, 8]}, [yes, one])


# The tables of operators


def test_the_tables_hold_what_the_standard_says() -> None:
    schemas: dict[str, list[defs.OpSchema]] = {}
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "":
            schemas.setdefault(schema.name, []).append(schema)
    known = onnx_operators.PURE | onnx_operators.CONTROL | onnx_operators.RANDOM
    assert known <= set(schemas)
    graphs = {defs.OpSchema.AttrType.GRAPH, defs.OpSchema.AttrType.GRAPHS}
    assert onnx_operators.CONTROL | {"SequenceMap"} == {
        name for name, all_of in schemas.items() if any(a.type in graphs for s in all_of for a in s.attributes.values())
    }
    for name in onnx_operators.PURE:
        for schema in schemas[name]:
            allowed = [t for constraint in schema.type_constraints for t in constraint.allowed_type_strs]
            assert not allowed or any(t.startswith("tensor(") for t in allowed), name
    # Random by nature or in training; AffineGrid is called so because its function body is.
    random = {n for n, all_of in schemas.items() if any("NonDet" in str(s.node_determinism) for s in all_of)}
    assert random - onnx_operators.RANDOM - onnx_operators.CONTROL == {"AffineGrid", "Dropout", "SequenceMap"}
