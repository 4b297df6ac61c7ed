"""What saved runs answered on receipts, as a section of docs/results.md.

    python benchmarks/receipts_report.py --root ROOT --run documents=OUT --run OCR=OUT2

ROOT is the folder of sroie_vqa, OUT a folder that `vqa evaluate` or benchmarks/ocr_baseline.py
wrote. Everything is counted on the questions that all runs have answered.
"""

import json
import random
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from vqa.evaluation import predictions
from vqa.evaluation.bootstrap import bootstrap
from vqa.evaluation.confidence import calibration
from vqa.metrics.exact import normalise

DOCS = Path(__file__).parents[1] / "docs" / "results.md"
MARK = "<!-- receipts -->"
KINDS = ("total", "date", "time", "row", "company", "address")
LARGE = 8_000_000
"""Pixels from which a scan is counted apart."""
SHEET = 20
"""Answers that are shown, drawn by seed."""

Row = dict[str, Any]


def questions(root: Path, split: str) -> dict[str, Row]:
    """The lines of a split by question id."""
    with (root / f"{split}.jsonl").open(encoding="utf-8") as lines:
        return {row["question_id"]: row for row in map(json.loads, lines)}


def shops(asked: dict[str, Row]) -> dict[str, str]:
    """Who issued each receipt, by its image."""
    company = [row for row in asked.values() if row["meta"]["kind"] == "company"]
    return {row["image"]: normalise(row["answers"][0]) for row in company}


def groups(root: Path, split: str) -> dict[str, Callable[[str], bool]]:
    """What is counted apart, as tests of a question id."""
    asked = questions(root, split)
    shop, known = shops(asked), set(shops(questions(root, "train")).values())

    def kind(name: str) -> Callable[[str], bool]:
        return lambda key: asked[key]["meta"]["kind"] == name

    def large(key: str) -> bool:
        return bool(asked[key]["meta"]["width"] * asked[key]["meta"]["height"] > LARGE)

    def seen(key: str) -> bool:
        return shop.get(asked[key]["image"]) in known

    return {
        "all": lambda key: True,
        **{name: kind(name) for name in KINDS},
        "scans over 8 megapixels": large,
        "scans up to 8 megapixels": lambda key: not large(key),
        "shops that training shows": seen,
        "shops that training does not show": lambda key: not seen(key),
    }


def table(runs: dict[str, dict[str, Row]], tests: dict[str, Callable[[str], bool]]) -> list[str]:
    """Markdown: a line a group, a column a run; 95 % intervals, images drawn with replacement."""
    shared = [key for key in next(iter(runs.values())) if all(key in run for run in runs.values())]
    lines = [
        "| questions | n | " + " | ".join(runs) + " |",
        "| --- | ---: |" + " ---: |" * len(runs),
    ]
    for name, test in tests.items():
        keys = [key for key in shared if test(key)]
        if keys:
            cells = [_cell([run[key] for key in keys]) for run in runs.values()]
            lines.append(f"| {name} | {len(keys):,} | " + " | ".join(cells) + " |")
    return lines


def sheet(run: dict[str, Row], seed: int) -> list[str]:
    """Answers drawn by seed, right and wrong as they come."""
    keys = random.Random(seed).sample(sorted(run), min(SHEET, len(run)))
    lines = [
        "| question | expected | answered | probability | |",
        "| --- | --- | --- | ---: | --- |",
    ]
    for row in (run[key] for key in keys):
        expected, said = _cut(row["answers"][0]), _cut(row["answer"])
        right = "right" if row["score"] == 1 else "wrong"
        lines.append(
            f"| {row['question']} | {expected} | {said} | {row['probability']:.2f} | {right} |"
        )
    return lines


def _cell(rows: Sequence[Row]) -> str:
    found = bootstrap([100 * row["score"] for row in rows], [row["image"] for row in rows])
    return f"{found.mean:.1f} ({found.low:.1f} to {found.high:.1f})"


def _cut(text: str) -> str:
    """As a cell of a table holds it."""
    text = text.replace("|", "/").strip()
    return f"`{text[:47]}...`" if len(text) > 50 else f"`{text}`" if text else "(nothing)"


def main(
    root: Annotated[Path, Option(help="Folder of sroie_vqa.")],
    run: Annotated[list[str], Option(help="NAME=FOLDER, the model's own first.")],
    split: str = "test",
    seed: int = 0,
    docs: Annotated[Path, Option(help="File whose section is written.")] = DOCS,
) -> None:
    """Write the section: the table, the calibration and the sheet of the first run."""
    folders = dict(each.split("=", 1) for each in run)
    runs = {
        name: {row["question_id"]: row for row in predictions.read(Path(folder)).values()}
        for name, folder in folders.items()
    }
    name, first = next(iter(runs.items()))
    rows = [*first.values()]
    error = calibration([row["probability"] for row in rows], [row["score"] for row in rows])["ece"]
    words = " ".join(f"--run {each}=..." for each in folders)
    text = [
        f"`python benchmarks/receipts_report.py --root ROOT {words}`, {date.today()}.",
        "Exact match, in brackets the 95 % interval, images drawn with replacement:",
        "",
        *table(runs, groups(root, split)),
        "",
        f"Expected calibration error of {name}: {100 * error:.1f} points.",
        f"{SHEET} of its answers, drawn by seed {seed}:",
        "",
        *sheet(first, seed),
        "",
    ]
    before = docs.read_text(encoding="utf-8").split(MARK)[0]
    docs.write_text(f"{before}{MARK}\n" + "\n".join(text), encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    typer.run(main)
