"""Reads files that people or other machines wrote, and refuses whatever it cannot read exactly.

TOML becomes a frozen dataclass, or one error that names every problem with its line. JSON becomes plain
values without the liberties of the `json` module. Paths inside a file may not leave its folder. All three
treat their input as hostile.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, TypeVar

from gate.atomic import open_regular, read_at_most
from gate.errors import ConfigError, GateError, shown
from gate.located import MAX_DEPTH, MAX_WORD, Lines, locate
from gate.problems import Problem, got, in_words, meant

T = TypeVar("T")

MAX_BYTES = 8 << 20
MAX_PROBLEMS = 50  # lines of one error message

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}")  # networks, heads, channels, slices; use `fullmatch`
PATH_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_JSON_STRING = re.compile(r'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)
_BRACKET, _LONG = re.compile(r"[\[\]{}]"), re.compile(rf"(?<![-0-9])[-0-9]{{{MAX_WORD}}}")
_DEEPER = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - _DEEPER.keys())


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
    lines, still_open = locate(text, file, error)
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
        problems = meant([Problem(e, table) for e in invalid.errors(include_url=False)])
    schema = adapter.json_schema()
    problems.sort(key=lambda problem: lines.at(*problem.place))
    told = [f"{lines.where(*p.place)}: {in_words(p, schema)}" for p in problems[:MAX_PROBLEMS]]
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
            f"{got(text)} is not a path that is allowed here",
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
            f"{got(text)} leads out of its folder, through a link", where=where, mend="copy the file into it"
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
        raise ValueError(f"duplicate key {got(next(key for key, times in seen.items() if times > 1))}")
    return table
