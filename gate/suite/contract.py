"""Data contracts: what must hold of the frame table, the splits and the predictions before they are measured.

Great Expectations is the engine and a guest: only this file imports it, inside functions, and its ephemeral
context neither writes, prints nor sends. The engine passes in silence where it looked at nothing, so here

* the row count comes first and is more than zero, and a check that saw no row fails;
* an empty cell (None, NaN, NaT, blank text) is a null, and values are not checked without their nulls;
* pairs of columns are compared in every row, also where both are null;
* a check that the engine could not run, or did not answer, fails and says so.

Every function can run in a worker process: arguments and results can be pickled.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from gate.errors import SuiteError, shown

#: How `observed` begins where the engine gave no answer.
UNCHECKED = "could not be checked"
EXAMPLES = 5  # failing rows named in `observed`; `failed` names them all
DTYPES = ["float16", "bfloat16", "float32", "float64", "float", "int"]  # the last two are Python's own names
DTYPES += [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]

ROWS = "expect_table_row_count_to_equal"
UNIQUE = "expect_column_values_to_be_unique"
NOT_NULL = "expect_column_values_to_not_be_null"
BETWEEN = "expect_column_values_to_be_between"
IN_SET = "expect_column_values_to_be_in_set"
GREATER = "expect_column_pair_values_a_to_be_greater_than_b"
EQUAL = "expect_column_pair_values_to_be_equal"
NULL = "expect_column_values_to_be_null"
NULL_SHARE = "expect_column_proportion_of_non_null_values_to_be_between"


@dataclass(frozen=True)
class ContractResult:
    """One contract, kept or broken; all fields are plain Python."""

    name: str  # stable: "labels.rows", "splits.one_split_per_clip", "candidate.predictions.finite"
    success: bool
    expectation: str  # "every value of sample_id is unique"
    observed: str  # "2 of 272 rows fail: '0001TP_06690'"
    where: str  # "samples.csv, column sample_id"
    failed: tuple[str, ...] = ()  # ids of all failing rows, each once; or the missing columns or split values
    severity: str = "critical"  # or "warning"


@dataclass(frozen=True)
class _Check:
    """One expectation as a person reads it, and as the engine wants it: `kind` and `kwargs`."""

    name: str
    sentence: str
    kind: str
    kwargs: Mapping[str, Any]
    columns: tuple[str, ...] = ()  # that it is about
    severity: str = "critical"
    show: tuple[str, ...] = ()  # columns to print beside a failing id, when not those that it is about


def warm() -> None:
    """Import the engine (seconds of CPU) and do nothing else, so that a worker process can be ready early."""
    with _quiet():
        import great_expectations  # noqa: F401
        import pandas  # noqa: F401


def check_labels(
    columns: Mapping[str, np.ndarray], *, file: str, frame_id: str, clip_id: str, order_by: str | None,
    split_column: str, split_values: Sequence[str], slices: Sequence[str], columns_required: Sequence[str],
    rows: int, extra: Path | None,
) -> tuple[ContractResult, ...]:  # fmt: skip
    """The contracts of a frame table: ours in a fixed order, then those of `extra` in the order of the file.

    columns: one array of `rows` values each, of the type in which they are to be judged. Split values
    other than `split_values` are ignored; each of `split_values` must occur. `extra` is the suite's own
    `expectations.json`: the columns that it checks must be free of nulls in the rows that it checks, unless
    an expectation is about the nulls of that column or says `"meta": {"nullable": true}`. Failing ids are
    frame ids. Raises SuiteError when the columns are no table, `extra` is unreadable, or an entry is refused.
    """
    assert split_values, "a suite names its splits"
    roles: dict[str, None] = dict.fromkeys([frame_id, clip_id, *filter(None, [order_by]), split_column, *slices])
    required = list(dict.fromkeys([*roles, *columns_required]))
    checks = [
        _rows("labels.rows", rows, f"the table has {rows} rows, and more than 0"),
        _check("labels.columns", f"there are columns {', '.join(required)}",
               "expect_table_columns_to_match_set", column_set=required, exact_match=False),
        *(_check(f"labels.not_null.{it}", f"no value of {it} is empty", NOT_NULL, it) for it in roles),
        _check(f"labels.unique.{frame_id}", f"every value of {frame_id} is unique", UNIQUE, frame_id),
        _check(f"labels.occurs.{split_column}", f"{split_column} has each of {', '.join(split_values)}",
               "expect_column_distinct_values_to_contain_set", split_column, value_set=list(split_values)),
        *(_extra(extra) if extra else ()),
    ]  # fmt: skip
    return _validate(columns, checks, key=frame_id, where=file)


def check_splits(
    clip: Sequence[str], split: Sequence[str], *, file: str, required: Sequence[str]
) -> tuple[ContractResult, ...]:
    """The contracts of the splits: clips are named and lie in one split each, required splits have clips.

    clip, split: one value a frame. Failing ids are clip ids; in the last result they are split values.
    """
    splits: dict[str, dict[str, None]] = {}  # of each clip; a dict keeps the order of the table
    for one, its in zip(clip, split, strict=True):
        splits.setdefault(str(one), {})[str(its)] = None
    clips = {
        "clip": np.array(list(splits), object),
        "n_splits": np.array([len(its) for its in splits.values()], np.int64),
        "splits": np.array([" and ".join(its) for its in splits.values()], object),
    }
    per_clip = [
        _check("splits.clips", "there is a clip", "expect_table_row_count_to_be_between", min_value=1),
        _check("splits.named", "every frame names its clip", NOT_NULL, "clip"),
        _Check("splits.one_split_per_clip", "every clip lies in exactly one split",
               IN_SET, {"column": "n_splits", "value_set": [1]}, ("n_splits",), show=("splits",)),
    ]  # fmt: skip
    counts = {one: sum(one in its for its in splits.values()) for one in required}
    values = {"split": np.array(list(counts), object), "clips": np.array(list(counts.values()), np.int64)}
    sentence = f"each split has at least one clip: {', '.join(counts)}"
    per_split = [_check("splits.required", sentence, BETWEEN, "clips", min_value=1)]
    found = _validate(clips, per_clip, key="clip", where=file)
    return found + _validate(values, per_split, key="split", where=file)


def check_predictions(summary: Mapping[str, np.ndarray], *, name: str) -> tuple[ContractResult, ...]:
    """The contracts of a bundle's predictions, in a fixed order; `name` says whose they are ("candidate").

    summary: one row a prediction. prediction, shape, expected_shape, dtype: text. frames_expected,
    frames_answered: frames. finite_share: 0..1. In the prediction's unit: low and high, the least and
    greatest value seen, lo and hi, their limits (infinite when there are none), and std. NaN is never within
    a limit. A constant output (".constant") is a warning. Limits are columns, never expectations, so that a
    thousand predictions cost little more than one.
    """
    of, rows = f"{name}.predictions", int(summary["prediction"].size)
    checks = [
        _rows(f"{of}.rows", rows, f"there are {rows} predictions, and more than 0"),
        _check(f"{of}.named", "every prediction has a name", NOT_NULL, "prediction"),
        _check(f"{of}.unique", "every prediction is listed once", UNIQUE, "prediction"),
        _check(f"{of}.asked", "every prediction is expected for a frame", GREATER, "frames_expected", "zero"),
        _check(f"{of}.answered", "every frame is answered", EQUAL, "frames_answered", "frames_expected"),
        _check(f"{of}.shape", "every shape is the expected shape", EQUAL, "shape", "expected_shape"),
        _check(f"{of}.finite_known", "the share of finite values is known", NOT_NULL, "finite_share"),
        _check(f"{of}.finite", "every value is finite", IN_SET, "finite_share", value_set=[1.0]),
        _check(f"{of}.low", "no value lies below its limit", GREATER, "low", "lo", or_equal=True),
        _check(f"{of}.high", "no value lies above its limit", GREATER, "hi", "high", or_equal=True),
        _check(f"{of}.dtype_known", "the number type of every output is known", NOT_NULL, "dtype"),
        _check(f"{of}.dtype", "every number type is a float or an int", IN_SET, "dtype", value_set=DTYPES),
        _check(f"{of}.constant", "no output is constant", GREATER, "std", "zero", severity="warning"),
    ]
    # Against a column of zeros, `std > 0` is a pair, which does not skip the NaN of an output without values.
    columns = {**summary, "zero": np.zeros(rows)}
    return _validate(columns, checks, key="prediction", where=f"{name} predictions")


def _check(name: str, sentence: str, kind: str, *columns: str, severity: str = "critical", **more: Any) -> _Check:
    """A check of the table, of one column, or of a pair of columns."""
    kwargs = {"column": columns[0]} if len(columns) == 1 else {}
    if len(columns) == 2:
        # Without "neither" the engine skips the rows in which both values are null.
        kwargs = {"column_A": columns[0], "column_B": columns[1], "ignore_row_if": "neither"}
    return _Check(name, sentence, kind, {**kwargs, **more}, columns, severity)


def _rows(name: str, rows: int, sentence: str) -> _Check:
    # No table has -1 rows: whoever expects nothing is never satisfied.
    return _check(name, sentence, ROWS, value=rows if rows > 0 else -1)


def _extra(file: Path) -> Iterator[_Check]:
    """The expectations of the suite's own file, in its order, each after the not-null checks it needs."""
    checks: list[_Check] = []
    nulls_declared: set[str] = set()
    where = str(file)
    try:
        for number, entry in enumerate(json.loads(file.read_text(encoding="utf-8"))["expectations"], 1):
            where = f"{file}, expectation {number}"
            checks.append(check := _entry(f"labels.extra.{number}", entry))
            nullable = (entry.get("meta") or {}).get("nullable") is True
            nulls_declared.update(check.columns if nullable or check.kind in (NOT_NULL, NULL, NULL_SHARE) else ())
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        what = shown(f"not an expectation that can be checked: {error!r}", 300)
        mend = "correct it, or write the file anew from ExpectationSuite.to_json_dict()"
        raise SuiteError(what, where=where, mend=mend) from error
    for check in checks:
        rows = {key: check.kwargs[key] for key in ("row_condition", "condition_parser") if key in check.kwargs}
        for column in check.columns if check.kind != "expect_column_to_exist" else ():
            if column not in nulls_declared:
                name, sentence = f"{check.name}.not_null.{column}", f"no value of {column} is empty"
                yield _check(name, sentence, NOT_NULL, column, severity=check.severity, **rows)
        yield check


def _entry(name: str, entry: Mapping[str, Any]) -> _Check:
    """One entry of the suite's own file, tried on the engine; raises what `_extra` catches."""
    kind, kwargs = entry["type"], entry["kwargs"]
    if "$PARAMETER" in json.dumps(kwargs):
        raise ValueError("suite parameters are not supported")
    with _quiet():
        _build(**entry)  # and built anew for the table, because no second suite takes an entry with an id
    single = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    values = ", ".join(f"{key} = {value!r}" for key, value in kwargs.items())
    sentence = shown(f"{kind.removeprefix('expect_').replace('_', ' ')} ({values})", 240)
    # The engine knows "info" too; what is not critical warns.
    severity = "critical" if entry.get("severity", "critical") == "critical" else "warning"
    columns = tuple(map(str, (*single, *kwargs.get("column_list", ()))))
    return _Check(f"{name}.{kind.removeprefix('expect_')}", sentence, kind, kwargs, columns, severity)


@contextmanager
def _quiet() -> Iterator[None]:
    """Within it the engine sends no statistics, warns of nothing, and neither logs nor prints."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # has no meaning in 1.24; other versions send by default
    disabled = logging.root.manager.disable  # loggers of the engine set levels of their own
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            yield
        finally:
            logging.disable(disabled)


def _build(type: str, kwargs: Mapping[str, Any], **rest: Any) -> Any:
    """The engine's expectation, made singly: in a list the engine drops those that it does not know."""
    from great_expectations.exceptions.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    try:
        return ExpectationConfiguration(type=type, kwargs=dict(kwargs), **rest).to_domain_obj()
    except GreatExpectationsError as error:
        raise ValueError(str(error)) from error


def _validate(
    columns: Mapping[str, np.ndarray], checks: Sequence[_Check], *, key: str, where: str
) -> tuple[ContractResult, ...]:
    """One result a check, in the order of `checks`; failing rows are named by the column `key`."""
    with _quiet():
        import great_expectations as gx
        import pandas as pd
        from great_expectations.data_context.types.base import ProgressBarsConfig

        try:
            table = pd.DataFrame({name: _cells(values) for name, values in columns.items()})
        except ValueError as error:
            raise SuiteError(f"the columns are not a table: {error}", where=where) from error
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("tables").add_dataframe_asset("table")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
        built = [
            _build(check.kind, check.kwargs, severity=check.severity, meta={"gate": number})
            for number, check in enumerate(checks)
        ]
        suite = gx.ExpectationSuite(name="contract", expectations=built)
        answers: Any = batch.validate(suite, result_format={"result_format": "COMPLETE"}).results
    # The engine regroups what it answers, so each expectation carries its number.
    by_number = {answer.expectation_config.meta["gate"]: answer for answer in answers}
    results: list[ContractResult] = []
    for number, check in enumerate(checks):
        success, observed, failed = _seen(check, by_number.get(number), table, key)
        columns_word = ("", ", column ", ", columns ")[min(len(check.columns), 2)]
        place = f"{where}{columns_word}{', '.join(check.columns)}"
        results.append(ContractResult(check.name, success, check.sentence, observed, place, failed, check.severity))
    return tuple(results)


def _cells(values: np.ndarray) -> Any:
    """A column for pandas: blank text, which is how an empty cell of a CSV arrives, becomes a null."""
    if values.dtype.kind not in "OUT":
        return values
    return [None if isinstance(value, str) and not value.strip() else value for value in values.tolist()]


def _seen(check: _Check, answer: Any, table: Any, key: str) -> tuple[bool, str, tuple[str, ...]]:
    """Whether the check holds, what was seen, and what fails. `answer` is None when the engine gave none."""
    if answer is None:
        return False, f"{UNCHECKED}: the engine gave no answer", ()
    info = answer.exception_info  # flat, or one for each metric
    for one in [info] if "raised_exception" in info else info.values():
        if one["raised_exception"]:
            return False, f"{UNCHECKED}: {shown(one['exception_message'])}", ()
    success, seen = bool(answer.success), answer.result
    if "element_count" in seen:
        return _seen_rows(check, success, seen, table, key)
    columns = (seen.get("details") or {}).get("mismatched", {}).get("missing")
    if missing := columns or seen.get("partial_missing_list"):
        return False, f"missing: {shown(', '.join(map(repr, missing)))}", tuple(map(str, missing))
    value = seen.get("observed_value")
    if value is None:
        return success, "as expected" if success else "not as expected; the engine says no more", ()
    return success, f"{value} rows" if "row_count" in check.kind else f"observed {shown(value)}", ()


def _seen_rows(
    check: _Check, success: bool, seen: Mapping[str, Any], table: Any, key: str
) -> tuple[bool, str, tuple[str, ...]]:
    """The same, for a check that looks at every row."""
    rows, empty = int(seen["element_count"]), int(seen.get("missing_count") or 0)
    bad: Sequence[int] = seen["unexpected_index_list"]
    if rows == 0:
        return False, "there was no row to check", ()
    if not bad:
        return success, f"{rows - empty} of {rows} rows pass" + f", {empty} are empty" * (empty > 0), ()
    show = [column for column in check.show or check.columns if column != key]
    cells = table.loc[bad, [column for column in {key: 0, **dict.fromkeys(show)} if column in table]].astype(object)
    first: dict[str, str] = {}  # of each failing id: the values in its first row
    for row, named, its in zip(bad, cells.notna().to_dict("records"), cells.to_dict("records"), strict=True):
        name = str(its[key]) if named.get(key) else f"row {row + 1}"
        first.setdefault(name, ", ".join(f"{column} = {its[column]}" for column in show))
    texts = (f"{name!r} ({values})" if values else repr(name) for name, values in first.items())
    examples = ", ".join(map(shown, islice(texts, EXAMPLES))) + ", …" * (len(first) > EXAMPLES)
    return success, f"{len(bad)} of {rows} rows fail: {examples}", tuple(first)
