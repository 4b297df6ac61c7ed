"""Batch evaluation writes what the VQA tools expect, whatever the batch size."""

import json
from pathlib import Path

import pytest

from vqa import datasets
from vqa.__main__ import main
from vqa.evaluate import evaluate
from vqa.predictor import Predictor


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_files(squares: Path, tiny: Path, tmp_path: Path) -> None:
    options = ["--root", str(squares), "--model", str(tiny), "--out", str(tmp_path)]
    assert main(["evaluate", "--dataset", "jsonl", *options, "--batch-size", "3"]) == 0
    rows = lines(squares / "test.jsonl")
    results = json.loads((tmp_path / "results.json").read_text())
    assert [row["question_id"] for row in results] == [row["question_id"] for row in rows]
    assert all(set(row) == {"question_id", "answer"} for row in results)
    predictions = {row["question_id"]: row for row in lines(tmp_path / "predictions.jsonl")}
    for result in results:
        row = predictions[result["question_id"]]
        assert row["answer"] == result["answer"]
        assert 0 <= float(str(row["probability"])) <= 1
        assert int(str(row["tokens"])) > 4 and float(str(row["seconds"])) > 0
    kinds = {row["question_id"]: row["meta"]["kind"] for row in rows}  # type: ignore[index]
    right = {key: row["answer"] in row["answers"] for key, row in predictions.items()}  # type: ignore[operator]
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["n"] == len(rows) == 16
    assert scores["overall"] == pytest.approx(100 * sum(right.values()) / len(right))
    for kind in ("color", "yes/no"):
        some = [good for key, good in right.items() if kinds[key] == kind]
        told = scores["per_answer_type"][kind]
        assert told == {"score": pytest.approx(100 * sum(some) / 8), "n": 8}


def test_batch_size_changes_nothing(squares: Path, predictor: Predictor, tmp_path: Path) -> None:
    """Mixed image sizes, one by one and all at once: the same answers and probabilities."""
    data = datasets.create("jsonl", str(squares), "test")
    for size in (1, 16):
        evaluate(predictor, data, tmp_path / str(size), batch_size=size, top_k=2)
    one, many = (lines(tmp_path / str(size) / "predictions.jsonl") for size in (1, 16))
    for a, b in zip(one, many, strict=True):
        assert (a["question_id"], a["answer"], a["tokens"]) == (
            b["question_id"],
            b["answer"],
            b["tokens"],
        )
        assert a["probability"] == pytest.approx(b["probability"], rel=1e-3)


def test_limit(squares: Path, predictor: Predictor, tmp_path: Path) -> None:
    data = datasets.create("jsonl", str(squares), "test")
    assert evaluate(predictor, data, tmp_path, limit=5)["n"] == 5
    assert len(lines(tmp_path / "predictions.jsonl")) == 5


def test_workers_change_nothing(squares: Path, predictor: Predictor, tmp_path: Path) -> None:
    data = datasets.create("jsonl", str(squares), "test")
    for workers in (0, 1):
        evaluate(predictor, data, tmp_path / str(workers), num_workers=workers)
    results = [(tmp_path / name / "results.json").read_bytes() for name in "01"]
    assert results[0] == results[1]


def test_skip_bad_rows_are_counted(squares: Path, predictor: Predictor, tmp_path: Path) -> None:
    good = (squares / "test.jsonl").read_text(encoding="utf-8")
    root = tmp_path / "data"
    root.mkdir()
    (root / "images").symlink_to(squares / "images")
    (root / "test.jsonl").write_text(good + "no json\n", encoding="utf-8")
    options = ["--dataset", "jsonl", "--root", str(root), "--out", str(tmp_path / "out")]
    with pytest.raises(datasets.DataError, match=r"test\.jsonl:17: "):
        datasets.create("jsonl", str(root), "test")
    data = datasets.create("jsonl", str(root), "test", skip_bad=True)
    scores = evaluate(predictor, data, tmp_path / "out", limit=2)
    assert scores["skipped"] == 1
    assert main(["evaluate", *options]) == 2
