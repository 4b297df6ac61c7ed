"""What saved runs answered on every data set, as docs/results.md; no model is run.

    python benchmarks/results.py --data DATA --runs RUNS

DATA is the folder of the jsonl data sets; RUNS holds folders that `vqa evaluate` or
benchmarks/ocr_baseline.py wrote. Which they are, and the page's prose, is in results.toml; what is
not there stands as "not run". Of a folder with training.json ({"steps", "minutes", "peak_mb",
"parameters"}) the page tells what training cost. Answers are scored anew, all by the data set's one
metric, and counted on the questions that all of its runs have answered.
"""

import json
import random
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from results_curves import Curve, curve, picture
from results_groups import Row, Test, groups, questions, receipts
from typer import Option

from vqa import metrics
from vqa.evaluation import predictions
from vqa.evaluation.bootstrap import bootstrap
from vqa.evaluation.confidence import calibration

DOCS = Path(__file__).parents[1] / "docs" / "results.md"
TABLE = Path(__file__).with_suffix(".toml")
SHEET = 20
"""Answers that are shown, drawn by seed."""

Run = dict[int | str, Row]
"""Answers by question id."""


@dataclass(frozen=True)
class Pack:
    """A data set on the page. `runs` and `curves`: a name -> folder in RUNS, the model's own first.

    `kinds`: the field of a question's meta by which it is counted apart; `folder` of DATA;
    `receipts`: sizes of scans and shops are counted apart; `sheet`: some answers are shown.
    """

    title: str
    metric: str
    kinds: str
    runs: dict[str, str]
    folder: str | None = None
    split: str = "test"
    receipts: bool = False
    sheet: bool = False
    note: str = ""
    curves: dict[str, str] = field(default_factory=dict)


def answered(folder: Path, metric: str) -> Run:
    """The answers in `folder`, scored by `metric`; none where it was not run to its end."""
    if not (folder / "predictions.jsonl").is_file():
        return {}
    score = getattr(metrics, metric)
    rows = [row for row in predictions.read(folder).values() if row.get("answers")]
    return {
        row["question_id"]: row | {"score": score(row["answer"], row["answers"])} for row in rows
    }


def table(runs: Mapping[str, Run], tests: Mapping[str, Test]) -> list[str]:
    """Markdown: a line a group, a column a run; 95 % intervals, images drawn with replacement."""
    keys = shared(runs)
    lines = [
        "| questions | n | " + " | ".join(runs) + " |",
        "| --- | ---: |" + " ---: |" * len(runs),
    ]
    for name, test in tests.items():
        some = [key for key in keys if test(key)]
        if some:
            cells = [
                _cell([run[key] for key in some]) if run else "not run" for run in runs.values()
            ]
            lines.append(f"| {name} | {len(some):,} | " + " | ".join(cells) + " |")
    return lines


def shared(runs: Mapping[str, Run]) -> list[int | str]:
    """The questions that every run has answered, of those that were run."""
    made = [run for run in runs.values() if run]
    return [key for key in made[0] if all(key in run for run in made)] if made else []


def sheet(run: Run, seed: int) -> list[str]:
    """Answers drawn by seed, right and wrong as they come."""
    keys = random.Random(seed).sample(sorted(run, key=str), min(SHEET, len(run)))
    lines = [
        "| question | expected | answered | probability | |",
        "| --- | --- | --- | ---: | --- |",
    ]
    for row in (run[key] for key in keys):
        asked = row["question"].replace("|", "/")
        expected, said = _cut(row["answers"][0]), _cut(row["answer"])
        right = "right" if row["score"] == 1 else "wrong"
        chance = f"{row['probability']:.2f}"
        lines.append(f"| {asked} | {expected} | {said} | {chance} | {right} |")
    return lines


def trust(runs: Mapping[str, Run], folders: Mapping[str, Path]) -> list[str]:
    """How far the models' probabilities are off; baselines have none to speak of."""
    told = []
    for name, run in runs.items():
        record = folders[name] / "run.json"
        words = json.loads(record.read_text(encoding="utf-8")) if run and record.is_file() else {}
        if "weights" in words and words.get("baseline") is None:
            rows = [*run.values()]
            pairs = [row["probability"] for row in rows], [row["score"] for row in rows]
            told.append(f"{name} {100 * calibration(*pairs)['ece']:.1f}")
    return [f"Expected calibration error in points: {', '.join(told)}.", ""] if told else []


def costs(folders: Mapping[str, Path]) -> list[str]:
    """What the trainings cost that tell."""
    files = {name: folder / "training.json" for name, folder in folders.items()}
    rows = []
    for name, file in files.items():
        if file.is_file():
            words = json.loads(file.read_text(encoding="utf-8"))
            numbers = [words[key] for key in ("steps", "minutes", "peak_mb", "parameters")]
            rows.append(f"| {name} | " + " | ".join(f"{number:,.0f}" for number in numbers) + " |")
    head = ["| trained | steps | minutes | peak MB | parameters |", "| --- |" + " ---: |" * 4]
    return [*head, *rows, ""] if rows else []


def section(pack: Pack, data: Path, saved: Path, seed: int) -> list[str]:
    """All that is told of one data set."""
    folders = {name: saved / folder for name, folder in pack.runs.items()}
    runs = {name: answered(folder, pack.metric) for name, folder in folders.items()}
    lines = [f"## {pack.title}", *([pack.note.strip()] if pack.note else [])]
    keys = shared(runs)
    if not keys:
        return [*lines, "", "Not run.", ""]
    splits = {
        split: questions(data / pack.folder / f"{split}.jsonl") if pack.folder else {}
        for split in ("train", pack.split)
    }
    asked, first = splits[pack.split], next(run for run in runs.values() if run)
    tests = groups(pack.kinds, asked, first)
    if pack.receipts and asked:
        tests |= receipts(asked, splits["train"])
    most = max(map(len, runs.values()))
    among = f" of {most:,}, those that every run answered" if len(keys) < most else ""
    lines += [
        "",
        f"{pack.metric.replace('_', ' ').capitalize()}; {len(keys):,} questions{among}.",
        "",
    ]
    lines += [*table(runs, tests), "", *trust(runs, folders), *costs(folders)]
    name, own = next(iter(runs.items()))
    if pack.sheet and own:
        lines += [f"{SHEET} answers of {name}, drawn by seed {seed}:", "", *sheet(own, seed), ""]
    return lines


def curves(packs: Sequence[Pack], saved: Path) -> dict[str, dict[str, Curve]]:
    """The learning curves that there are, by data set and name."""
    found = {
        pack.title: {name: curve(saved / folder) for name, folder in pack.curves.items()}
        for pack in packs
    }
    drawn = {
        title: {name: points for name, points in lines.items() if points}
        for title, lines in found.items()
    }
    return {title: lines for title, lines in drawn.items() if lines}


def _cell(rows: Sequence[Row]) -> str:
    found = bootstrap([100 * row["score"] for row in rows], [row["image"] for row in rows])
    return f"{found.mean:.1f} ({found.low:.1f} to {found.high:.1f})"


def _cut(text: str) -> str:
    """As a cell of a table holds it."""
    text = " ".join(text.replace("|", "/").replace("`", "'").split())
    return f"`{text[:47]}...`" if len(text) > 50 else f"`{text}`" if text else "(nothing)"


def main(
    data: Annotated[Path, Option(help="Folder of the jsonl data sets.")],
    runs: Annotated[Path, Option(help="Folder of the saved runs.")],
    seed: Annotated[int, Option(help="Draws the answers that are shown.")] = 0,
    config: Annotated[Path, Option(help="Which data sets and runs.")] = TABLE,
    docs: Annotated[Path, Option(help="The page; a picture is put beside it.")] = DOCS,
) -> None:
    """Write the page."""
    words: dict[str, Any] = tomllib.loads(config.read_text(encoding="utf-8"))
    packs = [Pack(**each) for each in words["data"]]
    lines = ["# Results", words["about"].strip(), ""]
    lines += [f"`python benchmarks/results.py --data DATA --runs RUNS`, {date.today()}.", ""]
    for pack in packs:
        print(pack.title, file=sys.stderr, flush=True)
        lines += section(pack, data, runs, seed)
    drawn = curves(packs, runs)
    if drawn:
        image = docs.with_name(f"{docs.stem}_curves.png")
        picture(drawn, image)
        told = "Share of right validation answers against training steps"
        lines += [
            "## Learning",
            f"![{told}, a line a training, a panel a data set]({image.name})",
            "",
        ]
    docs.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
