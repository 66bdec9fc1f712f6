"""A head's digest changes with all that its value is made of, and with nothing else; what is unsure is a whole."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from gate.bundle import operators
from tests.support.hydra import (
    FRAME,
    Hydra,
    archive,
    changed,
    digests,
    edited,
    made,
    nodes_of,
    saved,
    truly_reached,
    weight_files,
    weights,
)
from tests.support.programs import Programs, archive_of, entries_of

HEADS = ("sign", "lane", "sky")


@pytest.fixture(scope="module")
def hydra() -> bytes:
    return archive(Hydra())


# What leaves every digest as it is


def test_a_second_export_changes_nothing(hydra: bytes) -> None:
    assert digests(archive(Hydra())) == digests(hydra)


def test_loading_and_saving_again_changes_nothing(hydra: bytes) -> None:
    import io

    assert digests(saved(torch.export.load(io.BytesIO(hydra)))) == digests(hydra)


def test_the_order_of_heads_changes_nothing(hydra: bytes) -> None:
    heads = ("sky", "sign", "lane")
    assert digests(archive(Hydra(heads)), heads) == digests(hydra)


def test_a_head_more_or_less_changes_nothing_for_the_others(hydra: bytes) -> None:
    more, fewer = ("sign", "lane", "sky", "car"), ("sign", "sky")
    assert changed(digests(hydra), digests(archive(Hydra(more)), more)) == set()
    assert changed(digests(hydra), digests(archive(Hydra(fewer)), fewer)) == set()


def test_other_names_of_nodes_and_weights_change_nothing(hydra: bytes) -> None:
    class Renamed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inner = Hydra()
            self.stem, self.outs, self.pre = inner.trunk, inner.heads, inner.before

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            x = self.stem(image)
            return {n: h((self.pre[n](x) if n in self.pre else x).mean((2, 3))) for n, h in self.outs.items()}

    assert digests(archive(Renamed())) == digests(hydra)
    text = entries_of(hydra)["archive/models/model.json"].decode()
    renamed = text.replace('"conv2d', '"sugar').replace('"batch_norm"', '"salt"')
    assert renamed != text
    with_target = renamed.replace("torch.ops.aten.sugar", "torch.ops.aten.conv2d")
    assert digests(archive_of(entries_of(hydra) | {"archive/models/model.json": with_target.encode()})) == digests(
        hydra
    )


def test_where_nodes_came_from_in_source_changes_nothing(hydra: bytes) -> None:
    def elsewhere(document: dict[str, Any]) -> None:
        for node in nodes_of(document):
            node["metadata"] = {"stack_trace": "another file"}

    assert digests(edited(hydra, elsewhere)) == digests(hydra)


def test_the_digest_is_the_same_in_another_process(hydra: bytes, tmp_path: Path) -> None:
    (tmp_path / "front.pt2").write_bytes(hydra)
    code = (
        "from pathlib import Path\nfrom gate.bundle import Network, program_graph\n"
        "network = Network('front', None, (), (('image', 'image'),), ('sign', 'lane', 'sky'), '')\n"
        "print(program_graph(network, Path('front.pt2').read_bytes()).heads['lane'].digest)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digests(hydra)["lane"]


# What changes exactly the heads that it can reach


@pytest.mark.parametrize(
    ("weight", "reached"),
    [
        ("heads.sign.bias", {"sign"}),
        ("before.lane.weight", {"lane"}),
        ("trunk.1.running_mean", {"sign", "lane", "sky"}),
        ("trunk.0.weight", {"sign", "lane", "sky"}),
        ("trunk.1.num_batches_tracked", set()),
    ],
)
def test_one_weight_reaches_the_heads_that_read_it(hydra: bytes, weight: str, reached: set[str]) -> None:
    other = Hydra()
    with torch.no_grad():
        other.state_dict()[weight].add_(1)
    assert changed(digests(hydra), digests(archive(other))) == reached


_SHARED = Hydra()
_PROGRAM: list[bytes] = []


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.sampled_from(sorted(weights(_SHARED))), position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_bit_of_any_weight_reaches_what_a_nan_in_its_place_reaches(which: str, position: int, bit: int) -> None:
    if not _PROGRAM:
        _PROGRAM.append(archive(_SHARED))
    entries, file = entries_of(_PROGRAM[0]), weight_files(_PROGRAM[0])[which]
    data = bytearray(entries[file])
    data[position % len(data)] ^= 1 << bit
    flipped = archive_of(entries | {file: bytes(data)})
    assert changed(digests(_PROGRAM[0]), digests(flipped)) == truly_reached(_SHARED, which)


def test_a_literal_reaches_what_reads_it(hydra: bytes) -> None:
    def eps(document: dict[str, Any]) -> None:
        (norm,) = (n for n in nodes_of(document) if "batch_norm" in n["target"])
        (given_eps,) = (i for i in norm["inputs"] if i["name"] == "eps")
        given_eps["arg"] = {"as_float": 1e-4}

    def keep_one_dimension(document: dict[str, Any]) -> None:
        last = [n for n in nodes_of(document) if n["target"] == "torch.ops.aten.mean.dim"][-1]
        last["inputs"][1]["arg"] = {"as_ints": [3, 2]}

    assert changed(digests(hydra), digests(edited(hydra, eps))) == set(HEADS)
    assert changed(digests(hydra), digests(edited(hydra, keep_one_dimension))) == {"sky"}


def test_two_heads_that_change_places_are_noticed(hydra: bytes) -> None:
    def swapped(document: dict[str, Any]) -> None:
        outputs = document["graph_module"]["graph"]["outputs"]
        specs = document["graph_module"]["signature"]["output_specs"]
        for listed in (outputs, specs):
            listed[0], listed[1] = listed[1], listed[0]

    assert changed(digests(hydra), digests(edited(hydra, swapped))) == {"sign", "lane"}

    class Pair(nn.Module):
        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return image.mean((1, 2, 3)), image.amax((1, 2, 3))

    pair = archive(Pair())
    assert changed(digests(pair, ("a", "b")), digests(pair, ("b", "a"))) == {"a", "b"}


def test_a_copy_of_a_head_has_its_digest(hydra: bytes) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Hydra()

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            answers = self.inner(image)
            return {"sign": answers["sign"], "again": self.inner.heads["sign"](self.inner.trunk(image).mean((2, 3)))}

    both = digests(archive(Twice()), ("sign", "again"))
    assert both["sign"] == both["again"] == digests(hydra)["sign"]


def test_what_is_fed_in_reaches_what_reads_it() -> None:
    class Two(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"a": left.mean((2, 3)), "b": right.mean((2, 3)), "both": (left * right).mean((2, 3))}

    program, heads = archive(Two(), FRAME, FRAME), ("a", "b", "both")
    given_inputs = [{"left": "left", "right": right} for right in ("right", "rear")]
    before, after = ({h: m.digest for h, m in made(program, heads, i).heads.items()} for i in given_inputs)
    # Inputs limit what the whole program takes, so all heads of it are reached by another source.
    assert changed(before, after) == {"a", "b", "both"}


class OneOfTwo(nn.Module):
    """Reads one of its inputs in `a`, and both in `both`."""

    def __init__(self, which: int) -> None:
        super().__init__()
        self.which = which
        self.gain = nn.Parameter(torch.full((4,), 2.0, dtype=torch.float64))

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> dict[str, torch.Tensor]:
        read = (first * self.gain, second * self.gain)
        return {"a": read[self.which], "both": read[0] + read[1]}


@pytest.mark.parametrize("other", [torch.float16, torch.int64])
@pytest.mark.parametrize("fed", ["left", "right"])
def test_the_type_in_which_an_input_is_read_reaches_what_reads_it(other: torch.dtype, fed: str) -> None:
    """One suite input, or two of one form, in two types: rounded to the second, they are other numbers."""
    dynamic = ({0: torch.export.Dim("batch", min=1, max=256)},) * 2
    graphs = []
    for which in (0, 1):
        examples = (torch.zeros(2, 4), torch.zeros(2, 4, dtype=other))
        program = saved(torch.export.export(OneOfTwo(which), examples, dynamic_shapes=dynamic))
        # The head reads `left` either way.
        sources = ("left", fed) if which == 0 else (fed, "left")
        graphs.append(made(program, ("a", "both"), dict(zip(("first", "second"), sources, strict=True))))
    first, second = ({head: m.digest for head, m in graph.heads.items()} for graph in graphs)
    assert [graph.whole for graph in graphs] == ["", ""]
    assert graphs[0].heads["a"].form != graphs[1].heads["a"].form
    assert changed(first, second) == ({"a"} if fed == "left" else {"a", "both"})


def test_how_many_frames_a_program_takes_reaches_all_heads() -> None:
    def limited(frames: int) -> bytes:
        dynamic = ({0: torch.export.Dim("batch", min=1, max=frames)},)
        return saved(torch.export.export(Hydra(), (torch.zeros(2, *FRAME),), dynamic_shapes=dynamic))

    assert changed(digests(limited(16)), digests(limited(64))) == set(HEADS)


@pytest.mark.parametrize("fact", ["schema_version", "opset_version"])
def test_the_version_of_the_format_reaches_all_heads(hydra: bytes, fact: str) -> None:
    def older(document: dict[str, Any]) -> None:
        document[fact][{"schema_version": "minor", "opset_version": "aten"}[fact]] -= 1

    assert changed(digests(hydra), digests(edited(hydra, older))) == set(HEADS)


# Writing in place


class Written(nn.Module):
    """`after`: what reads the values after the write into one of them."""

    def __init__(self, forward: Callable[[torch.Tensor], dict[str, torch.Tensor]]) -> None:
        super().__init__()
        self.run = forward

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.run(image)


def _read_before(image: torch.Tensor) -> dict[str, torch.Tensor]:
    x = image * 2
    y = x.sin()
    x.add_(1)
    return {"y": y, "x": x}


def _read_after(image: torch.Tensor) -> dict[str, torch.Tensor]:
    x = image * 2
    x.add_(1)
    return {"y": x.sin(), "x": x}


def _written_through_a_view(image: torch.Tensor) -> dict[str, torch.Tensor]:
    x = image * 2
    y = x.sin()
    x[:, 0].add_(1)
    return {"y": y, "x": x}


def test_a_read_after_a_write_is_another_value_than_one_before() -> None:
    before, after = (digests(archive(Written(f)), ("y", "x")) for f in (_read_before, _read_after))
    assert changed(before, after) == {"y"}


def test_a_write_through_a_view_reaches_the_whole_tensor_and_not_what_was_read_before() -> None:
    before, through = (digests(archive(Written(f)), ("y", "x")) for f in (_read_before, _written_through_a_view))
    assert changed(before, through) == {"x"}


class Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        self.count.add_(1)
        return {"y": image * self.count, "x": image * 3}


def _into_the_input(image: torch.Tensor) -> dict[str, torch.Tensor]:
    x = image * 3
    image.add_(1)
    return {"y": image.sin(), "x": x}


def _noise(image: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"y": image + torch.rand_like(image), "x": image * 3}


def _switched_off(image: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        y = image * 2
    return {"y": y, "x": image * 3}


def _branch(image: torch.Tensor) -> dict[str, torch.Tensor]:
    y = torch.cond(image.sum() > 0, lambda a: a.sin(), lambda a: a.cos(), (image,))
    return {"y": y, "x": image * 3}


def _by_value(image: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"y": torch.nonzero(image.flatten() > 0).float().sum().expand(image.shape[0]), "x": image * 3}


def _learning(image: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"y": torch.dropout(image, 0.5, True), "x": image * 3}


@pytest.mark.parametrize(
    ("module", "word"),
    [
        (Stateful(), "writes into its weights"),
        (Written(_into_the_input), "writes into its weights, its inputs"),
        (Written(_noise), "rand_like"),
        (Written(_branch), "cond"),
        (Written(_by_value), "nonzero"),
        (Written(_learning), "dropout"),
    ],
    ids=["buffer", "input", "random", "branch", "by value", "dropout"],
)
def test_what_is_not_certain_makes_the_program_a_whole(module: nn.Module, word: str) -> None:
    program = archive(module)
    graph = made(program, ("y", "x"))
    assert word in graph.whole
    assert graph.taken(["x"]) == []

    def elsewhere(document: dict[str, Any]) -> None:
        nodes_of(document)[0]["metadata"]["stack_trace"] = "another file"

    # A single byte anywhere reaches all heads, and so does a head's place.
    other, moved = made(edited(program, elsewhere), ("y", "x")), made(program, ("x", "y"))
    for head in ("y", "x"):
        assert len({g.heads[head].digest for g in (graph, other, moved)}) == 3
    assert graph.heads["x"] == made(program, ("y", "x")).heads["x"]
    assert graph.heads["x"] != graph.heads["y"]


def test_batch_norm_that_keeps_statistics_makes_the_program_a_whole() -> None:
    hydra = Hydra()
    hydra.train()
    assert "batch_norm" in made(archive(hydra), HEADS).whole or "writes" in made(archive(hydra), HEADS).whole


# Programs at random: equal digests are equal values

_TEMPLATE: list[dict[str, bytes]] = []
_OPS = (
    "sin.default",
    "add.Tensor",
    "transpose.int",
    "contiguous.default",
    "alias.default",
    "neg_.default",
    "add_.Tensor",
    "mul_.Tensor",
    "copy_.default",
)


def _drawn(seed: int) -> list[tuple[str, tuple[int, ...]]]:
    """A random straight line of calls on values by number; number 0 is the input, which nobody writes into."""
    rng = random.Random(seed)
    calls: list[tuple[str, tuple[int, ...]]] = [("sin.default", (0,))]
    for _ in range(rng.randint(2, 6)):
        op = rng.choice(_OPS)
        low = 1 if "_." in op else 0
        first = rng.randint(low, len(calls))
        both = op in ("add.Tensor", "add_.Tensor", "mul_.Tensor", "copy_.default")
        calls.append((op, (first, rng.randint(0, len(calls))) if both else (first,)))
    return calls


def _run(calls: list[tuple[str, tuple[int, ...]]], kept: set[str] | None = None) -> torch.Tensor:
    """The last value, in eager torch; kept: names of the calls that run."""
    values: dict[int, torch.Tensor] = {0: torch.arange(4.0).reshape(2, 2) / 3 + 0.1}
    for k, (op, read) in enumerate(calls, 1):
        if kept is not None and f"v{k}" not in kept:
            continue
        name, _, overload = op.partition(".")
        call = getattr(getattr(torch.ops.aten, name), overload)
        values[k] = call(*(values[r] for r in read), *((0, 1) if name == "transpose" else ()))
    return values[len(calls)]


def _written_down(calls: list[tuple[str, tuple[int, ...]]]) -> bytes:
    """The same as an archive, whose input is `image`."""
    if not _TEMPLATE:
        _TEMPLATE.append(entries_of(archive(Written(lambda image: {"y": image.sin()}))))
    entries = dict(_TEMPLATE[0])
    document = json.loads(entries["archive/models/model.json"])
    graph = document["graph_module"]["graph"]

    def tensor(k: int) -> dict[str, Any]:
        return {"as_tensor": {"name": "image" if k == 0 else f"v{k}"}}

    def call(k: int, op: str, read: tuple[int, ...]) -> dict[str, Any]:
        names = ("self", "src" if "copy_" in op else "other")
        given_inputs = [(name, tensor(r)) for name, r in zip(names, read, strict=False)]
        given_inputs += [(f"dim{d}", {"as_int": d}) for d in ((0, 1) if "transpose" in op else ())]
        return {
            "target": f"torch.ops.aten.{op}",
            "inputs": [{"name": name, "arg": argument, "kind": 1} for name, argument in given_inputs],
            "outputs": [tensor(k)],
            "metadata": {},
            "is_hop_single_tensor_return": None,
            "name": f"v{k}",
        }

    graph["nodes"] = [call(k, op, read) for k, (op, read) in enumerate(calls, 1)]
    graph["outputs"] = [tensor(len(calls))]
    document["graph_module"]["signature"]["output_specs"] = [{"user_output": {"arg": tensor(len(calls))}}]
    return archive_of(entries | {"archive/models/model.json": json.dumps(document).encode()})


def test_random_programs_with_equal_digests_have_equal_values_and_need_only_what_is_said() -> None:
    by_digest: dict[str, bytes] = {}
    understood = shared = written = 0
    for seed in range(3000):
        calls = _drawn(seed)
        graph = made(_written_down(calls), ("y",))
        if graph.whole:
            assert "writes into" in graph.whole
            continue
        try:
            value = _run(calls)
        except RuntimeError:  # it writes into what it reads; no program that was exported does
            continue
        bits = value.contiguous().numpy().tobytes() + str(value.stride()).encode()
        understood += 1
        shared += graph.heads["y"].digest in by_digest
        assert by_digest.setdefault(graph.heads["y"].digest, bits) == bits, calls
        kept = {item.name for item in graph.taken(["y"])}
        written += any("_." in op for k, (op, _) in enumerate(calls, 1) if f"v{k}" in kept)
        part = _run(calls, kept)
        assert part.contiguous().numpy().tobytes() + str(part.stride()).encode() == bits, calls
    # The trial could have failed: many programs shared a digest, and many wrote in place.
    assert understood > 1500
    assert shared > 200
    assert written > 500


def test_a_write_into_one_of_two_equal_views_is_not_told_apart() -> None:
    first = [("sin.default", (0,)), ("transpose.int", (1,)), ("contiguous.default", (2,)), ("contiguous.default", (2,))]
    either = [[*first, ("neg_.default", (which,)), ("alias.default", (3,))] for which in (3, 4)]
    assert not torch.equal(*map(_run, either))  # two copies, of which one was written and one is read
    for calls in either:
        assert "equal views" in made(_written_down(calls), ("y",)).whole


# The tables of operators


def _overload(full: str) -> Any:
    name, _, overload = full.removeprefix("torch.ops.aten.").partition(".")
    return getattr(getattr(torch.ops.aten, name), overload)


def _written_arguments(schema: Any) -> list[str]:
    return [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]


@pytest.mark.parametrize("full", sorted(operators.FRESH | operators.VIEWS))
def test_an_operator_that_is_called_pure_has_a_schema_that_says_so(full: str) -> None:
    op = _overload(full)
    assert not op._schema.is_mutable
    if full.split(".")[-2] not in operators.ONLY_IF:
        assert torch.Tag.nondeterministic_seeded not in op.tags
        # By integers, which is what a program of fixed shapes has, it is not by value.
        assert torch.Tag.dynamic_output_shape not in op.tags or full == "torch.ops.aten.index.Tensor"
    if full in operators.FRESH:
        assert all(returned.alias_info is None for returned in op._schema.returns)


@pytest.mark.parametrize("full", sorted(operators.WRITES))
def test_an_operator_that_writes_writes_into_self_alone(full: str) -> None:
    assert _written_arguments(_overload(full)._schema) == ["self"]


def test_no_operator_is_in_two_tables() -> None:
    tables = (operators.FRESH, operators.VIEWS, operators.WRITES, operators.SIZES)
    assert sum(map(len, tables)) == len(frozenset().union(*tables))


# Files that lie


def _config(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    return lambda program: edited(program, lambda d: change(d["config"]), "model_weights_config.json")


def _shares_another_type(config: dict[str, Any]) -> None:
    config["heads.sign.bias"] = {**config["trunk.1.num_batches_tracked"], "is_param": True}
    config["heads.sign.bias"]["tensor_meta"] = {**config["heads.sky.bias"]["tensor_meta"]}


def _points_nowhere(config: dict[str, Any]) -> None:
    config["heads.sign.bias"]["path_name"] = "weight_999"


def _is_gone(config: dict[str, Any]) -> None:
    del config["heads.sign.bias"]


def _twice(document: dict[str, Any]) -> None:
    nodes_of(document).append(nodes_of(document)[0])


def _circle(document: dict[str, Any]) -> None:
    first, last = nodes_of(document)[0], nodes_of(document)[-1]
    first["inputs"][0]["arg"] = {"as_tensor": {"name": last["outputs"][0]["as_tensor"]["name"]}}


def _bound_otherwise(document: dict[str, Any]) -> None:
    specs = document["graph_module"]["signature"]["input_specs"]
    specs[0], specs[1] = specs[1], specs[0]


def _no_nodes(document: dict[str, Any]) -> None:
    document["graph_module"]["graph"]["nodes"] = {"a": "table"}


def _new_part(document: dict[str, Any]) -> None:
    nodes_of(document)[0]["when"] = "on Sundays"


def _newer(document: dict[str, Any]) -> None:
    document["schema_version"]["minor"] = 21


@pytest.mark.parametrize(
    "lie",
    [
        _config(_shares_another_type),
        _config(_points_nowhere),
        _config(_is_gone),
        lambda p: edited(p, _twice),
        lambda p: edited(p, _circle),
        lambda p: edited(p, _bound_otherwise),
        lambda p: edited(p, _no_nodes),
        lambda p: edited(p, _new_part),
        lambda p: edited(p, _newer),
        lambda p: archive_of({**entries_of(p), "archive/models/other.json": b"{}"}),
        lambda p: archive_of({**entries_of(p), "another/extra/notes": b""}),
    ],
    ids=["type", "nowhere", "gone", "twice", "circle", "bound", "nodes", "part", "newer", "programs", "folders"],
)
def test_a_file_that_lies_is_a_whole(hydra: bytes, lie: Callable[[bytes], bytes]) -> None:
    graph = made(lie(hydra), HEADS)
    assert graph.whole
    assert changed(digests(hydra), {h: m.digest for h, m in graph.heads.items()}) == set(HEADS)


def test_another_place_within_shared_bytes_is_another_weight(hydra: bytes) -> None:
    def moved(config: dict[str, Any]) -> None:
        meta = config["heads.sign.weight"]["tensor_meta"]
        meta["sizes"], meta["storage_offset"] = [{"as_int": 1}, {"as_int": 4}], {"as_int": 4}

    def start(config: dict[str, Any]) -> None:
        config["heads.sign.weight"]["tensor_meta"]["sizes"] = [{"as_int": 1}, {"as_int": 4}]

    first, second = (digests(_config(change)(hydra)) for change in (start, moved))
    assert changed(first, second) == {"sign"}


def test_a_flipped_byte_that_the_checksum_betrays_is_a_whole(hydra: bytes) -> None:
    data = entries_of(hydra)[weight_files(hydra)["trunk.0.weight"]]
    at = hydra.index(data)
    assert made(hydra[:at] + bytes([hydra[at] ^ 1]) + hydra[at + 1 :], HEADS).whole


def test_a_million_nodes_are_refused_at_once(hydra: bytes, tmp_path: Path) -> None:
    from time import process_time

    from gate.bundle import scanned
    from gate.errors import BundleError

    def long(nodes: int) -> bytes:
        def grow(document: dict[str, Any]) -> None:
            nodes_of(document).extend([{"target": "torch.ops.aten.sin.default"}] * nodes)

        return edited(hydra, grow)

    assert "too many nodes" in made(long(50_001), HEADS).whole
    (tmp_path / "huge.pt2").write_bytes(long(1_000_000))
    begun = process_time()
    with pytest.raises(BundleError, match="larger than"):
        scanned(tmp_path / "huge.pt2")
    assert process_time() - begun < 5


def test_very_many_outputs_of_a_node_take_time_in_proportion_and_too_many_are_a_whole(hydra: bytes) -> None:
    from time import process_time

    def with_outputs(count: int) -> bytes:
        def more(document: dict[str, Any]) -> None:
            nodes_of(document)[0]["outputs"] += [{"as_tensor": {"name": f"more{k}"}} for k in range(count)]

        return edited(hydra, more)

    many, too_many = with_outputs(40_000), with_outputs(50_001)
    begun = process_time()
    assert made(many, HEADS).whole == ""
    assert "too many values" in made(too_many, HEADS).whole
    assert process_time() - begun < 5


def test_honest_programs_of_all_kinds_are_understood(programs: Programs) -> None:
    heads = {"honest": ("sign",), "two_outputs": ("a", "b"), "named_output": ("sign",), "static": ("sign",)}
    for kind, names in heads.items():
        assert made(getattr(programs, kind), names).whole == ""
    inputs = {"images_front": "front", "images_rear_cam": "rear", "memory": "memory"}
    assert made(programs.demanding, ("cam/seg", "my head"), inputs).whole == ""
