"""What RapidOCR and plain rules answer on receipts: the baseline of a document model.

    pip install rapidocr onnxruntime
    python benchmarks/ocr_read.py --root ROOT --out runs/ocr/test.jsonl
    python benchmarks/ocr_baseline.py --root ROOT --read runs/ocr/test.jsonl --out runs/ocr/test

ROOT is the folder of sroie_vqa. Writes OUT/predictions.jsonl, which `vqa compare` takes beside
runs of `vqa evaluate`. Questions about pages that were not read are left out.
"""

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer
from ocr_rules import answer, rows
from typer import Option

from vqa import datasets
from vqa.evaluation.results import row_of
from vqa.metrics import anls


def main(
    root: Annotated[Path, Option(help="Folder of sroie_vqa.")],
    read: Annotated[Path, Option(help="What ocr_read.py wrote.")],
    out: Annotated[Path, Option(help="Folder of the run.")],
    split: str = "test",
) -> None:
    """Print exact match and ANLS by kind of question, seconds and memory a page."""
    pages = {}
    with read.open(encoding="utf-8") as lines:
        for line in lines:
            page = json.loads(line)
            pages[page["image"]] = page
    data = datasets.create("jsonl", str(root), split)
    right, likeness = defaultdict(list), defaultdict(list)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "predictions.jsonl").open("w", encoding="utf-8") as stream:
        for index in range(len(data)):
            example = data[index]
            page = pages.get(str(Path(example.image).relative_to(root.resolve())))
            if page is None:
                continue
            kind = str(example.answer_type)
            said = answer(kind, example.question, rows(page["texts"]))
            row = row_of(data, example, said, 1.0)
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            for name in (kind, "all"):
                right[name].append(row["score"])
                likeness[name].append(anls(said, example.answers))
    for name, found in right.items():
        near = 100 * statistics.mean(likeness[name])
        print(f"{name:8} {100 * statistics.mean(found):5.1f}  ANLS {near:5.1f}  ({len(found)})")
    seconds = [page["seconds"] for page in pages.values()]
    peak = max(page["peak_mib"] for page in pages.values())
    print(
        f"{statistics.mean(seconds):.1f} s a page, at most {max(seconds):.1f} s and {peak:.0f} MiB"
    )


if __name__ == "__main__":
    typer.run(main)
