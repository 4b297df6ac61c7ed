"""Data of configs/general.yaml: receipts, generated pages and photos as folders of jsonl.

    vqa generate pages --out OUT/pages --split train --count 1600 --size 896 --questions 8
    vqa generate pages --out OUT/pages --split val --count 320 --size 896 --questions 8
    python benchmarks/general_data.py DATA --out OUT

DATA has the packs sroie_vqa, photo_vqa, photo_captions, photo_objects and photo_grocery. Receipts
get the questions that follow from theirs (vqa/data/derived.py), for which their print is read once
and kept in OUT/transcripts; photos some that only pages answer. OUT/tags has what `vqa fit-tagger`
learns.
"""

import argparse
import json
import os
import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from general_tags import examples_of_shapes, read_rows, tags_of_photos, tags_of_shape

from vqa.data.derived import Derived, of_page, of_photo
from vqa.data.transcripts import TranscriptStore, bundled_ocr

PHOTOS = {"photo_vqa": 700, "photo_captions": 700, "photo_objects": 600, "photo_grocery": 300}
"""Photos of each pack in training: those with the most kinds of questions."""
QUESTIONS = 6
"""Questions about a photo, at most."""
ASKED_AS_PAGES = 0.35
"""Share of photos asked what only a page answers."""
SHAPES = {"train": 500, "val": 60}
"""Images of easy-VQA."""
PAGES = 60
"""Pages and receipts that a tagger learns to tell from photos, each."""
Row = dict[str, Any]


def main() -> None:
    """Write the folders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    flags = parser.parse_args()
    store = TranscriptStore(flags.out / "transcripts", bundled_ocr())
    for split in ("train", "val"):
        _write(flags.out / "receipts" / f"{split}.jsonl", receipts(flags.data, split, store))
        _write(flags.out / "photos" / f"{split}.jsonl", photos(flags.data, split))
        _write(flags.out / "shapes" / f"{split}.jsonl", shapes(split))
        _write(flags.out / "tags" / f"{split}.jsonl", tags(flags.data, flags.out, split))
    _link(flags.data / "sroie_vqa" / "images", flags.out / "receipts" / "images")
    first = next(iter(examples_of_shapes("train", SHAPES["train"])))
    _link(Path(first).parents[2], flags.out / "shapes" / "easy_vqa")
    for pack in PHOTOS:
        _link(flags.data / pack, flags.out / "photos" / pack)


def receipts(data: Path, split: str, store: TranscriptStore) -> Iterable[Row]:
    """Questions about receipts, those of the same image together."""
    by_image: defaultdict[str, list[Row]] = defaultdict(list)
    for name in (split, f"{split}_more"):
        for row in read_rows(data / "sroie_vqa" / f"{name}.jsonl"):
            by_image[row["image"]].append(row | {"split": split})
    for image, rows in sorted(by_image.items()):
        facts: defaultdict[str, list[str]] = defaultdict(list)
        for row in rows:
            facts[row["meta"]["kind"]] += row["answers"]
        text = store.text(data / "sroie_vqa" / image)
        derived = of_page(facts, text, random.Random(image))
        yield from rows
        yield from (_derived(each, image, split, n) for n, each in enumerate(derived))


def photos(data: Path, split: str) -> Iterable[Row]:
    """Questions about some photos of each pack."""
    draw = random.Random(split)
    for pack, count in PHOTOS.items():
        by_image: defaultdict[str, list[Row]] = defaultdict(list)
        for row in read_rows(data / pack / f"{split}.jsonl"):
            image, name = f"{pack}/{row['image']}", f"{pack}-{row['question_id']}"
            by_image[image].append(row | {"image": image, "question_id": name, "split": split})
        kinds = {
            image: len({row["meta"]["kind"] for row in rows}) + 3 * draw.random()
            for image, rows in sorted(by_image.items())
        }
        for image in sorted(kinds, key=lambda image: -kinds[image])[:count]:
            rows = by_image[image]
            yield from draw.sample(rows, min(QUESTIONS, len(rows)))
            if draw.random() < ASKED_AS_PAGES:
                yield _derived(of_photo(draw), image, split, 0)


def shapes(split: str) -> Iterable[Row]:
    """Questions about coloured shapes, those about the same image together."""
    draw = random.Random(split)
    for image, examples in examples_of_shapes(split, SHAPES[split]).items():
        for example in draw.sample(examples, min(QUESTIONS, len(examples))):
            yield {
                "question_id": f"shapes-{split}-{example.question_id}",
                "image": str(Path("easy_vqa", *Path(image).parts[-3:])),
                "question": example.question,
                "answers": list(example.answers),
                "split": split,
                "meta": {"kind": "shape"},
            }


def tags(data: Path, out: Path, split: str) -> Iterable[Row]:
    """What is known of photos, and that some pages are pages."""
    for image, known in tags_of_photos(data, split).items():
        yield {"image": str(image), "tags": known}
    for image, examples in examples_of_shapes(split, SHAPES[split]).items():
        yield {"image": image, "tags": tags_of_shape(examples)}
    images = {row["image"]: None for row in read_rows(data / "sroie_vqa" / f"{split}.jsonl")}
    pages = [data / "sroie_vqa" / image for image in [*images][:PAGES]]
    pages += sorted((out / "pages" / "images" / split).glob("*"))[:PAGES]
    for page in pages:
        yield {"image": str(page.absolute()), "tags": {"kind": "page"}}


def _derived(each: Derived, image: str, split: str, number: int) -> Row:
    return {
        "question_id": f"derived-{image}-{number}",
        "image": image,
        "question": each.question,
        "answers": list(each.answers),
        "split": split,
        "meta": {"kind": each.kind},
    }


def _write(path: Path, rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _link(target: Path, link: Path) -> None:
    if not link.is_symlink():
        os.symlink(target.absolute(), link)


if __name__ == "__main__":
    main()
