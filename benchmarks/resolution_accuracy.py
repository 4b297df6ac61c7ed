"""Accuracy against resolution: the same questions, read natively or from a shrunk picture."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from resolution_plot import curves_picture
from torch import Tensor
from typer import Option

from vqa import Predictor, datasets, images
from vqa.batch import collate
from vqa.datasets import Example

RESULTS = Path(__file__).parent / "results"
STRATEGIES = {"native": None, "resized to 896": 896, "resized to 448": 448}
"""The longest side in pixels that is read."""

Row = dict[str, Any]


class Tally:
    """Right answers of one strategy, over all and by kind."""

    def __init__(self) -> None:
        self.hits: dict[str, list[float]] = defaultdict(list)

    def add(self, kind: str | None, hit: float) -> None:
        for name in ("all", kind or "other"):
            self.hits[name].append(hit)

    def shares(self) -> tuple[float, dict[str, float]]:
        found = {kind: sum(hits) / len(hits) for kind, hits in self.hits.items()}
        return found.pop("all"), found


def score(
    predictor: Predictor,
    items: Iterator[tuple[Example, Tensor]],
    right: Any,
    strategies: Mapping[str, int | None],
) -> dict[str, Tally]:
    """Each picture, one by one, read by every strategy."""
    found = {name: Tally() for name in strategies}
    for example, pixels in items:
        for name, longest in strategies.items():
            image = shrink(pixels, longest)
            batch = collate([image], [0], [example.question], predictor.tokenizer)
            (answer,) = predictor.answer(batch)
            found[name].add(example.answer_type, right(answer.answer, example.answers))
    return found


def shrink(image: Tensor, longest: int | None) -> Tensor:
    """As `vqa ask` would read the picture with its longer side at `longest` pixels."""
    if longest is None:
        return image
    with images.open(image.permute(1, 2, 0).numpy()) as picture:
        return picture.within(longest)[:, :, :]


def prior(examples: list[Example]) -> float:
    """What the most frequent answer to each kind of question scores."""
    answers: dict[str | None, Counter[str]] = defaultdict(Counter)
    for example in examples:
        answers[example.answer_type][example.answers[0]] += 1
    return sum(max(count.values()) for count in answers.values()) / len(examples)


def curves(
    model: Annotated[str, Option(help="A model folder trained on canvas.")],
    sizes: Annotated[str, Option(help="Canvases, px a side.")] = "512,1024,2048,4096",
    objects: Annotated[str, Option(help="Sizes of objects, px.")] = "64",
    kinds: Annotated[str | None, Option(help="Kinds of questions; all if not given.")] = None,
    count: Annotated[int, Option(help="Questions a canvas size.")] = 300,
    threads: int = 2,
    out: Path = RESULTS,
) -> None:
    """Accuracy on canvas: size of objects x size of the canvas x native or resized."""
    torch.set_num_threads(threads)
    predictor = Predictor.from_pretrained(model)
    rows: list[Row] = []
    for object_size in map(int, objects.split(",")):
        options: dict[str, Any] = {"object_size": object_size, "count": count}
        if kinds:
            options["kinds"] = kinds.split(",")
        data: Any = datasets.create("canvas", None, "test", **options)
        floor = prior([data[index] for index in range(count)])
        for size in map(int, sizes.split(",")):
            # The others are the same as native.
            chosen = {name: side for name, side in STRATEGIES.items() if not side or side < size}
            items = (data.render(index, size) for index in range(count))
            for strategy, tally in score(predictor, items, data.score, chosen).items():
                share, by_kind = tally.shares()
                row: Row = {"object_size": object_size, "canvas": size, "strategy": strategy}
                row |= {"accuracy": share, "prior": floor, "kinds": by_kind}
                rows.append(row)
                print(f"{object_size} px on {size}, {strategy}: {share:.1%}", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / "resolution_curves.json").write_text(json.dumps(rows, indent=1) + "\n")
    curves_picture(rows, out / "resolution_curves.svg")
    _print(rows, ("object_size", "canvas", "strategy", "accuracy", "prior"))


def receipts(
    model: Annotated[str, Option(help="A model folder that reads documents.")],
    root: Annotated[str, Option(help="Folder of the jsonl data set.")],
    split: str = "test",
    count: Annotated[int | None, Option(help="The first questions only.")] = None,
    threads: int = 2,
    out: Path = RESULTS,
) -> None:
    """Accuracy on scanned receipts (sroie_vqa as jsonl), native and resized."""
    torch.set_num_threads(threads)
    predictor = Predictor.from_pretrained(model)
    data = datasets.create("jsonl", root, split)
    examples = [data[index] for index in range(min(count or len(data), len(data)))]
    rows: list[Row] = []
    items = ((example, images.load(example.image)) for example in examples)
    for strategy, tally in score(predictor, items, data.score, STRATEGIES).items():
        share, by_kind = tally.shares()
        row: Row = {"strategy": strategy, "accuracy": share, "prior": prior(examples)}
        rows.append({**row, "kinds": by_kind})
    out.mkdir(parents=True, exist_ok=True)
    (out / "resolution_receipts.json").write_text(json.dumps(rows, indent=1) + "\n")
    _print(rows, ("strategy", "accuracy", "prior"))


def _print(rows: list[Row], columns: tuple[str, ...]) -> None:
    print("| " + " | ".join(columns) + " |")
    print("| " + " | ".join("---" for _ in columns) + " |")
    for row in rows:
        cells = [f"{x:.1%}" if isinstance(x, float) else str(x) for x in map(row.get, columns)]
        print("| " + " | ".join(cells) + " |")
