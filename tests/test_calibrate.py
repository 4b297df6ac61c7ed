"""vqa calibrate: thresholds of known answers, and what the command writes."""

import json
import math
from pathlib import Path

import pytest

from vqa.__main__ import main
from vqa.evaluation.confidence import abstention_threshold, auroc

SURE, UNSURE = [0.9, 0.8, 0.7], [0.4, 0.3, 0.2]


def test_abstention_threshold_parts_right_from_wrong() -> None:
    assert abstention_threshold([*UNSURE, *SURE], [0, 0, 0, 1, 1, 1]) == 0.7
    assert abstention_threshold(SURE, [1, 1, 1]) == 0.7
    assert abstention_threshold(SURE, [0, 0, 0]) == 1.0
    # One lucky answer among improbable ones does not decide.
    assert abstention_threshold([*UNSURE, 0.5, *SURE], [0, 1, 0, 0, 1, 1, 1]) == 0.7
    assert abstention_threshold([0.5] * 4, [0, 0, 0, 1], 0.25) == 0.5


def test_auroc_counts_pairs() -> None:
    assert auroc([*UNSURE, *SURE], [0, 0, 0, 1, 1, 1]) == 1.0
    assert auroc([*UNSURE, *SURE], [1, 1, 1, 0, 0, 0]) == 0.0
    assert auroc([0.5] * 4, [0, 1, 1, 0]) == 0.5
    assert auroc([0.1, 0.2, 0.3], [0, 1, 0]) == 0.5
    assert auroc([0.1, 0.9], [0, 0.5]) == pytest.approx(5 / 6)  # 1/2 won, 1/4 tied, of 3/4
    assert math.isnan(auroc([0.1, 0.9], [1, 1]))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"abstain_below": 0.0}', encoding="utf-8")
    return tmp_path / "model"


def run(folder: Path, scores: dict[float, float | None]) -> Path:
    rows = [
        {"question_id": n, "answer": "a", "probability": p, "score": s}
        for n, (p, s) in enumerate(scores.items())
    ]
    folder.mkdir()
    file = folder / "predictions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_calibrate_writes_the_threshold_of_all_runs(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [run(tmp_path / "one", {0.9: 1, 0.3: 0}), run(tmp_path / "two", {0.8: 1, 0.1: 0})]
    assert main(["calibrate", str(model), *map(str, runs)]) == 0
    assert json.loads((model / "config.json").read_text(encoding="utf-8"))["abstain_below"] == 0.8
    told = capsys.readouterr().out
    assert "answers 50.0% of 4 questions, of which 100.0% right (all: 50.0%)" in told
    assert "AUROC 1.000" in told


def test_calibrate_refuses_runs_without_scores_and_other_folders(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unscored = run(tmp_path / "one", {0.9: None})
    assert main(["calibrate", str(model), str(unscored)]) == 2
    assert "hold no scores" in capsys.readouterr().err
    assert main(["calibrate", str(tmp_path), str(unscored)]) == 2
    assert "config.json cannot be read" in capsys.readouterr().err
