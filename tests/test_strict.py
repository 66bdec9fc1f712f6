"""What people write is read exactly, or refused with every problem, its line and what was probably meant."""

from __future__ import annotations

import json
import math
import os
import string
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from gate.errors import ConfigError, LockError
from gate.located import MAX_DEPTH, MAX_ENTRIES, Lines, locate
from gate.strict import (
    MAX_BYTES,
    NAME,
    read_json,
    read_toml,
    read_toml_located,
    relative_path,
)


@dataclass(frozen=True)
class Columns:
    columns: str


@dataclass(frozen=True)
class Boxes:
    table: str
    class_: Annotated[str, Field(alias="class")] = "class"


@dataclass(frozen=True)
class Head:
    head: str
    task: Literal["multilabel", "detection"]
    truth: Columns | Boxes | None = None
    margin: Annotated[float, Field(gt=0, le=1)] = 0.5
    box: tuple[int, int] | None = None
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.head == "impossible":
            raise ValueError("this head cannot be")


@dataclass(frozen=True)
class Input:
    shape: tuple[int, ...] = ()
    count: int = 0
    judged: bool = True
    since: date | None = None
    size: int | str = 0


@dataclass(frozen=True)
class Suite:
    name: str = "camvid"
    heads: tuple[Head, ...] = ()
    inputs: dict[Annotated[str, Field(pattern=NAME.pattern)], Input] = field(default_factory=dict)
    anything: Any = None


Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(content: str | bytes) -> Path:
        path = tmp_path / "suite.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file


def refusal(path: Path) -> list[str]:
    """The lines of the error, without the folder."""
    with pytest.raises(ConfigError) as refused:
        read_toml(path, Suite)
    return str(refused.value).replace(f"{path.parent}{os.sep}", "").splitlines()


# ---- what is accepted


def test_a_file_becomes_the_dataclass_it_describes(write: Write) -> None:
    path = write(
        """
        name = "city"
        [[heads]]
        head = "front.det"
        task = "detection"
        truth = { table = "boxes.csv", class = "kind" }
        margin = 1
        box = [3, 4]
        weights = [1, 0.5]
        [inputs."front/left"]
        since = 2026-04-01
        size = "large"
        """
    )
    head = Head("front.det", "detection", Boxes("boxes.csv", "kind"), 1.0, (3, 4), (1.0, 0.5))
    read = read_toml(path, Suite)
    assert read == Suite("city", (head,), {"front/left": Input(since=date(2026, 4, 1), size="large")})
    assert isinstance(read.heads[0].margin, float)


def test_an_empty_file_is_an_empty_table(write: Write) -> None:
    assert read_toml(write(""), Suite) == Suite()


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_arrives_with_all_its_bits(value: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "bits.toml"
    path.write_text(f"[[heads]]\nhead='h'\ntask='detection'\nweights=[{value!r}]\n")
    read = read_toml(path, Suite).heads[0].weights[0]
    assert (read, math.copysign(1, read)) == (value, math.copysign(1, value))


def test_importing_the_reader_does_not_import_pydantic() -> None:
    look = "import sys, gate.strict; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0


# ---- what is refused, and in which words


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("nmae = 'x'", "1: nmae: unknown key; did you mean 'name'?"),
        ("NAME = 'x'", "1: NAME: unknown key; did you mean 'name'?"),
        ("zzz = 1", "1: zzz: unknown key; allowed: anything, heads, inputs, name"),
        ("\n[inputs.image]\n\nshpae = [3]", "4: inputs.image.shpae: unknown key; did you mean 'shape'?"),
        ("inputs.image.shpae = [3]", "1: inputs.image.shpae: unknown key; did you mean 'shape'?"),
        ("inputs.a = {\nshpae=1}", None),
        ("[inputs.'a.b'.x]", None),
        ("[[heads]]\ntask='detection'", "1: heads.0.head: missing; this key is required"),
        (
            "[[heads]]\nhead='a'\ntask='detection'\n[[heads]]\nhead='b'\ntask = 'multilable'",
            "6: heads.1.task: expected one of 'multilabel' or 'detection', got 'multilable'; "
            "did you mean 'multilabel'?",
        ),
        (
            "[[heads]]\nhead='a'\ntask=3",
            "3: heads.0.task: expected one of 'multilabel' or 'detection', got 3",
        ),
        (
            "[[heads]]\nhead='a'\ntask='detection'\nbox=[1]",
            "4: heads.0.box.1: missing; the list is too short",
        ),
        ("[[heads]]\nhead='impossible'\ntask='detection'", "1: heads.0: this head cannot be"),
        ("name = 3", "1: name: expected a string, got 3"),
        ("name = true", "1: name: expected a string, got true"),
        ("heads = 'front'", "1: heads: expected a list, got 'front'"),
        ("heads = [3]", "1: heads.0: expected a table, got 3"),
        ("inputs = [[], 1]", "1: inputs: expected a table, got a list of 2"),
        ("[inputs.a]\ncount = '1'", "2: inputs.a.count: expected an integer, got '1'"),
        ("[inputs.a]\ncount = 1.5", "2: inputs.a.count: expected an integer, got 1.5"),
        ("[inputs.a]\ncount = 1.0", "2: inputs.a.count: expected an integer, got 1.0"),
        ("[inputs.a]\ncount = true", "2: inputs.a.count: expected an integer, got true"),
        ("[inputs.a]\njudged = 1", "2: inputs.a.judged: expected true or false, got 1"),
        ("[inputs.a]\njudged = 'yes'", "2: inputs.a.judged: expected true or false, got 'yes'"),
        ("[inputs.a]\nshape = [3,\n'4']", "3: inputs.a.shape.1: expected an integer, got '4'"),
        ("[inputs.a]\nshape = {}", "2: inputs.a.shape: expected a list, got a table"),
        ("[inputs.a]\nsize = []", "2: inputs.a.size: expected an integer or a string, got a list of 0"),
    ],
)
def test_a_problem_is_told_with_its_line_and_the_nearest_right_thing(text: str, line: str | None, write: Write) -> None:
    told = refusal(write(text))
    assert len(told) == 1
    assert line is None or told == [f"suite.toml:{line}"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("0.0", "expected a value greater than 0, got 0.0"),
        ("2", "expected a value less than or equal to 1, got 2"),
        ("nan", "expected a finite number, got nan"),
        ("1e999", "expected a finite number, got inf"),
        ("'1'", "expected a number, got '1'"),
        ("true", "expected a number, got true"),
    ],
)
def test_a_number_out_of_its_range_is_refused(value: str, told: str, write: Write) -> None:
    text = f"[[heads]]\nhead='a'\ntask='detection'\nmargin = {value}"
    assert refusal(write(text)) == [f"suite.toml:4: heads.0.margin: {told}"]


def test_a_number_too_large_for_a_float_is_refused_and_not_infinite(write: Write) -> None:
    text = f"[[heads]]\nhead='a'\ntask='detection'\nweights = [{'9' * 999}]"
    assert [line[:30] for line in refusal(write(text))] == ["suite.toml:4: heads.0.weights."]


def test_all_problems_are_told_at_once_in_the_order_of_the_file(write: Write) -> None:
    told = refusal(write("[inputs.b]\ncuont = 1\n[[heads]]\nhead = 3\n[inputs.a]\ncount = 'x'\njugded = true"))
    assert told == [
        "suite.toml:2: inputs.b.cuont: unknown key; did you mean 'count'?",
        "suite.toml:3: heads.0.task: missing; this key is required",
        "suite.toml:4: heads.0.head: expected a string, got 3",
        "suite.toml:6: inputs.a.count: expected an integer, got 'x'",
        "suite.toml:7: inputs.a.jugded: unknown key; did you mean 'judged'?",
    ]


def test_of_a_union_only_the_branch_that_was_meant_is_told(write: Write) -> None:
    head = "[[heads]]\nhead='a'\ntask='detection'\n"
    told = refusal(write(head + "truth = { table = 'boxes.csv', clas = 'kind' }"))
    assert told == ["suite.toml:4: heads.0.truth.clas: unknown key; did you mean 'class'?"]
    assert refusal(write(head + "truth = 3")) == ["suite.toml:4: heads.0.truth: expected a table, got 3"]


def test_after_fifty_problems_the_rest_is_counted(write: Write) -> None:
    told = refusal(write("".join(f"k{n} = 1\n" for n in range(60))))
    assert len(told) == 51
    assert told[-1] == "suite.toml: and 10 more problems"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = 1\nb = = 2", "suite.toml:2:5: not valid TOML: Invalid value"),
        ("a = 1\r\nb = = 2", "suite.toml:2:5: not valid TOML: Invalid value"),
        ("a = 1\na = 2\nb = 3", "suite.toml:2:6: not valid TOML: Cannot overwrite a value"),
        ("[a]\n[b]\n[a]\n", "suite.toml:3:3: not valid TOML: Cannot declare ('a',) twice"),
        ("\n\nname = 'x\n\n", 'suite.toml:3: not valid TOML: Expected "\'" (at end of document)'),
        ('\nname = """x\n\n', "suite.toml:2: not valid TOML: Unterminated string (at end of document)"),
        ("\na = [1,\n2,\n\n", "suite.toml:2: not valid TOML: Invalid value (at end of document)"),
        (
            "a = 1\rb = 2",
            "suite.toml:1:6: not valid TOML: Expected newline or end of document after a statement",
        ),
        ('"\\z" = 1', "suite.toml:1:4: not valid TOML: Unescaped '\\' in a string"),
    ],
)
def test_broken_syntax_keeps_its_line_and_column(text: str, told: str, write: Write) -> None:
    assert refusal(write(text)) == [told]


def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, write: Write) -> None:
    assert refusal(tmp_path / "none.toml") == ["none.toml: no such file"]
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder") == ["folder: a folder, not a file"]
    assert refusal(tmp_path / "a\0b") == ["a\\x00b: cannot be read: embedded null byte"]
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(tmp_path / "loop") == ["loop: cannot be read: Too many levels of symbolic links"]
    assert refusal(write(b"a = 1\nb = '\xff'")) == ["suite.toml:2: not UTF-8"]
    bom = ["suite.toml: starts with a byte order mark", "  to mend: save it as UTF-8 without one"]
    assert refusal(write(b"\xef\xbb\xbfa = 1")) == bom
    assert refusal(write(b"#" * (MAX_BYTES + 1))) == ["suite.toml: larger than 8,388,608 bytes"]
    assert read_toml(write(b"#" * MAX_BYTES), Suite) == Suite()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_does_not_hold_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "fifo") == ["fifo: not a regular file"]


def test_the_caller_chooses_the_error(write: Write) -> None:
    with pytest.raises(LockError):
        read_toml(write("nmae = 1"), Suite, error=LockError)
    with pytest.raises(LockError):
        read_toml(write("a ="), Suite, error=LockError)
    with pytest.raises(LockError):
        read_toml(write("a = " + "[" * 99), Suite, error=LockError)


# ---- hostile text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = " + "[" * 100_000, f"1: nested deeper than {MAX_DEPTH} levels"),
        ("a = " + "{a = " * 100_000, f"1: nested deeper than {MAX_DEPTH} levels"),
        ("a = " + "[{a = " * 100_000, f"1: nested deeper than {MAX_DEPTH} levels"),
        ("\n" + "a." * 100_000 + "a = 1", f"2: nested deeper than {MAX_DEPTH} levels"),
        ("[" + "a." * 100_000 + "a]", f"1: nested deeper than {MAX_DEPTH} levels"),
        ("[" * 100_000, "1:3: not valid TOML: Invalid initial character for a key part"),
        ("a = " + "9" * 100_000, "1: a number or key of more than 1,000 characters"),
        ("a = 0x" + "f" * 100_000, "1: a number or key of more than 1,000 characters"),
        ("a = [" + "1," * MAX_ENTRIES + "]", f"1: more than {MAX_ENTRIES:,} keys and values"),
        ("[a]\n" + "[[b]]\n" * MAX_ENTRIES, f"{MAX_ENTRIES + 1}: more than {MAX_ENTRIES:,} keys and values"),
    ],
)
def test_a_bomb_is_refused_before_it_is_parsed(text: str, told: str, write: Write) -> None:
    assert refusal(write(text)) == [f"suite.toml:{told}"]


@pytest.mark.parametrize("text", ['"' + '\\"' * 1_000_000, '"""' + '""\\"' * 1_000_000, "'''" + "''a" * 1_000_000])
def test_a_string_that_never_ends_costs_one_pass(text: str, write: Write) -> None:
    assert len(refusal(write(text))) == 1


def test_names_and_values_are_shown_escaped_and_short(write: Write) -> None:
    told = refusal(write('"a\\u001b\\u202eb" = 1\nname = 0x' + "f" * 900 + "\n" + "k" * 900 + " = 1"))
    assert told[0] == 'suite.toml:1: "a\\x1b\\u202eb": unknown key; allowed: anything, heads, inputs, name'
    assert told[1].startswith("suite.toml:2: name: expected a string, got 5104")
    assert told[2].startswith("suite.toml:3: kkkk")
    assert all(line.isprintable() and len(line) < 200 for line in told)
    assert len(refusal(write("name = [" + "'x', " * 1000 + "]"))[0]) < 200


def test_the_end_of_a_long_path_is_what_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 200)
    folder.mkdir()
    with pytest.raises(ConfigError, match=r"^….{110}none.toml: no such file$"):
        read_toml(folder / "none.toml", Suite)


@given(text=st.text(alphabet="[]{}=,.\"'\\#\n\r \tab1é\0", max_size=60))
def test_no_text_at_all_breaks_the_locator(text: str) -> None:
    lines, _ = locate(text.replace("\r\n", "\n"), "f", ConfigError)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    missing = [place for place in places(document) if isinstance(place[-1], str) and place not in lines.numbers]
    assert not missing


def places(value: object, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [(here, place, inner) for place, inner in below]
    return [p for above, step, inner in found for p in [(*above, step), *places(inner, (*above, step))]]


# ---- lines


def test_every_way_of_writing_a_key_is_found_on_its_line(write: Write) -> None:
    text = '''# [not] a = "table"
[anything]            # 2
a.b = 1
"c.d" = [             # 4
  1, # x = 2
  { e = 2, f = [ { g = 3 } ] }, [
  2, 3 ] ]
text = """            # 8
h = 1
[[i]] \\""" j = 2
"""
\'k\\\' = \'\'\'
l = 1\'\'\'
m = { n = { o.p = 1 }, q = "}, r = 1" }   # 14
[anything.s."t u"]
v = 1979-05-27 07:32:00
[[anything.w]]
[[anything.w]]        # 18
x = 1
[anything.w.y]
z = 1
[[anything.w.aa]]     # 22
"\\u0062b" = -1_000.5e-3
[ anything . cc ]
dd = []
'''
    _, lines = read_toml_located(write(text), Suite)
    found = {
        2: [()],
        3: [("a",), ("a", "b")],
        4: [("c.d",), ("c.d", 99)],
        5: [("c.d", 0)],
        6: [("c.d", 1, "e"), ("c.d", 1, "f", 0, "g"), ("c.d", 2)],
        7: [("c.d", 2, 0), ("c.d", 2, 1)],
        8: [("text",), ("text", "h"), ("text", "j")],
        12: [("k\\",), ("k\\", "l")],
        14: [("m", "n", "o", "p"), ("m", "q"), ("m", "q", "r")],
        15: [("s",), ("s", "t u")],
        16: [("s", "t u", "v")],
        17: [("w",), ("w", 0), ("w", 0, "x")],
        18: [("w", 1)],
        19: [("w", 1, "x")],
        20: [("w", 1, "y")],
        21: [("w", 1, "y", "z")],
        22: [("w", 1, "aa"), ("w", 1, "aa", 0)],
        23: [("w", 1, "aa", 0, "bb")],
        24: [("cc",)],
        25: [("cc", "dd")],
    }
    assert {n: [p for p in ps if lines.at("anything", *p) == n] for n, ps in found.items()} == found
    assert lines.at("nothing", "like", 3) == lines.at() == 1


def test_a_table_that_was_passed_through_moves_to_its_own_header(write: Write) -> None:
    _, lines = read_toml_located(write("[anything.a.b]\n[anything.c]\n[anything.a]\n[anything]\n"), Suite)
    assert [lines.at("anything", *p) for p in [(), ("a",), ("a", "b"), ("c",)]] == [4, 3, 1, 2]


def test_a_place_is_named_with_file_line_and_keys(write: Write) -> None:
    path = write("\n[inputs.'a.b']\ncount = 1")
    _, lines = read_toml_located(path, Suite)
    assert lines.where("inputs", "a.b", "count") == f'{lines.file}:3: inputs."a.b".count'
    assert lines.where() == f"{lines.file}:1"
    assert Lines("f", {("heads", 3): 12}).where("heads", 3, "task") == "f:12: heads.3.task"


class Writer:
    """Writes a document line by line in a style that hypothesis chooses, and notes where each key went."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw, self.text, self.lines = draw, "", {}

    def note(self, place: tuple[str | int, ...]) -> None:
        self.lines.setdefault(place, self.text.count("\n") + 1)

    def key(self, key: str) -> str:
        plain = [key] if key and set(key) <= set(string.ascii_letters + string.digits + "-_") else []
        literal = [f"'{key}'"] if "'" not in key and key.isprintable() else []
        escaped = '"' + "".join(f"\\U{ord(c):08x}" for c in key) + '"'
        return self.draw(st.sampled_from([*plain, *literal, json.dumps(key, ensure_ascii=False), escaped]))

    def space(self, newline: bool = False) -> None:
        blanks = ["", " ", "\t"] + ["\n", " # x = 1, ] }\n", "# \"'\n\n"] * newline
        self.text += self.draw(st.sampled_from(blanks))

    def pair(self, place: tuple[str | int, ...], value: object) -> None:
        """`key = value`, or `key.inner = value` for a table with one key."""
        self.text += self.key(str(place[-1]))
        self.note(place)
        while isinstance(value, dict) and len(value) == 1 and self.draw(st.booleans()):
            inner, value = next(iter(value.items()))
            place = (*place, inner)
            self.text += self.draw(st.sampled_from([".", " . "])) + self.key(inner)
            self.note(place)
        self.space()
        self.text += "="
        self.space()
        self.value(place, value)

    def value(self, place: tuple[str | int, ...], value: object) -> None:
        if isinstance(value, dict):
            self.text += "{"
            for n, (key, inner) in enumerate(value.items()):
                self.text += ", " if n else " "
                self.pair((*place, key), inner)
            self.text += "}"
        elif isinstance(value, list):
            self.text += "["
            for n, inner in enumerate(value):
                self.space(newline=True)
                self.note((*place, n))
                self.value((*place, n), inner)
                self.space(newline=True)
                self.text += ","
            self.space(newline=True)
            self.text += "]"
        else:
            self.text += str(value)

    def body(self, place: tuple[str | int, ...], table: dict[str, Any]) -> None:
        """The pairs of a table, then the tables that are to have a header of their own."""
        apart = [k for k, v in table.items() if self.has_header(v)]
        for key in [k for k in table if k not in apart]:
            self.pair((*place, key), table[key])
            self.text += self.draw(st.sampled_from(["\n", " # y = 2\n", "\n\n", "\n# [z]\n"]))
        for key in apart:
            inner = table[key]
            for n, one in enumerate(inner) if isinstance(inner, list) else [(None, inner)]:
                names = ".".join(self.key(str(p)) for p in (*place, key) if isinstance(p, str))
                at = (*place, key) if n is None else (*place, key, n)
                for passed in range(1, len(at) + 1):
                    self.note(at[:passed])
                self.text += f"[{names}]\n" if n is None else f"[[{names}]]\n"
                self.body(at, one)

    def has_header(self, value: object) -> bool:
        tables = isinstance(value, dict) or (
            isinstance(value, list) and value and all(isinstance(v, dict) for v in value)
        )
        return bool(tables) and self.draw(st.booleans())


# TOML takes control characters only escaped; how they are shown is a test of its own.
WRITABLE = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=4)
KEYS = st.one_of(st.sampled_from(["a", "b", "a.b", "", "x y", "[a]", "#", "="]), WRITABLE)
SCALARS = st.sampled_from(
    [
        "1",
        "-1.5e3",
        "true",
        "inf",
        "1979-05-27",
        "07:32:00",
        '""',
        "''",
        "'#'",
        '"]}\\"a = 1"',
        "'\\'",
        '"""\na = 1\n[b]\n"""',
        '""""a"" = """""',
        "'''\n\"\n[[a]]\n'''",
        '"""\\\n  \\""""',
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(document=st.dictionaries(KEYS, VALUES, max_size=4), data=st.data())
def test_each_key_is_located_on_the_line_on_which_it_was_written(document: dict[str, Any], data: st.DataObject) -> None:
    writer = Writer(data.draw)
    writer.body((), document)
    tomllib.loads(writer.text)  # or else the test itself is wrong
    lines, _ = locate(writer.text, "f", ConfigError)
    assert {place: lines.at(*place) for place in writer.lines} == writer.lines


# ---- JSON


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_json_comes_back_as_it_was_written(value: object) -> None:
    assert read_json(json.dumps(value).encode()) == value
    assert read_json(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "JSON:1:1: not valid JSON: Expecting value"),
        (b'{"a": 1,\n "b"}', "JSON:2:5: not valid JSON: Expecting ':' delimiter"),
        (b'{"a": 1, "b": {"a": 1, "a": 2}}', "JSON: duplicate key 'a'"),
        (b'{"\\u001b": 1, "\\u001b": 2}', "JSON: duplicate key '\\x1b'"),
        (b"[NaN]", "JSON: a number that cannot be represented: NaN"),
        (b"[-Infinity]", "JSON: a number that cannot be represented: -Infinity"),
        (b"[1e999]", "JSON: a number that cannot be represented: 1e999"),
        (b"9" * 10_000, "JSON: a number that cannot be represented: 9999999999999999999…"),
        (b"[" * 100_000, "JSON:1: nested deeper than 32 levels"),
        (b'\n{"a":' * 100_000, "JSON:34: nested deeper than 32 levels"),
        (b"\xff", "JSON:1: not UTF-8"),
        ('"\u00e9"'.encode("utf-16"), "JSON:1: not UTF-8"),
        (b'["\\uD800"]', "JSON: not valid JSON: half of a surrogate pair"),
        (b'{"\\udc00": 1}', "JSON: not valid JSON: half of a surrogate pair"),
        (b'["' + b'\\"' * 1_000_000, "JSON:1:2: not valid JSON: Unterminated string starting at"),
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused(text: bytes, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_json(text)
    assert str(refused.value) == told


def test_json_limits_are_the_callers_and_reach_exactly_so_far(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(b'[["]]]"]]')
    assert read_json(path, max_depth=2, max_bytes=9) == [["]]]"]]
    with pytest.raises(LockError, match=r"manifest.json:1: nested deeper than 1 levels"):
        read_json(path, max_depth=1, error=LockError)
    with pytest.raises(LockError, match=r"manifest.json: larger than 8 bytes"):
        read_json(path, max_bytes=8, error=LockError)
    with pytest.raises(LockError, match=r"^bundle.lock: larger than 8 bytes"):
        read_json(path.read_bytes(), max_bytes=8, error=LockError, where="bundle.lock")
    assert read_json(b"9" * 1000) == int("9" * 1000)
    with pytest.raises(ConfigError, match="no such file"):
        read_json(tmp_path / "none.json")


# ---- paths and names


@pytest.mark.parametrize("text", ["front.pt2", "a/b/c/d/e/f/g/h", "a-1_.b", "a" * 100, "0"])
def test_a_plain_path_is_allowed(text: str, tmp_path: Path) -> None:
    assert relative_path(text, tmp_path, where="bundle.toml:3") == tmp_path / text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "/a",
        "a//b",
        "a/",
        "./a",
        "~/a",
        ".a",
        "-a",
        "a.",
        "a./b",
        "a...",
        "a\\b",
        "C:/a",
        "a b",
        "a\n",
        "a\x00",
        "é",
        "a" * 101,
        "a/b/c/d/e/f/g/h/i",
        "a" * 100000,
        "a/" * 100000 + "a",
    ],
)
def test_a_path_that_leaves_or_surprises_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^bundle.toml:3: ") as refused:
        relative_path(text, tmp_path, where="bundle.toml:3")
    assert len(refused.value.what) < 200


def test_a_link_may_stay_in_its_folder_but_not_leave_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (tmp_path / "root2").mkdir()
    (root / "near").symlink_to("in")
    (root / "far").symlink_to("../root2")
    (root / "loop").symlink_to("loop")
    assert relative_path("near/a", root, where="f") == root / "near/a"
    for text in ("far", "far/a", "loop", "loop/a"):
        with pytest.raises(ConfigError, match="leads out of its folder"):
            relative_path(text, root, where="f")
    (tmp_path / "alias").symlink_to("root")
    assert relative_path("in/a", tmp_path / "alias", where="f") == tmp_path / "alias/in/a"


def test_a_name_is_ascii_begins_with_a_letter_or_digit_and_has_at_most_128_characters() -> None:
    assert all(NAME.fullmatch(name) for name in ["a", "0", "front.det:car/left-1_b", "a" * 128])
    assert not any(NAME.fullmatch(name) for name in ["", ".a", "-a", "a b", "a\n", "é", "a" * 129, "a[b]"])
