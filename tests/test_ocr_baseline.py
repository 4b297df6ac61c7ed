"""benchmarks/ocr_rules.py answers from the texts of a page, wherever they stand."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

FOLDER = Path(__file__).parents[1] / "benchmarks"

RECEIPT = (
    ("ROBAT HARDWARE SDN BHD (123456-X)",),
    ("NO. 7, JALAN MAWAR 3,",),
    ("81100 JOHOR BAHRU, JOHOR",),
    ("TEL: 07-3882218",),
    ("DATE", "25/12/2018 8:13.39 PM"),
    ("CASHIER: MANIS",),
    ("TOTAL QTY", "3"),
    ("SUB TOTAL", "9.43"),
    ("ROUNDING", "0.02"),
    ("TOTAL (RM)", "9.45"),
    ("TOTAL GST 6%", "0.53"),
    ("CASH", "20.00"),
    ("CHANGE 10.55",),
)


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)


def texts(lines: tuple[tuple[str, ...], ...]) -> list[Any]:
    """As an engine gives them: in no order, right ones a little lower."""
    found = []
    for row, line in enumerate(lines):
        for column, text in enumerate(line):
            left, top = 200 * column, 30 * row + 4 * column
            right, bottom = left + 190, top + 20
            corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
            found.append([text, corners])
    return found[::-1]


@pytest.mark.parametrize(
    ("kind", "key", "answer"),
    [
        ("total", "", "9.45"),
        ("date", "", "25/12/2018"),
        ("time", "", "8:13:39 PM"),
        ("company", "", "ROBAT HARDWARE SDN BHD"),
        ("address", "", "NO. 7, JALAN MAWAR 3, 81100 JOHOR BAHRU, JOHOR"),
        ("row", "CASH", "20.00"),
        ("row", "CASHIER", "MANIS"),
        ("row", "CHANGE", "10.55"),
        ("row", "TOTAL QTY", "3"),
        ("row", "SUBTOTAL", "9.43"),
        ("row", "VISA", ""),
    ],
)
def test_rules(kind: str, key: str, answer: str) -> None:
    rules = importlib.import_module("ocr_rules")
    question = f'What is printed to the right of "{key}"?'
    assert rules.answer(kind, question, rules.rows(texts(RECEIPT))) == answer


def test_an_empty_page_has_no_answers() -> None:
    rules = importlib.import_module("ocr_rules")
    for kind in ("total", "date", "time", "company", "address", "row"):
        assert rules.answer(kind, 'right of "CASH"?', rules.rows([])) == ""


def test_scores_a_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Questions about pages that were not read are left out."""
    Image.new("L", (10, 10)).save(tmp_path / "a.png")
    Image.new("L", (10, 10)).save(tmp_path / "b.png")
    asked = [
        ("a.png", "9.45", "total"),
        ("a.png", "26/12/2018", "date"),
        ("b.png", "1.00", "total"),
    ]
    lines = []
    for number, (image, answer, kind) in enumerate(asked):
        row = {"question_id": number, "image": image, "question": "?", "answers": [answer]}
        lines.append(json.dumps(row | {"meta": {"kind": kind}}))
    (tmp_path / "test.jsonl").write_text("\n".join(lines), encoding="utf-8")
    page = {"image": "a.png", "seconds": 2.0, "peak_mib": 100.0, "texts": texts(RECEIPT)}
    (tmp_path / "read.jsonl").write_text(json.dumps(page) + "\n", encoding="utf-8")
    baseline = importlib.import_module("ocr_baseline")
    baseline.main(tmp_path, tmp_path / "read.jsonl", tmp_path / "run")
    told = capsys.readouterr().out
    assert "total    100.0" in told and "date       0.0" in told and "all       50.0" in told
    saved = (tmp_path / "run" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["answer"] for line in saved] == ["9.45", "25/12/2018"]
