"""Scores of a model and of the blind baselines on every data set at hand, as docs/results.md.

    python benchmarks/results.py --data DATA [--model MODEL]

DATA is a folder with jsonl data sets in folders nlvr1, vqa_rad, chartqa and sroie_vqa; those that
are not there are left out. easy-VQA comes with its package. What is done already is not done again.
"""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from receipts_report import DOCS, MARK
from typer import Option

from vqa import datasets
from vqa.budget import Budget
from vqa.datasets import Dataset
from vqa.evaluation import Settings, baselines, evaluate
from vqa.predictor import Predictor

WAYS = ("model", *baselines.NAMES)


@dataclass(frozen=True)
class Pack:
    """A data set with its metric, and at most how many tokens are read of an image."""

    name: str
    title: str
    metric: str = "exact_match"
    options: tuple[tuple[str, str], ...] = ()
    max_tokens: int | None = 2000


PACKS = (
    Pack("easy_vqa", "easy-VQA", max_tokens=None),
    Pack("nlvr1", "NLVR (v1)", max_tokens=None),
    Pack("vqa_rad", "VQA-RAD", options=(("answer_type", "answer_type"),)),
    Pack("chartqa", "ChartQA", "relaxed_accuracy", (("answer_type", "part"),)),
    Pack("sroie_vqa", "SROIE receipts", "anls"),
)


def opened(pack: Pack, data: Path | None, split: str) -> Dataset | None:
    """The split, if it is at hand."""
    if pack.name == "easy_vqa":
        return datasets.create("easy_vqa", split=split)
    if data is None or not (data / pack.name / f"{split}.jsonl").is_file():
        return None
    words: dict[str, Any] = {"metric": pack.metric, **dict(pack.options)}
    return datasets.create("jsonl", str(data / pack.name), split, **words)


def score(
    way: str, pack: Pack, predictor: Predictor, data: Path | None, limit: int | None, out: Path
) -> dict[str, Any]:
    """One evaluation of the test split."""
    test, train = (opened(pack, data, split) for split in ("test", "train"))
    assert test is not None and train is not None
    if way == "most-frequent":
        return baselines.frequent(train, test, out, limit)
    asked = baselines.WRAPPERS[way](test) if way in baselines.WRAPPERS else test
    most = None if way == "question-only" else pack.max_tokens
    budget = Budget(max_tokens=most)
    name = None if way == "model" else way
    return evaluate(predictor, asked, out, Settings(limit=limit, budget=budget, baseline=name))


def table(rows: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """Markdown: a line a data set, a column a way."""
    lines = ["| data set | questions | metric | " + " | ".join(WAYS) + " |"]
    lines.append("| --- | ---: | --- |" + " ---: |" * len(WAYS))
    for pack in PACKS:
        if pack.name in rows:
            found = rows[pack.name]
            cells = [f"{found[w]['overall']:.1f} ({_interval(found[w])})" for w in WAYS]
            head = f"| {pack.title} | {found['model']['n']:,} | {pack.metric.replace('_', ' ')} | "
            lines.append(head + " | ".join(cells) + " |")
    return lines


def _interval(scores: dict[str, Any]) -> str:
    low, high = scores["interval"]
    return f"{low:.1f} to {high:.1f}"


def main(
    data: Annotated[Path | None, Option(help="Folder of the jsonl data sets.")] = None,
    model: Annotated[
        str | None, Option(help="A model folder; the bundled one if not given.")
    ] = None,
    limit: Annotated[int | None, Option(help="The first questions of each only.")] = None,
    out: Annotated[Path, Option(help="Folder of the runs, to go on from.")] = Path("runs/results"),
    threads: int = 2,
) -> None:
    """Score everything and write docs/results.md."""
    torch.set_num_threads(threads)
    predictor = Predictor.from_pretrained(model, cache_mb=0)
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for pack in PACKS:
        if opened(pack, data, "test") is None:
            continue
        for way in WAYS:
            some = None if pack.name == "easy_vqa" else limit
            found = score(way, pack, predictor, data, some, out / pack.name / way)
            rows.setdefault(pack.name, {})[way] = found
            print(pack.name, way, found["overall"], found["interval"], flush=True)
    page = DOCS.read_text(encoding="utf-8")
    started, receipts = page.split("<!-- table -->")[0], page.partition(MARK)
    command = f"`python benchmarks/results.py --data DATA{f' --limit {limit}' if limit else ''}`"
    told = f"{command}, torch {torch.__version__}, {date.today()}:"
    text = "\n".join([told, "", *table(rows), ""])
    kept = "".join(receipts[1:])  # the section that benchmarks/receipts_report.py wrote
    DOCS.write_text(f"{started}<!-- table -->\n{text}\n{kept}", encoding="utf-8")
    (out / "results.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
