"""What the contracts catch, and that nothing passes because nothing was looked at."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.errors import SuiteError
from gate.suite.contract import ContractResult, check_labels, check_predictions, check_splits, warm

LABELS = {
    "sample_id": np.array(["a1", "a2", "b1", "b2", "c1", "c2"]),
    "clip_id": np.array(["a", "a", "b", "b", "c", "c"]),
    "frame_index": np.array([1, 2, 1, 2, 1, 2]),
    "split": np.array(["train", "train", "calibration", "calibration", "validation", "validation"]),
    "weather": np.array(["rain", "sun", "rain", "sun", "rain", "sun"]),
    "speed": np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
}
Results = tuple[ContractResult, ...]


def labels(changes: Mapping[str, Any] | None = None, **options: Any) -> Results:
    """The contracts of six frames in three clips; `changes` replaces columns, None drops one."""
    columns = {**LABELS, **(changes or {})}
    asked: dict[str, Any] = {
        "file": "samples.csv", "frame_id": "sample_id", "clip_id": "clip_id", "order_by": "frame_index",
        "split_column": "split", "split_values": ["calibration", "validation"], "slices": ["weather"],
        "columns_required": ["speed"], "rows": 6, "extra": None,
    }  # fmt: skip
    present = {name: np.asarray(values) for name, values in columns.items() if values is not None}
    return check_labels(present, **{**asked, **options})


def predictions(count: int = 3, **changes: Any) -> Results:
    """The contracts of `count` healthy predictions; `changes` replaces columns, by one value or a list."""
    plain: dict[str, Any] = {
        "prediction": [f"front.head[{i}]" for i in range(count)], "frames_expected": 8, "frames_answered": 8,
        "shape": "(11,)", "expected_shape": "(11,)", "finite_share": 1.0, "low": -2.0, "high": 2.0,
        "lo": -np.inf, "hi": np.inf, "dtype": "float32", "std": 0.5, **changes,
    }  # fmt: skip
    columns = {name: np.array(v if isinstance(v, list) else [v] * count) for name, v in plain.items()}
    return check_predictions(columns, name="candidate")


def broken(results: Results) -> list[str]:
    return [result.name for result in results if not result.success]


def get(results: Results, name: str) -> ContractResult:
    [found] = [result for result in results if result.name == name]
    return found


@pytest.fixture
def extra(tmp_path: Path) -> Any:
    """Writes the suite's own expectations and returns the path."""

    def write(*entries: Any, text: str | None = None) -> Path:
        path = tmp_path / "expectations.json"
        document = {"name": "mine", "expectations": list(entries)}
        path.write_text(json.dumps(document) if text is None else text, encoding="utf-8")
        return path

    return write


def between(column: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    kwargs = {"column": column, "min_value": low, "max_value": high, **more.pop("kwargs", {})}
    return {"type": "expect_column_values_to_be_between", "kwargs": kwargs, **more}


# --- the frame table


def test_a_sound_table_keeps_every_contract_in_a_fixed_order() -> None:
    results = labels()
    assert broken(results) == []
    assert [result.name for result in results] == [
        "labels.rows",
        "labels.columns",
        "labels.not_null.sample_id",
        "labels.not_null.clip_id",
        "labels.not_null.frame_index",
        "labels.not_null.split",
        "labels.not_null.weather",
        "labels.unique.sample_id",
        "labels.occurs.split",
    ]
    assert get(results, "labels.unique.sample_id") == ContractResult(
        name="labels.unique.sample_id",
        success=True,
        expectation="every value of sample_id is unique",
        observed="6 of 6 rows pass",
        where="samples.csv, column sample_id",
    )


def test_a_suite_without_an_order_has_no_contract_about_it() -> None:
    assert "labels.not_null.frame_index" not in [result.name for result in labels(order_by=None)]


def test_an_empty_table_does_not_pass() -> None:
    results = labels({name: values[:0] for name, values in LABELS.items()}, rows=0)
    assert broken(results) == [result.name for result in results if result.name != "labels.columns"]
    assert results[0].name == "labels.rows"
    assert results[0].observed == "0 rows"
    assert get(results, "labels.unique.sample_id").observed == "there was no row to check"


def test_a_table_without_columns_does_not_pass() -> None:
    assert len(broken(labels(dict.fromkeys(LABELS)))) == len(labels())


@pytest.mark.parametrize("rows", [5, 7])
def test_a_table_of_another_length_does_not_pass(rows: int) -> None:
    results = labels(rows=rows)
    assert broken(results) == ["labels.rows"]
    assert results[0].expectation == f"the table has {rows} rows, and more than 0"
    assert results[0].observed == "6 rows"
    assert results[0].where == "samples.csv"


def test_a_duplicate_id_is_named_once() -> None:
    results = labels({"sample_id": ["a1", "a1", "b1", "b2", "b2", "c2"]})
    assert broken(results) == ["labels.unique.sample_id"]
    found = get(results, "labels.unique.sample_id")
    assert found.failed == ("a1", "b2")
    assert found.observed == "4 of 6 rows fail: 'a1', 'b2'"


def test_a_missing_column_is_a_result_and_not_a_crash() -> None:
    results = labels({"weather": None, "speed": None})
    assert broken(results) == ["labels.columns", "labels.not_null.weather"]
    assert get(results, "labels.columns").failed == ("speed", "weather")
    assert get(results, "labels.columns").observed == "missing: 'speed', 'weather'"
    unchecked = get(results, "labels.not_null.weather").observed
    assert unchecked.startswith("could not be checked: ")
    assert "weather" in unchecked


def test_every_role_is_a_required_column() -> None:
    for column in ["sample_id", "clip_id", "frame_index", "split", "weather"]:
        assert get(labels({column: None}), "labels.columns").failed == (column,)


@pytest.mark.parametrize("column", ["clip_id", "frame_index", "split", "weather"])
@pytest.mark.parametrize("null", ["", "  ", None, np.nan])
def test_an_empty_cell_is_a_null_however_it_is_spelt(column: str, null: object) -> None:
    values = np.array(LABELS[column].tolist(), object)
    values[0] = null
    results = labels({column: values})
    assert broken(results) == [f"labels.not_null.{column}"]
    assert get(results, f"labels.not_null.{column}").failed == ("a1",)


def test_a_frame_without_an_id_is_named_by_its_row() -> None:
    results = labels({"sample_id": ["a1", "", "b1", "b2", "c1", "c2"]})
    assert broken(results) == ["labels.not_null.sample_id"]
    assert get(results, "labels.not_null.sample_id").failed == ("row 2",)


def test_an_all_null_column_does_not_pass(extra: Any) -> None:
    results = labels({"speed": np.full(6, np.nan)}, extra=extra(between("speed", 0, 9)))
    assert get(results, "labels.extra.1.column_values_to_be_between").success
    assert broken(results) == ["labels.extra.1.column_values_to_be_between.not_null.speed"]


def test_a_missing_split_is_named_and_a_further_split_is_ignored() -> None:
    more = labels({"split": ["train", "x", "calibration", "y", "validation", "z"]})
    assert broken(more) == []
    assert get(more, "labels.occurs.split").observed == "as expected"
    results = labels({"split": ["train"] * 4 + ["validation"] * 2})
    assert broken(results) == ["labels.occurs.split"]
    assert get(results, "labels.occurs.split").failed == ("calibration",)


def test_columns_of_unequal_length_are_an_error() -> None:
    with pytest.raises(SuiteError, match=r"samples\.csv: the columns are not a table"):
        labels({"speed": [1.0]})


def test_at_most_five_failing_rows_are_printed_and_all_are_listed() -> None:
    names = ["x" * 300 + str(i) for i in range(8)]
    columns = {name: np.repeat(values[-1:], 8) for name, values in LABELS.items()}
    columns |= {"sample_id": np.array(names), "weather": np.array([""] * 8)}
    found = get(labels(columns, rows=8), "labels.not_null.weather")
    assert found.failed == tuple(names)
    examples = found.observed.removeprefix("8 of 8 rows fail: ").split(", ")
    assert examples.pop() == "…"
    assert [len(example) for example in examples] == [120] * 5


def test_control_characters_of_an_id_are_escaped() -> None:
    found = get(labels({"sample_id": ["a\x1b[2J\n"] * 2 + ["b1", "b2", "c1", "c2"]}), "labels.unique.sample_id")
    assert found.observed.isprintable()


# --- the suite's own expectations


def test_an_own_expectation_is_checked_and_shows_what_it_saw(extra: Any) -> None:
    results = labels(extra=extra(between("speed", 0, 4)))
    assert broken(results) == ["labels.extra.1.column_values_to_be_between"]
    found = results[-1]
    assert found.expectation == "column values to be between (column = 'speed', min_value = 0, max_value = 4)"
    assert found.observed == "2 of 6 rows fail: 'c1' (speed = 5.0), 'c2' (speed = 6.0)"
    assert found.failed == ("c1", "c2")
    assert found.where == "samples.csv, column speed"


def test_own_results_come_in_the_order_of_the_file(extra: Any) -> None:
    entries = [
        between("speed", 0, 9),
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 7}},
        between("frame_index", 0, 9),
        {"type": "expect_column_to_exist", "kwargs": {"column": "speed"}},
        {"type": "expect_column_sum_to_be_between", "kwargs": {"column": "speed", "max_value": 1}},
    ]
    results = labels(extra=extra(*entries))[9:]
    assert [(result.name.removeprefix("labels.extra."), result.success) for result in results] == [
        ("1.column_values_to_be_between.not_null.speed", True),
        ("1.column_values_to_be_between", True),
        ("2.table_row_count_to_be_between", False),
        ("3.column_values_to_be_between.not_null.frame_index", True),
        ("3.column_values_to_be_between", True),
        ("4.column_to_exist", True),
        ("5.column_sum_to_be_between.not_null.speed", True),
        ("5.column_sum_to_be_between", False),
    ]
    assert results[2].observed == "6 rows"
    assert results[-1].observed == "observed 21.0"


def test_the_same_expectation_twice_is_answered_twice(extra: Any) -> None:
    results = labels(extra=extra(between("speed", 0, 4), between("speed", 0, 4)))
    assert broken(results) == [f"labels.extra.{i}.column_values_to_be_between" for i in (1, 2)]


def test_pairs_and_compounds_that_are_null_together_do_not_pass(extra: Any) -> None:
    nulls = {"speed": np.full(6, np.nan), "limit": np.full(6, np.nan)}
    pair = {"column_A": "speed", "column_B": "limit"}
    results = labels(
        nulls,
        extra=extra(
            {"type": "expect_column_pair_values_to_be_equal", "kwargs": pair},
            {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["speed", "limit"]}},
        ),
    )
    assert get(results, "labels.extra.1.column_pair_values_to_be_equal").success
    assert [name.split(".", 3)[-1] for name in broken(results)] == [
        "column_pair_values_to_be_equal.not_null.speed",
        "column_pair_values_to_be_equal.not_null.limit",
        "compound_columns_to_be_unique.not_null.speed",
        "compound_columns_to_be_unique.not_null.limit",
    ]


@pytest.mark.parametrize(
    "entries",
    [
        [between("speed", 0, 9, meta={"nullable": True})],
        [between("speed", 0, 9),
         {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "speed", "mostly": 0.5}}],
        [between("speed", 0, 9),
         {"type": "expect_column_proportion_of_non_null_values_to_be_between",
          "kwargs": {"column": "speed", "min_value": 0.5}}],
    ],
)  # fmt: skip
def test_a_suite_that_speaks_of_nulls_gets_no_partner(extra: Any, entries: list[Any]) -> None:
    results = labels({"speed": [1.0, 2.0, 3.0, 4.0, 5.0, np.nan]}, extra=extra(*entries))
    assert broken(results) == []
    assert [result.name for result in results if ".not_null." in result.name and ".extra." in result.name] == []
    assert get(results, "labels.extra.1.column_values_to_be_between").observed == "5 of 6 rows pass, 1 are empty"


@pytest.mark.parametrize("nullable", ["true", 1, False, None])
def test_only_true_makes_a_column_nullable(extra: Any, nullable: object) -> None:
    entry = between("speed", 0, 9, meta={"nullable": nullable})
    assert len(broken(labels({"speed": [1.0] * 5 + [np.nan]}, extra=extra(entry)))) == 1


def test_an_expectation_of_some_rows_asks_for_values_in_those_rows(extra: Any) -> None:
    rain = {"row_condition": "weather == 'rain'", "condition_parser": "pandas"}
    path = extra(between("speed", 0, 9, kwargs=rain))
    sunny = {"speed": [1.0, np.nan, 3.0, np.nan, 5.0, np.nan]}
    assert broken(labels(sunny, extra=path)) == []
    rainy = {"speed": [1.0, 2.0, np.nan, 4.0, 5.0, 6.0]}
    assert get(labels(rainy, extra=path), broken(labels(rainy, extra=path))[0]).failed == ("b1",)


def test_an_expectation_that_selects_no_row_does_not_pass(extra: Any) -> None:
    snow = {"row_condition": "weather == 'snow'", "condition_parser": "pandas"}
    results = labels(extra=extra(between("speed", 0, 9, kwargs=snow)))
    assert len(broken(results)) == 2
    assert results[-1].observed == "there was no row to check"


@pytest.mark.parametrize(("severity", "ours"), [("critical", "critical"), ("warning", "warning"), ("info", "warning")])
def test_severity_survives_to_the_result_and_its_partner(extra: Any, severity: str, ours: str) -> None:
    results = labels(extra=extra(between("speed", 0, 1, severity=severity)))
    assert [result.severity for result in results[-2:]] == [ours, ours]
    assert not results[-1].success


def test_an_expectation_that_the_engine_cannot_run_fails_and_says_so(extra: Any) -> None:
    regex = {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "weather", "regex": "("}}
    found = labels(extra=extra(regex))[-1]
    assert not found.success
    assert found.observed.startswith("could not be checked: ")


def test_a_statistic_of_nothing_says_that_there_was_none(extra: Any) -> None:
    mean = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "speed", "min_value": 0}}
    found = labels({"speed": np.full(6, np.nan)}, extra=extra({**mean, "meta": {"nullable": True}}))[-1]
    assert not found.success
    assert found.observed == "not as expected; the engine says no more"


def test_types_are_checked_under_their_python_names(extra: Any) -> None:
    kind = {"type": "expect_column_values_to_be_of_type", "kwargs": {"column": "weather", "type_": "str"}}
    listed = {"column": "speed", "type_list": ["float", "float64"]}
    path = extra(kind, {"type": "expect_column_values_to_be_in_type_list", "kwargs": listed})
    assert broken(labels(extra=path)) == []


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "expect_the_unexpected", "kwargs": {}},
        {"type": "expect_column_values_to_be_unique", "kwargs": {}},
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "speed", "colunm": 1}},
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "speed"}, "sevrity": "warning"},
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "speed"}, "severity": "loud"},
        {"type": "expect_column_values_to_be_unique", "kwargs": 3},
        {"type": "expect_column_values_to_be_unique"},
        {"type": ["expect_column_values_to_be_unique"], "kwargs": {"column": "speed"}},
        {"kwargs": {"column": "speed"}},
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "speed"}, "meta": "nullable"},
        between("speed", 0, 1, kwargs={"max_value": {"$PARAMETER": "fast"}}),
        "expect_column_values_to_be_unique",
        7,
        None,
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_understood_is_refused_with_its_number(extra: Any, entry: object) -> None:
    with pytest.raises(SuiteError) as raised:
        labels(extra=extra(between("speed", 0, 9), entry))
    assert raised.value.where.endswith("expectations.json, expectation 2")
    assert raised.value.mend


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"name": "mine"}', '{"expectations": 3}', "\ud800"])
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "expectations.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(SuiteError, match=r"expectations\.json: not an expectation"):
        labels(extra=path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="expectations"):
        labels(extra=tmp_path / "expectations.json")


def test_a_suite_that_the_engine_wrote_is_read(tmp_path: Path) -> None:
    import great_expectations as gx
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    context = gx.get_context(mode="ephemeral")
    suite = context.suites.add(gx.ExpectationSuite(name="mine"))
    wanted = {"column": "speed", "min_value": 0, "max_value": 4}
    suite.add_expectation_configuration(ExpectationConfiguration("expect_column_values_to_be_between", wanted))
    suite.save()
    stored = suite.to_json_dict()
    assert stored["expectations"][0]["id"]  # type: ignore[index]  # the engine refuses this one elsewhere
    (tmp_path / "expectations.json").write_text(json.dumps(stored), encoding="utf-8")
    assert labels(extra=tmp_path / "expectations.json")[-1].failed == ("c1", "c2")


# --- the splits


def splits(clip: Sequence[str], split: Sequence[str]) -> Results:
    return check_splits(clip, split, file="samples.csv", required=["calibration", "validation"])


def test_whole_clips_in_every_required_split_pass() -> None:
    results = splits(LABELS["clip_id"].tolist(), LABELS["split"].tolist())
    assert broken(results) == []
    names = ["splits.clips", "splits.named", "splits.one_split_per_clip", "splits.required"]
    assert [result.name for result in results] == names
    assert get(results, "splits.one_split_per_clip").observed == "3 of 3 rows pass"


def test_a_clip_in_two_splits_is_named() -> None:
    results = splits(["a", "a", "b", "c", "b"], ["calibration", "calibration", "validation", "validation", "train"])
    assert broken(results) == ["splits.one_split_per_clip"]
    found = get(results, "splits.one_split_per_clip")
    assert found.failed == ("b",)
    assert found.observed == "1 of 3 rows fail: 'b' (splits = validation and train)"


def test_a_required_split_without_a_clip_is_named() -> None:
    results = splits(["a", "b"], ["train", "validation"])
    assert broken(results) == ["splits.required"]
    assert get(results, "splits.required").failed == ("calibration",)


def test_a_frame_without_a_clip_does_not_pass() -> None:
    results = splits(["a", "b", ""], ["calibration", "validation", "validation"])
    assert broken(results) == ["splits.named"]
    assert get(results, "splits.named").failed == ("row 3",)


def test_no_clips_and_no_required_split_do_not_pass() -> None:
    assert broken(splits([], [])) == [
        "splits.clips",
        "splits.named",
        "splits.one_split_per_clip",
        "splits.required",
    ]
    none_required = check_splits(["a"], ["train"], file="samples.csv", required=[])
    assert broken(none_required) == ["splits.required"]


# --- the predictions

OF = "candidate.predictions."


def test_a_thousand_healthy_predictions_pass_in_a_fixed_order() -> None:
    results = predictions(1000)
    assert broken(results) == []
    names = """rows named unique asked answered shape finite_known finite low high dtype_known dtype constant"""
    assert [result.name for result in results] == [OF + name for name in names.split()]
    assert get(results, OF + "low").observed == "1000 of 1000 rows pass"
    assert get(results, OF + "low").where == "candidate predictions, columns low, lo"


def test_the_number_of_expectations_does_not_grow_with_the_predictions() -> None:
    assert len(predictions(1)) == len(predictions(50))


def test_no_predictions_do_not_pass() -> None:
    results = predictions(0)
    assert broken(results) == [result.name for result in results]


def test_an_unnamed_and_a_repeated_prediction_are_named() -> None:
    assert get(predictions(prediction=["a", "", "c"]), OF + "named").failed == ("row 2",)
    results = predictions(prediction=["a", "b", "b"])
    assert broken(results) == [OF + "unique"]
    assert get(results, OF + "unique").failed == ("b",)


@pytest.mark.parametrize(
    ("contract_name", "changes"),
    [
        ("answered", {"frames_answered": [8, 7, 8]}),
        ("answered", {"frames_answered": [8, np.nan, 8]}),
        ("answered", {"frames_answered": [8, 9, 8]}),
        ("asked", {"frames_expected": [8, 0, 8], "frames_answered": [8, 0, 8]}),
        ("shape", {"shape": ["(11,)", "(12,)", "(11,)"]}),
        ("finite", {"finite_share": [1.0, 0.99, 1.0]}),
        ("finite", {"finite_share": [1.0, 1 - 2**-53, 1.0]}),
        ("finite_known", {"finite_share": [1.0, np.nan, 1.0]}),
        ("low", {"lo": [-3.0, -1.0, -2.0]}),
        ("low", {"lo": [-3.0, np.nan, -2.0]}),
        ("low", {"low": [-3.0, np.nan, -2.0]}),
        ("low", {"low": [-3.0, np.nan, -2.0], "lo": [-3.0, np.nan, -2.0]}),
        ("high", {"hi": [3.0, 1.0, 2.0]}),
        ("high", {"hi": [3.0, np.nan, 2.0]}),
        ("high", {"high": [3.0, np.nan, 2.0]}),
        ("high", {"high": [3.0, np.nan, 2.0], "hi": [3.0, np.nan, 2.0]}),
        ("dtype", {"dtype": ["float32", "complex64", "int8"]}),
        ("dtype", {"dtype": ["float32", "object", "int8"]}),
        ("dtype_known", {"dtype": ["float32", "", "int8"]}),
        ("constant", {"std": [0.5, 0.0, 0.5]}),
        ("constant", {"std": [0.5, np.nan, 0.5]}),
    ],
)
def test_each_fault_breaks_one_contract_and_is_named(contract_name: str, changes: dict[str, Any]) -> None:
    results = predictions(**changes)
    assert broken(results) == [OF + contract_name]
    assert get(results, OF + contract_name).failed == ("front.head[1]",)


def test_a_nan_limit_fails() -> None:
    results = predictions(1, low=np.nan, high=np.nan, lo=np.nan, hi=np.nan)
    assert broken(results) == [OF + "low", OF + "high"]
    assert get(results, OF + "low").observed == "1 of 1 rows fail: 'front.head[0]' (low = nan, lo = nan)"


def test_two_unknown_shapes_are_not_equal() -> None:
    results = predictions(shape=["(1,)", "", "(1,)"], expected_shape=["(1,)", "", "(1,)"])
    assert broken(results) == [OF + "shape"]


def test_a_prediction_that_nobody_answered_does_not_pass() -> None:
    nothing = dict.fromkeys(["finite_share", "low", "high", "std"], np.nan)
    failing = broken(predictions(1, frames_answered=0, **nothing))
    assert failing == [OF + name for name in ("answered", "finite_known", "low", "high", "constant")]


def test_a_value_on_its_limit_passes() -> None:
    assert broken(predictions(lo=-2.0, hi=2.0)) == []


def test_only_a_constant_output_is_a_warning() -> None:
    assert [result.name for result in predictions() if result.severity != "critical"] == [OF + "constant"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int", "float", "uint8", "int64"])
def test_every_float_and_int_type_passes(dtype: str) -> None:
    assert broken(predictions(dtype=dtype)) == []


# --- the guest


def test_an_answer_that_never_comes_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    warm()
    from great_expectations.core import ExpectationSuite

    def forgetful(name: str, expectations: list[Any]) -> ExpectationSuite:
        return ExpectationSuite(name=name, expectations=expectations[:-1])

    monkeypatch.setattr("great_expectations.ExpectationSuite", forgetful)
    results = predictions()
    assert broken(results) == [OF + "constant"]
    assert results[-1].observed == "could not be checked: the engine gave no answer"


def test_results_are_plain_python() -> None:
    results = labels({"sample_id": [1, 1, 2, 3, 4, 5], "speed": [np.nan] * 6}, rows=5) + predictions(low=np.nan)
    assert pickle.loads(pickle.dumps(results)) == results
    for result in results:
        name, success, expectation, observed, where, failed, severity = astuple(result)
        assert {type(x) for x in (name, expectation, observed, where, severity, *failed)} == {str}
        assert type(success) is bool


def test_nothing_is_printed_logged_warned_or_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, caplog: Any, recwarn: Any, extra: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GX_ANALYTICS_ENABLED", raising=False)
    query = {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "select 1"}}
    path = extra(query)
    labels({"weather": None}, extra=path)
    with pytest.raises(SuiteError):
        labels(extra=extra({"type": "expect_nothing", "kwargs": {}}))
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert list(recwarn) == []
    assert list(tmp_path.iterdir()) == [path]
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"


def test_importing_the_contracts_does_not_import_their_engine() -> None:
    heavy = "{'great_expectations', 'pandas'}"
    code = f"import sys, gate.suite.contract; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_check_runs_in_a_spawned_worker() -> None:
    options = {
        "file": "samples.csv", "frame_id": "sample_id", "clip_id": "clip_id", "order_by": None,
        "split_column": "split", "split_values": ("validation",), "slices": (), "columns_required": (),
        "rows": 6, "extra": None,
    }  # fmt: skip
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        ready = pool.submit(warm)
        found = pool.submit(check_labels, LABELS, **options)
        split = pool.submit(check_splits, ["a"], ["validation"], file="samples.csv", required=["validation"])
        assert ready.result() is None
        assert broken(found.result() + split.result()) == []
