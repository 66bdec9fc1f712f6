"""Reads files that people or other machines wrote, and refuses whatever it cannot read exactly.

TOML becomes a frozen dataclass, or one error that names every problem with its line. JSON becomes plain
values without the liberties of the `json` module. Paths inside a file may not leave its folder. All three
treat their input as hostile.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, TypeVar

from gate.atomic import open_regular, read_at_most
from gate.errors import ConfigError, GateError, shown

T = TypeVar("T")
Place = tuple[str | int, ...]  # ("heads", 3, "task"): keys of tables, indices of lists

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}")  # networks, heads, channels, slices; use `fullmatch`
PATH_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

MAX_BYTES = 8 << 20
MAX_DEPTH = 32  # tomllib's memory is quadratic in the parts of a dotted key: gigabytes for 100,000
MAX_WORD = 1000  # characters of a number or an unquoted key; int() itself gives up after 4300 digits
MAX_ENTRIES = 200_000  # keys and values; real files have thousands, and this many take seconds to refuse
MAX_PROBLEMS = 50  # lines of one error message

# Possessive (`++`, `*+`) so that hostile text costs one pass: nothing is ever tried twice.
_TOKEN = re.compile(
    r"""
      (?P<newline> \n++ )
    | (?P<blank>   [ \t]++ | \#[^\n]*+ )
    | (?P<text>    \"{3} (?: [^"\\]++ | \\. | "{1,2}(?!") )*+ "{3,5}
                 | '{3}  (?: [^']++ | '{1,2}(?!') )*+ '{3,5}
                 | "(?!"") (?: [^"\\\n]++ | \\[^\n] )*+ "
                 | '(?!'') [^'\n]*+ ' )
    | (?P<mark>    [\[\]{}=,.] )
    | (?P<word>    [^\s\#"'\[\]{}=,.]++ )
    """,
    re.VERBOSE | re.DOTALL,
)
_JSON_STRING = re.compile(r'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)
_BRACKET, _LONG = re.compile(r"[\[\]{}]"), re.compile(rf"(?<![-0-9])[-0-9]{{{MAX_WORD}}}")
_DEEPER = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - _DEEPER.keys())
_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "dict_type": "a table",
    "dataclass_type": "a table",
} | dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type"), "a list")


@dataclass(frozen=True)
class Lines:
    """Where each key of one TOML file stands. List items are in `numbers` if they have their own line."""

    file: str
    numbers: Mapping[Place, int]

    def at(self, *place: str | int) -> int:
        """The line, from 1, of a key, table or list item; of its nearest parent when it is not in the file.

        >>> Lines("suite.toml", {("heads", 3): 12, ("heads", 3, "task"): 14}).at("heads", 3, "task")
        14
        """
        while place and place not in self.numbers:
            place = place[:-1]
        return self.numbers.get(place, 1)

    def where(self, *place: str | int) -> str:
        """`suite.toml:14: heads.3.task`: the `where` of a GateError about this place."""
        keys = (str(p) if isinstance(p, int) or re.fullmatch(r"[\w-]+", p, re.ASCII) else f'"{p}"' for p in place)
        at = f"{self.file}:{self.at(*place)}"
        return f"{at}: {'.'.join(shown(key) for key in keys)}" if place else at


def read_toml(path: Path, shape: type[T], *, error: type[GateError] = ConfigError) -> T:
    """The file at `path` as an instance of the dataclass `shape`; see `read_toml_located`."""
    return read_toml_located(path, shape, error=error)[0]


def read_toml_located(path: Path, shape: type[T], *, error: type[GateError] = ConfigError) -> tuple[T, Lines]:
    """The file at `path` as an instance of the dataclass `shape`, and the lines of its keys.

    `shape` may nest dataclasses, dict[str, X], tuple[X, ...], Literal, unions and Annotated[X, Field(...)]
    (`Field(alias="class")` for a key that Python reserves). It must not carry a `__pydantic_config__`,
    which would replace ours. Unknown keys are refused at every level. Nothing is converted, except integer
    to float, list to tuple, and a TOML date to its ISO 8601 text (fields of type date and str both take
    it). NaN and infinity are refused. A ValueError of a `__post_init__` is reported at its table.

    An empty file is an empty table. Raises one `error` for all problems, a line each, in the order of the
    file, 50 at most.
    """
    file = _file(path)
    text = _text(_bytes(path, MAX_BYTES, error), file, error).replace("\r\n", "\n")
    lines, still_open = _locate(text, file, error)
    try:
        table = tomllib.loads(text)
    except ValueError as problem:
        what, line, column = str(problem), still_open, ""
        if found := re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", what, re.DOTALL):
            what, line, column = found[1], int(found[2]), f":{found[3]}"
        raise error(f"not valid TOML: {shown(what)}", where=f"{file}:{line}{column}") from None

    from pydantic import ConfigDict, TypeAdapter, ValidationError

    # In a list, because pydantic hands a config down to plain dataclasses but takes none for the outermost.
    # As JSON, because its strict mode wants instances and tuples from Python but objects and arrays in JSON.
    # A type checker cannot see that `shape` is a type here; pydantic can.
    adapter = TypeAdapter(list[shape], config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))  # pyright: ignore[reportInvalidTypeForm]
    try:
        return adapter.validate_json(json.dumps([table], default=lambda date: date.isoformat()))[0], lines
    except ValidationError as invalid:
        problems = _meant([_Problem(e, table) for e in invalid.errors(include_url=False)])
    schema = adapter.json_schema()
    problems.sort(key=lambda problem: lines.at(*problem.place))
    told = [f"{lines.where(*p.place)}: {_told(p, schema)}" for p in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        told.append(f"{file}: and {len(problems) - MAX_PROBLEMS} more problems")
    raise error("\n".join(told))


def read_json(
    source: Path | bytes,
    *,
    where: str = "",
    error: type[GateError] = ConfigError,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
) -> Any:
    """The value of a JSON file or JSON bytes: UTF-8, no duplicate key, no NaN or infinity, no lone surrogate.

    Numbers have at most 1000 characters. Raises `error`, naming `where` (by default the path), for everything
    else, the empty file included.
    """
    where = where or (_file(source) if isinstance(source, Path) else "JSON")
    data = _bytes(source, max_bytes, error) if isinstance(source, Path) else source
    if len(data) > max_bytes:
        raise error(f"larger than {max_bytes:,} bytes", where=where)
    text = _text(data, where, error)
    bare = _JSON_STRING.sub("", text)
    brackets = bare.encode().translate(None, _NO_BRACKETS)
    if max(accumulate(map(_DEEPER.__getitem__, brackets)), default=0) > max_depth:
        depths = accumulate(map(_DEEPER.__getitem__, brackets))
        first = next(k for k, depth in enumerate(depths) if depth > max_depth)
        mark = next(islice(_BRACKET.finditer(bare), first, None))
        line = bare.count("\n", 0, mark.start()) + 1
        raise error(f"nested deeper than {max_depth} levels", where=f"{where}:{line}")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_number(float),
            parse_float=_number(float),
            parse_int=_number(int) if _LONG.search(bare) else None,  # a call for each of millions takes seconds
        )
        if "\\ud" in text.lower():  # json lets half a surrogate pair through; the first write would fail on it
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as bad:
        raise error(f"not valid JSON: {bad.msg}", where=f"{where}:{bad.lineno}:{bad.colno}") from None
    except UnicodeEncodeError:
        raise error("not valid JSON: half of a surrogate pair", where=where) from None
    except ValueError as bad:
        raise error(str(bad), where=where) from None
    return value


def relative_path(text: str, root: Path, *, where: str) -> Path:
    """`root / text`, where `text` is relative, '/'-separated and stays inside `root` after following links.

    At most 8 parts of letters, digits, '.', '_' and '-', which start with a letter or digit and do not end
    in a dot. The file need not exist. Raises ConfigError that names `where`. A link made after this call is
    not seen: open hostile files with O_NOFOLLOW.
    """
    rule = "relative, separated by '/', at most 8 parts of letters, digits, '.', '_' and '-'"
    parts = text.split("/")
    if len(parts) > 8 or not all(PATH_PART.fullmatch(part) and not part.endswith(".") for part in parts):
        raise ConfigError(
            f"{_got(text)} is not a path that is allowed here",
            where=where,
            mend=f"write a path that is {rule}",
        )
    path = root.joinpath(*parts)
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a loop of links: RuntimeError up to Python 3.12
        inside = False
    if not inside:
        raise ConfigError(
            f"{_got(text)} leads out of its folder, through a link", where=where, mend="copy the file into it"
        )
    return path


def _file(path: Path) -> str:
    """The path as it was given, on one line; its end when it is long, because that is where the name is."""
    text = shown(path, 1 << 16)
    return text if len(text) <= 120 else "…" + text[-119:]


def _bytes(path: Path, limit: int, error: type[GateError]) -> bytes:
    file = _file(path)
    try:
        with open_regular(path, error, where=file, links=True) as stream:
            data = read_at_most(stream, limit)
    except OSError as bad:
        raise error(f"cannot be read: {bad.strerror}", where=file) from None
    if len(data) > limit:
        raise error(f"larger than {limit:,} bytes", where=file)
    return data


def _text(data: bytes, where: str, error: type[GateError]) -> str:
    if data.startswith(b"\xef\xbb\xbf"):
        raise error("starts with a byte order mark", where=where, mend="save it as UTF-8 without one")
    try:
        return data.decode()
    except UnicodeDecodeError as bad:
        raise error("not UTF-8", where=f"{where}:{data.count(10, 0, bad.start) + 1}") from None


def _locate(text: str, file: str, error: type[GateError]) -> tuple[Lines, int]:
    """The line of every key, table and list item, and of whatever is still open at the end.

    One pass, without recursion. Runs before tomllib and shields it from depth, long numbers and sheer number.
    Text that is not TOML is tomllib's to explain: this stops at the first thing that it does not know.
    """
    lines: dict[Place, int] = {(): 1}
    items: dict[Place, int] = {}  # how many [[tables]] an array of tables has so far
    brackets: list[tuple[str, Place, int]] = []  # not closed yet: "[" or "{", what stands in it, its line
    table: Place = ()  # what the last header opened
    place: Place = ()  # what the last `=` or `,` announced
    key: list[str] = []
    reading, at, line = "key", 0, 1  # key | value | header | tail
    entries = 0
    double = False  # whether the header is [[double]]

    def refuse(what: str) -> GateError:
        return error(what, where=f"{file}:{line}")

    def check_room(depth: int) -> None:
        if depth > MAX_DEPTH:
            raise refuse(f"nested deeper than {MAX_DEPTH} levels")
        nonlocal entries
        entries += 1
        if entries > MAX_ENTRIES:
            raise refuse(f"more than {MAX_ENTRIES:,} keys and values")

    def enter(scope: Place, parts: Sequence[str]) -> Place:
        """The place of a header or a dotted key, after noting those that it passes through."""
        check_room(len(scope) + len(parts))
        for n, part in enumerate(parts, 1):
            scope = (*scope, part)
            if n < len(parts):
                lines.setdefault(scope, line)
                if scope in items:  # [heads.truth] speaks of the last of [[heads]]
                    scope = (*scope, items[scope] - 1)
        return scope

    while match := _TOKEN.match(text, at):
        kind, token, at = match.lastgroup, match[0], match.end()
        if kind == "blank":
            continue
        if kind == "newline":
            line += len(token)
            if not brackets:
                reading, key = "key", []
            continue
        if kind == "word" and len(token) > MAX_WORD:
            raise refuse(f"a number or key of more than {MAX_WORD:,} characters")
        if reading in ("key", "header") and kind in ("word", "text"):
            key.append(_unquoted(token))
        elif reading == "key" and token == "=":
            place = enter(brackets[-1][1] if brackets else table, key)
            lines[place], reading = line, "value"
        elif reading == "key" and token == "[" and not brackets:
            reading, double = "header", text.startswith("[", at)
            at += double
        elif reading == "header" and token == "]":
            table, reading = enter((), key), "tail"
            if double:
                lines.setdefault(table, line)
                items[table] = items.get(table, 0) + 1
                table = (*table, items[table] - 1)
            lines[table] = line  # its own header is a better place than one that only passed through
        elif reading == "value" and token == ",":
            if brackets and brackets[-1][0] == "[":
                place = (*place[:-1], place[-1] + 1)  # type: ignore[operator]
            else:
                reading, key = "key", []
        elif token in ("]", "}"):
            if brackets:
                reading, place = "value", brackets.pop()[1]
        elif reading == "value":
            check_room(len(place) + (token in ("[", "{")))
            if brackets and brackets[-1][0] == "[" and line != brackets[-1][2]:
                lines.setdefault(place, line)
            if token in ("[", "{"):
                brackets.append((token, place, line))
                reading, key = ("value" if token == "[" else "key"), []
                place = (*place, 0) if token == "[" else place
        line += token.count("\n")
    return Lines(file, lines), brackets[0][2] if brackets else line


def _unquoted(token: str) -> str:
    if token[0] not in "\"'":
        return token
    try:
        return str(tomllib.loads(f"k={token}")["k"]) if "\\" in token else token[1:-1]
    except tomllib.TOMLDecodeError:  # a wrong escape, which tomllib will report with its column
        return token


def _number(kind: Callable[[str], float]) -> Callable[[str], float]:
    def read(digits: str) -> float:
        number = kind(digits) if len(digits) <= MAX_WORD else math.inf
        if number in (math.inf, -math.inf) or number != number:
            raise ValueError(f"a number that cannot be represented: {shown(digits, 20)}")
        return number

    return read


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen = Counter(key for key, _ in pairs)
        raise ValueError(f"duplicate key {_got(next(key for key, times in seen.items() if times > 1))}")
    return table


class _Problem:
    """A problem as pydantic tells it, with its place in the file and its branch of a union."""

    def __init__(self, told: Mapping[str, Any], table: object) -> None:
        self.kind, self.value, self.loc = told["type"], told["input"], told["loc"][1:]
        self.wanted = re.sub("^Input should be ", "expected a value ", told["msg"].removeprefix("Value error, "))
        if self.kind == "literal_error":
            self.wanted = f"expected one of {told['ctx']['expected']}"
        elif self.kind in _EXPECTED:
            self.wanted = f"expected {_EXPECTED[self.kind]}"
        self.place: Place = ()
        self.union: tuple[Place, object] | None = None
        for n, step in enumerate(self.loc):
            if (isinstance(table, dict) and step in table) or (isinstance(table, list) and step in range(len(table))):
                self.place, table = (*self.place, step), table[step]
            elif self.kind == "missing" and n == len(self.loc) - 1:
                self.place = (*self.place, step)
            elif self.union is None and step != "[key]":
                self.union = self.place, step


def _meant(problems: Sequence[_Problem]) -> list[_Problem]:
    """The problems, with those of each union reduced to the branch that was probably meant.

    pydantic reports every branch. When one accepts the kind of value (a table for a dataclass), the rest is
    noise; when none does, they are alternatives: "expected a string or a list".
    """
    meant = [p for p in problems if p.union is None]
    unions: dict[Place, dict[object, list[_Problem]]] = {}
    for p in problems:
        if p.union:
            unions.setdefault(p.union[0], {}).setdefault(p.union[1], []).append(p)
    for place, branches in unions.items():
        if close := [own for own in branches.values() if all(p.place != place for p in own)]:
            meant.extend(min(close, key=len))
        else:
            first, *_ = answers = [own[0] for own in branches.values()]
            wanted = dict.fromkeys(p.wanted.removeprefix("expected ") for p in answers)
            first.wanted = f"expected {' or '.join(wanted)}"
            meant.append(first)
    return meant


def _told(problem: _Problem, schema: Mapping[str, Any]) -> str:
    """One problem in words, with the nearest thing that would have been right."""
    loc, value = problem.loc, problem.value
    if problem.kind == "missing" and isinstance(loc[-1], int):
        return "missing; the list is too short"
    if problem.kind == "missing":
        return "missing; this key is required"
    if problem.kind == "unexpected_keyword_argument":
        allowed = sorted({key for node in _nodes(schema, loc[:-1]) for key in node.get("properties", ())})
        return "unknown key" + (_nearest(loc[-1], allowed) or f"; allowed: {', '.join(allowed)}")
    options = [x for node in _nodes(schema, loc) for x in node.get("enum", [node.get("const")])]
    near = _nearest(value, [x for x in options if isinstance(x, str)]) if isinstance(value, str) else ""
    return shown(problem.wanted, 1000) + ("" if problem.kind == "value_error" else f", got {_got(value)}") + near


def _nearest(text: str, known: Sequence[str]) -> str:
    folded = {word.casefold(): word for word in known}
    near = difflib.get_close_matches(text[:200].casefold(), folded, n=1)
    return f"; did you mean '{folded[near[0]]}'?" if near else ""


def _nodes(schema: Mapping[str, Any], loc: Sequence[str | int]) -> list[Mapping[str, Any]]:
    """The parts of the JSON schema that speak about `loc`; a union has several."""

    def opened(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        if "$ref" in node:
            return opened(schema["$defs"][node["$ref"].rpartition("/")[2]])
        return [
            node,
            *(inner for word in ("anyOf", "oneOf", "allOf") for n in node.get(word, ()) for inner in opened(n)),
        ]

    nodes = opened(schema["items"])
    for step in loc:
        if isinstance(step, int):
            below = [n.get("prefixItems", [])[step : step + 1] or [n.get("items")] for n in nodes]
        else:
            below = [
                (
                    n.get("properties", {}).get(step),
                    n.get("additionalProperties"),
                    *n.get("patternProperties", {}).values(),  # a dict whose keys must match
                )
                for n in nodes
            ]
        deeper = [inner for options in below for node in options if isinstance(node, dict) for inner in opened(node)]
        nodes = deeper or [n for n in nodes if n.get("title") == step] or nodes  # else: the name of a union branch
    return nodes


def _got(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else f"a list of {len(value)}"
    return shown(repr(value[:200] if isinstance(value, str) else value))
