"""benchmarks/results.py: saved runs as a page of results."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

KINDS = ("company", "total", "date")
CONFIG = """
about = "What this is."
[[data]]
title = "Receipts"
folder = "receipts"
metric = "exact_match"
kinds = "kind"
receipts = true
sheet = true
note = "Six scans."
runs = {ours = "ours", theirs = "theirs", later = "later"}
curves = {ours = "logs", later = "none"}
[[data]]
title = "Charts"
metric = "relaxed_accuracy"
kinds = "answer_type"
runs = {model = "charts"}
[[data]]
title = "Others"
metric = "exact_match"
kinds = "kind"
runs = {model = "others"}
"""


def line(image: str, kind: str, answer: str, side: int) -> dict[str, Any]:
    return {
        "question_id": f"{image}-{kind}",
        "image": image,
        "question": f"{kind}?",
        "answers": [answer],
        "meta": {"kind": kind, "width": side, "height": side},
    }


def save(folder: Path, rows: list[dict[str, Any]]) -> None:
    folder.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "predictions.jsonl").write_text(lines, encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six receipts of three shops, of which training shows one; two of them are large."""
    (tmp_path / "receipts").mkdir()
    for split, shops in (("train", ["Seen shop"]), ("test", ["SEEN  SHOP", "new", "other"])):
        rows = []
        for number in range(2 * len(shops)):
            side = 3000 if split == "test" and number < 2 else 500
            for kind in KINDS:
                answer = shops[number // 2] if kind == "company" else f"{kind} {number}"
                rows.append(line(f"{split}{number}.png", kind, answer, side))
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "receipts" / f"{split}.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "results.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def run(root: Path, name: str, right: Callable[[dict[str, Any]], bool], **more: Any) -> None:
    """Answers as they are saved; what was scored by another metric is scored anew."""
    rows = []
    text = (root / "receipts" / "test.jsonl").read_text(encoding="utf-8")
    for row in map(json.loads, text.splitlines()):
        said = row["answers"][0] if right(row) else "a | b"
        rows.append({**row, "answer": said, "score": 0.5, "probability": 0.75})
    save(root / name, rows)
    (root / name / "run.json").write_text(json.dumps(more), encoding="utf-8")


def page(root: Path, module: Any) -> str:
    app = typer.Typer()
    app.command()(module.main)
    words = ["--data", str(root), "--runs", str(root), "--config", str(root / "results.toml")]
    done = CliRunner().invoke(app, [*words, "--docs", str(root / "results.md")])
    assert done.exit_code == 0, done.output
    return (root / "results.md").read_text(encoding="utf-8")


def cells(text: str, name: str) -> list[str]:
    found = [row for row in text.splitlines() if row.startswith(f"| {name} |")]
    assert len(found) == 1, f"{name} in {text}"
    return [cell.strip() for cell in found[0].strip("|").split("|")]


def test_the_page_counts_what_was_answered(root: Path, script: Callable[[str], Any]) -> None:
    run(root, "ours", lambda row: row["meta"]["kind"] == "total", weights="w", baseline=None)
    run(root, "theirs", lambda row: row["image"] < "test2")
    text = page(root, script("results"))
    assert text.startswith("# Results\nWhat this is.\n") and "## Receipts\nSix scans.\n" in text
    assert cells(text, "all")[1] == "18" and "Exact match; 18 questions." in text
    assert cells(text, "all")[2].startswith("33.3 (") and cells(text, "all")[3].startswith("33.3 (")
    assert cells(text, "all")[4] == "not run"
    assert cells(text, "total")[1:3] == ["6", "100.0 (100.0 to 100.0)"]
    assert cells(text, "scans over 8 megapixels")[1] == "6"
    assert cells(text, "scans over 8 megapixels")[3] == "100.0 (100.0 to 100.0)"
    assert cells(text, "scans up to 8 megapixels")[1] == "12"
    assert cells(text, "shops that training shows")[1] == "6"
    assert cells(text, "shops that training does not show")[1] == "12"
    assert "address" not in text, "a kind that nobody asked about has no line"
    told = "Expected calibration error in points: ours 41.7."
    assert told in text, "always 75 % sure and a third right; theirs is no model"
    assert text.count("| right |") + text.count("| wrong |") == 18
    assert text.count("| right |") == 6 and "`a / b`" in text
    assert text.count("Not run.") == 2 and "## Charts\n\nNot run." in text
    assert "| trained |" not in text and "## Learning" not in text


def test_only_what_all_have_answered_is_counted(script: Callable[[str], Any]) -> None:
    module = script("results")
    whole = {f"q{n}": {"score": 1.0, "image": str(n)} for n in range(5)}
    part = {"q1": {"score": 0.0, "image": "1"}}
    found = module.table({"a": whole, "b": part, "c": {}}, {"all": lambda key: True})
    assert found[-1] == "| all | 1 | 100.0 (100.0 to 100.0) | 0.0 (0.0 to 0.0) | not run |"


def test_kinds_without_the_data_set_and_its_metric(
    root: Path, script: Callable[[str], Any]
) -> None:
    """Of a data set in a package, or not at hand; a number within five percent is right."""
    words = {"question": "?", "answers": ["100"], "probability": 0.5, "score": 0.0}
    said = [("human", "104"), ("human", "120"), ("augmented", "98")]
    rows = [
        {**words, "question_id": n, "image": str(n), "answer_type": kind, "answer": answer}
        for n, (kind, answer) in enumerate(said)
    ]
    save(root / "charts", rows)
    (root / "others").mkdir()  # begun, and not answered to its end
    text = page(root, script("results"))
    assert "Relaxed accuracy; 3 questions." in text
    assert cells(text, "human")[1:] == ["2", "50.0 (0.0 to 100.0)"]
    assert cells(text, "augmented")[1:] == ["1", "100.0 (100.0 to 100.0)"]
    assert cells(text, "all")[2].startswith("66.7 (")
    assert "## Others\n\nNot run." in text and "## Receipts\nSix scans.\n\nNot run." in text


def test_costs_and_curves_of_training(root: Path, script: Callable[[str], Any]) -> None:
    pytest.importorskip("matplotlib")
    run(root, "ours", lambda row: True)
    words = {"steps": 1200, "minutes": 33.4, "peak_mb": 2100, "parameters": 3_456_789}
    (root / "ours" / "training.json").write_text(json.dumps(words), encoding="utf-8")
    for version, lines in enumerate(("9,0.5\n19,\n19,0.25\n", "19,0.75\n29,1.0\n")):
        folder = root / "logs" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(f"step,val/accuracy\n{lines}", encoding="utf-8")
    (root / "none").mkdir()
    (root / "none" / "metrics.csv").write_text("step,train/loss\n9,1.0\n", encoding="utf-8")
    text = page(root, script("results"))
    assert cells(text, "ours") == ["ours", "1,200", "33", "2,100", "3,456,789"]
    assert "(results_curves.png)" in text
    assert (root / "results_curves.png").read_bytes().startswith(b"\x89PNG")
    found = script("results_curves").curve(root / "logs")
    assert found == {10: 0.5, 20: 0.75, 30: 1.0}, "what was trained again counts"
    again = root / "logs" / "version_10"
    again.mkdir()
    (again / "metrics.csv").write_text("step,val/accuracy\n0,\n14,0.9\n", encoding="utf-8")
    found = script("results_curves").curve(root / "logs")
    assert found == {15: 0.9}, "a new training is one of its own"


def test_the_configuration_is_understood(script: Callable[[str], Any]) -> None:
    module = script("results")
    words = module.tomllib.loads(module.TABLE.read_text(encoding="utf-8"))
    packs = [module.Pack(**each) for each in words["data"]]
    assert words["about"] and len({pack.title for pack in packs}) == len(packs) >= 6
    assert all(callable(getattr(module.metrics, pack.metric)) for pack in packs)
