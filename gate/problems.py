"""What a schema refuses, in words: the place in the file, what was expected, and the nearest thing that is right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gate.errors import shown
from gate.located import Place

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


class Problem:
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


def meant(problems: Sequence[Problem]) -> list[Problem]:
    """The problems, with those of each union reduced to the branch that was probably meant.

    pydantic reports every branch. When one accepts the kind of value (a table for a dataclass), the rest is
    noise; when none does, they are alternatives: "expected a string or a list".
    """
    meant = [p for p in problems if p.union is None]
    unions: dict[Place, dict[object, list[Problem]]] = {}
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


def in_words(problem: Problem, schema: Mapping[str, Any]) -> str:
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
    return shown(problem.wanted, 1000) + ("" if problem.kind == "value_error" else f", got {got(value)}") + near


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


def got(value: object) -> str:
    """A value as a message quotes it: on one line, long ones by their beginning or their kind."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else f"a list of {len(value)}"
    return shown(repr(value[:200] if isinstance(value, str) else value))
