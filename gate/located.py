"""Where every key of a TOML file stands: one pass over its text, before a parser reads it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gate.errors import GateError, shown

Place = tuple[str | int, ...]  # ("heads", 3, "task"): keys of tables, indices of lists

MAX_DEPTH = 32  # tomllib's memory is quadratic in the parts of a dotted key: gigabytes for 100,000
MAX_WORD = 1000  # characters of a number or an unquoted key; int() itself gives up after 4300 digits
MAX_ENTRIES = 200_000  # keys and values; real files have thousands, and this many take seconds to refuse

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


def locate(text: str, file: str, error: type[GateError]) -> tuple[Lines, int]:
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

    def check_room(depth: int, parts: int = 1) -> None:
        if depth > MAX_DEPTH:
            raise refuse(f"nested deeper than {MAX_DEPTH} levels")
        nonlocal entries
        entries += parts
        if entries > MAX_ENTRIES:
            raise refuse(f"more than {MAX_ENTRIES:,} keys and values")

    def enter(scope: Place, parts: Sequence[str]) -> Place:
        """The place of a header or a dotted key, after noting those that it passes through."""
        check_room(len(scope) + len(parts), len(parts))
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
