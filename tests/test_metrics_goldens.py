"""Every golden of the official tools: no case may differ. See tests/data/metrics/SOURCE.md."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from vqa.datasets import Example
from vqa.metrics import anls, relaxed_accuracy, textvqa, textvqa_accuracy, vqa_accuracy, vqa_report
from vqa.metrics import vqa as official

FOLDER = Path(__file__).parent / "data" / "metrics"
Case = dict[str, Any]


@cache
def golden(name: str) -> dict[str, Any]:
    with gzip.open(FOLDER / f"{name}.json.gz", "rt", encoding="utf-8") as stream:
        return json.load(stream)  # type: ignore[no-any-return]


def close(one: float, other: float) -> bool:
    return abs(one - other) < 1e-9


def wrong(cases: list[Case], metric: Any, key: str) -> list[Case]:
    return [c for c in cases if not close(metric(c["prediction"], c["answers"]), c[key])]


def test_vqa_accuracy() -> None:
    cases = golden("vqa_eval")["cases"]
    assert len(cases) == 1947
    assert not wrong(cases, vqa_accuracy, "accuracy")
    assert not [
        case
        for case in cases
        if round(100 * vqa_accuracy(case["prediction"], case["answers"]), 2) != case["accuracy_pct"]
    ]


def test_vqa_accuracy_of_other_numbers_of_annotators() -> None:
    """One is left out by position: ten equal answers without ids are still ten."""
    cases = golden("vqa_eval")["other_answer_counts"]
    assert {len(case["answers"]) for case in cases} == set(range(1, 13))
    assert not wrong(cases, vqa_accuracy, "accuracy")


def test_vqa_accuracy_where_versions_of_python_differ() -> None:
    for case in golden("vqa_eval")["python_version_sensitive"]["cases"]:
        found = vqa_accuracy(case["prediction"], case["answers"])
        either = case["accuracy"], case["accuracy_python3_port"]
        assert any(close(found, accuracy) for accuracy in either), case


@pytest.mark.parametrize(
    ("name", "processed", "count"),
    [("vqa_eval", official.processed, 4432), ("textvqa_eval", textvqa.processed, 1516)],
)
def test_processing(name: str, processed: Any, count: int) -> None:
    pairs = golden(name)["normalise"]
    assert len(pairs) == count
    assert not [pair for pair in pairs if processed(pair[0]) != pair[1]]


def test_textvqa_accuracy() -> None:
    cases = golden("textvqa_eval")["cases"]
    assert len(cases) == 829
    assert not wrong(cases, textvqa_accuracy, "accuracy")
    assert not wrong(cases, vqa_accuracy, "vqav2_accuracy")
    assert wrong(cases, vqa_accuracy, "accuracy"), "the two metrics are not the same"


def test_anls() -> None:
    cases = golden("anls")["cases"]
    assert len(cases) == 191
    assert not wrong(cases, anls, "anls")
    assert not wrong(cases, lambda *case: anls(*case, strict=True), "anls")


def test_anls_where_implementations_differ() -> None:
    cases = golden("anls")["variant_sensitive"]["cases"]
    assert len(cases) == 38
    assert not wrong(cases, anls, "anls_rrc_script")
    assert not wrong(cases, lambda *case: anls(*case, strict=True), "anls_paper_normalised")
    assert wrong(cases, anls, "anls_paper_normalised"), "strict must matter"


def test_relaxed_accuracy() -> None:
    cases = golden("relaxed_accuracy")["cases"]
    assert len(cases) == 234
    told = [relaxed_accuracy(case["prediction"], [case["target"]]) for case in cases]
    assert told == [float(case["correct"]) for case in cases]


def test_vqa_report_of_the_goldens() -> None:
    """The official overall is round(100 * mean, 2), and so is each group's."""
    cases = golden("vqa_eval")["cases"]
    examples = [
        Example(c["question_id"], "", "", tuple(c["answers"]), c["answer_type"], c["question_type"])
        for c in cases
    ]
    report = vqa_report(examples, [case["prediction"] for case in cases])
    assert report["overall"] == round(100 * sum(c["accuracy"] for c in cases) / len(cases), 2)
    assert report["overall_unrounded"] == pytest.approx(report["overall"], abs=0.005)
    assert report["n"] == len(cases)
    for field in ("question_type", "answer_type"):
        groups = report[f"per_{field}"]
        assert set(groups) == {case[field] for case in cases}
        for name, group in groups.items():
            some = [case["accuracy"] for case in cases if case[field] == name]
            assert group["score"] == round(100 * sum(some) / len(some), 2), name
            assert group["n"] == len(some)
    json.dumps(report)
