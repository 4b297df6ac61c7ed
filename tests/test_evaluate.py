"""Batch evaluation writes what the VQA tools expect, whatever the batch size."""

import json
from pathlib import Path

import pytest

from vqa import datasets
from vqa.__main__ import main
from vqa.budget import Budget
from vqa.evaluation.batches import batches
from vqa.evaluation.run import evaluate
from vqa.evaluation.settings import Settings
from vqa.opening import Reading
from vqa.predictor import Predictor
from vqa.questions import Sizes


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
        assert int(str(row["tokens"])) > 4
    kinds = {row["question_id"]: row["meta"]["kind"] for row in rows}  # type: ignore[index]
    right = {key: row["answer"] in row["answers"] for key, row in predictions.items()}  # type: ignore[operator]
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["n"] == len(rows) == 16
    assert scores["overall"] == pytest.approx(100 * sum(right.values()) / len(right))
    for kind in ("color", "yes/no"):
        some = [good for key, good in right.items() if kinds[key] == kind]
        told = scores["per_answer_type"][kind]
        assert told["score"] == pytest.approx(100 * sum(some) / 8) and told["n"] == 8
        assert told["interval"][0] <= told["score"] <= told["interval"][1]


def test_batch_size_changes_nothing(squares: Path, predictor: Predictor, tmp_path: Path) -> None:
    """Mixed image sizes, one by one and all at once: the same answers and probabilities."""
    data = datasets.create("jsonl", str(squares), "test")
    for size in (1, 16):
        evaluate(predictor, data, tmp_path / str(size), Settings(batch_size=size, top_k=2))
    one, many = (lines(tmp_path / str(size) / "predictions.jsonl") for size in (1, 16))
    for a, b in zip(one, many, strict=True):
        assert (a["question_id"], a["answer"], a["tokens"]) == (
            b["question_id"],
            b["answer"],
            b["tokens"],
        )
        assert a["probability"] == pytest.approx(b["probability"], rel=1e-3, abs=0)


def test_limit(squares: Path, predictor: Predictor, tmp_path: Path) -> None:
    data = datasets.create("jsonl", str(squares), "test")
    assert evaluate(predictor, data, tmp_path, Settings(limit=5))["n"] == 5
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
    with pytest.raises(datasets.DataError, match=r"test\.jsonl: line 17: "):
        datasets.create("jsonl", str(root), "test")
    data = datasets.create("jsonl", str(root), "test", skip_bad=True)
    scores = evaluate(predictor, data, tmp_path / "out", Settings(limit=2))
    assert scores["skipped"] == 1
    assert main(["evaluate", *options]) == 2


def test_a_budget_is_kept_and_told(squares: Path, tiny: Path, tmp_path: Path) -> None:
    """Images are 32 x 32, 48 x 32 and 100 x 70 px: 4, 6 and 35 patches, the last with overview."""
    options = ["--root", str(squares), "--model", str(tiny), "--dataset", "jsonl"]
    assert main(["evaluate", *options, "--out", str(tmp_path), "--max-tokens", "25"]) == 0
    rows = lines(tmp_path / "predictions.jsonl")
    by_width = {row["width"]: row for row in rows}
    assert set(by_width) == {32, 48, 100}
    assert by_width[32]["scale"] == by_width[48]["scale"] == 1.0
    assert 0.4 < float(str(by_width[100]["scale"])) < 1.0
    assert max(int(str(row["tokens"])) for row in rows) <= 25


def test_a_limit_of_memory_is_for_each_question(squares: Path, predictor: Predictor) -> None:
    """So no other question's images and states are in memory beside it."""
    data = datasets.create("jsonl", str(squares), "test")
    examples = [data[index] for index in range(16)]
    sizes = [
        len(batch)
        for budget in (Budget(max_memory=2**33), Budget(max_tokens=10_000))
        for batch in batches(predictor, examples, Sizes(data), 8, budget)
    ]
    assert sizes[:16] == [1] * 16 and sum(sizes[16:]) == 16 and max(sizes[16:]) == 8


def test_a_budget_reads_as_ask_does(squares: Path, predictor: Predictor, tmp_path: Path) -> None:
    """The longer question of an image decides its scale, in both."""
    data = datasets.create("jsonl", str(squares), "test")
    examples = {data[index].question_id: data[index] for index in range(16)}
    budget = Budget(max_tokens=40)
    evaluate(predictor, data, tmp_path, Settings(batch_size=1, budget=budget))
    scales = []
    for row in lines(tmp_path / "predictions.jsonl"):
        example = examples[row["question_id"]]  # type: ignore[index]
        asked = predictor.ask(example.image, example.question, 1, Reading(budget=budget))
        assert asked.width == row["width"] and asked.scale >= row["scale"]
        if asked.scale == row["scale"]:
            assert asked.answer == row["answer"]
            assert asked.score == pytest.approx(row["probability"], rel=1e-3, abs=0)
            scales.append(asked.scale)
    assert len(scales) >= 8 and min(scales) < 1


def test_a_budget_that_cannot_be_met(
    squares: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--root", str(squares), "--model", str(tiny), "--dataset", "jsonl"]
    assert main(["evaluate", *options, "--out", str(tmp_path), "--max-memory", "1MB"]) == 2
    assert "max_memory" in capsys.readouterr().err
