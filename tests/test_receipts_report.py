"""benchmarks/receipts_report.py: saved runs as a section of a page of results."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

KINDS = ("company", "total", "date")


def line(image: str, kind: str, answer: str, side: int) -> dict[str, Any]:
    meta = {"kind": kind, "width": side, "height": side}
    key = f"{image}-{kind}"
    return {
        "question_id": key,
        "image": image,
        "question": f"{kind}?",
        "answers": [answer],
        "meta": meta,
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six receipts of three shops, of which training shows one; two of them are large."""
    for split, shops in (("train", ["Seen shop"]), ("test", ["SEEN  SHOP", "new", "other"])):
        rows = []
        for number in range(2 * len(shops)):
            side = 3000 if split == "test" and number < 2 else 500
            for kind in KINDS:
                answer = shops[number // 2] if kind == "company" else f"{kind} {number}"
                rows.append(line(f"{split}{number}.png", kind, answer, side))
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def run(root: Path, name: str, right: Callable[[dict[str, Any]], bool]) -> str:
    folder = root / name
    folder.mkdir()
    rows = []
    for text in (root / "test.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(text)
        score = float(right(row))
        said = row["answers"][0] if score else "a | b"
        rows.append({**row, "answer": said, "score": score, "probability": 0.75})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "predictions.jsonl").write_text(lines, encoding="utf-8")
    return f"{name}={folder}"


def cells(text: str, name: str) -> list[str]:
    found = [row for row in text.splitlines() if row.startswith(f"| {name} |")]
    assert len(found) == 1, f"{name} in {text}"
    return [cell.strip() for cell in found[0].strip("|").split("|")]


def test_the_section_counts_what_was_answered(root: Path, script: Callable[[str], Any]) -> None:
    module = script("receipts_report")
    docs = root / "results.md"
    docs.write_text(f"before\n{module.MARK}\nold\n", encoding="utf-8")
    ours = run(root, "ours", lambda row: row["meta"]["kind"] == "total")
    theirs = run(root, "theirs", lambda row: row["image"] < "test2")
    app = typer.Typer()
    app.command()(module.main)
    words = ["--root", str(root), "--run", ours, "--run", theirs, "--docs", str(docs)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    text = docs.read_text(encoding="utf-8")
    assert text.startswith("before\n") and "old" not in text
    assert cells(text, "all")[1] == "18"
    assert cells(text, "all")[2].startswith("33.3 (") and cells(text, "all")[3].startswith("33.3 (")
    assert cells(text, "total")[1:] == ["6", "100.0 (100.0 to 100.0)", cells(text, "total")[3]]
    assert cells(text, "scans over 8 megapixels")[1] == "6"
    assert cells(text, "scans over 8 megapixels")[3] == "100.0 (100.0 to 100.0)"
    assert cells(text, "shops that training shows")[1] == "6"
    assert cells(text, "shops that training does not show")[1] == "12"
    assert "address" not in text, "a kind that nobody asked about has no line"
    assert "error of ours: 41.7 points" in text, "always 75 % sure and a third right"
    assert text.count("| right |") + text.count("| wrong |") == 18
    assert text.count("| right |") == 6 and "`a / b`" in text


def test_only_what_all_have_answered_is_counted(root: Path, script: Callable[[str], Any]) -> None:
    module = script("receipts_report")
    whole = {f"q{n}": {"score": 1.0, "image": str(n)} for n in range(5)}
    part = {"q1": {"score": 0.0, "image": "1"}}
    found = module.table({"a": whole, "b": part}, {"all": lambda key: True})
    assert found[-1] == "| all | 1 | 100.0 (100.0 to 100.0) | 0.0 (0.0 to 0.0) |"
