"""Does evidence point at what the answer was read from? Several methods on the same right answers.

    python benchmarks/evidence.py canvas --model benchmarks/models/canvas --kinds attribute
    python benchmarks/evidence.py files --model DIR --root DIR   # jsonl with meta.box or meta.boxes

Pointing: the peak lies in a true box grown by one patch. Deletion: by how much the answer's
probability falls where the hottest 1 % of the patches take the image's mean colour, and how often
that is more than with as many random ones. Prints a Markdown table and writes JSON to
benchmarks/results. What each method is: evidence_methods.py.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import torch
import typer
from evidence_methods import METHODS
from torch import Tensor
from typer import Option

from vqa import Predictor, datasets, images
from vqa.batch import Batch, collate
from vqa.datasets import Example
from vqa.evidence import Box, Evidence, locate

RESULTS = Path(__file__).parent / "results"
PART = 0.01
"""Of the patches, deleted."""

Item = tuple[Example, Tensor, Sequence[Box]]
"""A question, its picture uint8 [3, H, W], and where its answer stands."""
Side = tuple[float, float]
"""Width and height of a patch in pixels."""


@dataclass
class Tally:
    """What one method scored, question by question."""

    pointing: list[float] = field(default_factory=list)
    overlap: list[float] = field(default_factory=list)
    drop: list[float] = field(default_factory=list)
    beats_random: list[float] = field(default_factory=list)


def measure(predictor: Predictor, items: Iterable[Item], score: Any, count: int) -> dict[str, Any]:
    """Every method on the first `count` questions that are answered right."""
    methods = dict(islice(METHODS.items(), None if predictor.model.finder is None else 1))
    tallies = {name: Tally() for name in methods}
    chance: list[float] = []
    for pixels, boxes, asked in islice(_right(predictor, items, score), count):
        before, random = _probability(predictor, pixels, asked), None
        source = predictor.source(pixels.shape, pixels.shape)
        for name, method in methods.items():
            found, tally = locate(*method(predictor.model, pixels, asked), source), tallies[name]
            drop = partial(_drop, predictor, pixels, asked, before, found.patch)
            if random is None:
                chance.append(float(_near(boxes, found.heat.shape, found.patch).float().mean()))
                noise = torch.Generator().manual_seed(len(chance))
                random = drop(torch.rand(found.heat.shape, generator=noise))
            tally.pointing.append(_points(found, boxes, found.patch))
            tally.overlap.append(max(_overlap(found.box, box) for box in boxes))
            tally.drop.append(drop(torch.from_numpy(found.heat)))
            tally.beats_random.append(float(tally.drop[-1] > random))
    if not chance:
        raise SystemExit("no question was answered right; evidence is measured on right answers")
    means = {name: {key: mean(row) for key, row in vars(t).items()} for name, t in tallies.items()}
    return {"questions": len(chance), "chance": mean(chance), "methods": means}


def _right(
    predictor: Predictor, items: Iterable[Item], score: Any
) -> Iterator[tuple[Tensor, Sequence[Box], Batch]]:
    """Picture, boxes and batch of question and answer, of what is answered right."""
    for example, pixels, boxes in items:
        batch = collate([pixels], [0], [example.question], predictor.tokenizer)
        (answer,) = predictor.answer(batch)
        if boxes and score(answer.answer, example.answers) >= 0.5:
            text = [answer.answer]
            yield pixels, boxes, collate([], [0], [example.question], predictor.tokenizer, text)


def _near(boxes: Sequence[Box], grid: Sequence[int], patch: Side) -> Tensor:
    """The patches whose middle lies in a box grown by one patch."""
    rows, columns = (
        (torch.arange(count) + 0.5) * side for count, side in zip(grid, patch[::-1], strict=True)
    )
    inside = torch.zeros(*grid, dtype=torch.bool)
    for box in boxes:
        left, top, right, bottom = _grown(box, patch)
        down, across = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
        inside |= down[:, None] & across
    return inside


def _grown(box: Box, patch: Side) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return left - patch[0], top - patch[1], right + patch[0], bottom + patch[1]


def _points(found: Evidence, boxes: Sequence[Box], patch: Side) -> float:
    if found.peak is None:
        return 0.0
    x, y = found.peak
    grown = [_grown(box, patch) for box in boxes]
    return float(any(box[0] <= x < box[2] and box[1] <= y < box[3] for box in grown))


def _overlap(found: Box | None, true: Box) -> float:
    """Intersection over union."""
    if found is None:
        return 0.0
    sides = [min(found[n + 2], true[n + 2]) - max(found[n], true[n]) for n in (0, 1)]
    both = max(0, sides[0]) * max(0, sides[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (found, true)]
    return both / (sum(areas) - both)


def _drop(
    predictor: Predictor, pixels: Tensor, asked: Batch, before: float, patch: Side, heat: Tensor
) -> float:
    """How much less probable the answer is without the hottest patches."""
    changed = _without(pixels, heat, patch)
    return before - _probability(predictor, changed, asked)


def _without(pixels: Tensor, heat: Tensor, patch: Side) -> Tensor:
    """The picture with its hottest patches in its mean colour."""
    changed, mean_colour = pixels.clone(), pixels.float().mean((1, 2)).to(torch.uint8)
    for number in heat.flatten().topk(max(1, round(PART * heat.numel()))).indices.tolist():
        row, column = divmod(number, heat.shape[1])
        top, bottom = (round(end * patch[1]) for end in (row, row + 1))
        left, right = (round(end * patch[0]) for end in (column, column + 1))
        changed[:, top:bottom, left:right] = mean_colour[:, None, None]
    return changed


@torch.inference_mode()
def _probability(predictor: Predictor, pixels: Tensor, asked: Batch) -> float:
    model, labels = predictor.model, asked.labels
    assert asked.answer is not None and labels is not None
    read = model.read([pixels], asked.question, asked.question_mask)
    return float(model.score(read, torch.cat([asked.answer, labels[:, -1:]], 1)).exp())


def canvas(
    model: Annotated[str, Option(help="A model folder trained on canvas.")],
    sizes: Annotated[str, Option(help="Canvases, px a side.")] = "512,1024",
    kinds: Annotated[str | None, Option(help="Kinds of questions; all if not given.")] = None,
    count: Annotated[int, Option(help="Right answers a size.")] = 200,
    threads: int = 1,
    out: Path = RESULTS,
) -> None:
    """Evidence on generated canvases, which know where their answers stand."""
    torch.set_num_threads(threads)
    predictor = Predictor.from_pretrained(model, device="cpu")
    options: dict[str, Any] = {"count": 4 * count, "kinds": kinds} if kinds else {}
    data: Any = datasets.create("canvas", None, "val", **options)
    found = {}
    for size in map(int, sizes.split(",")):
        items = ((*data.render(n, size), data.scene(n, size).evidence) for n in range(len(data)))
        found[f"canvas {size}"] = measure(predictor, items, data.score, count)
        _print({f"canvas {size}": found[f"canvas {size}"]})
    _write(found, out / "evidence_canvas.json")


def files(
    model: Annotated[str, Option(help="A model folder.")],
    root: Annotated[str, Option(help="Folder of a jsonl data set with boxes in its meta.")],
    split: str = "test",
    count: Annotated[int, Option(help="Right answers.")] = 200,
    threads: int = 1,
    out: Path = RESULTS,
) -> None:
    """Evidence on the questions of a jsonl data set that say where their answers stand."""
    torch.set_num_threads(threads)
    predictor = Predictor.from_pretrained(model, device="cpu")
    data = datasets.create("jsonl", root, split)
    examples = [data[number] for number in range(len(data)) if _boxes(data[number])]
    if not examples:
        raise SystemExit(f"no question of {root}/{split}.jsonl has meta.box or meta.boxes")
    items = ((example, images.load(example.image), _boxes(example)) for example in examples)
    found = {f"{Path(root).name} {split}": measure(predictor, items, data.score, count)}
    _print(found)
    _write(found, out / "evidence_files.json")


def _boxes(example: Example) -> list[Box]:
    meta = example.meta or {}
    found = meta.get("boxes") or ([meta["box"]] if meta.get("box") else [])
    return [(box[0], box[1], box[2], box[3]) for box in found]


def _print(found: dict[str, Any]) -> None:
    print("| images | method | pointing | box overlap | drop | beats random |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, row in found.items():
        for method, tally in row["methods"].items():
            share = (f"{tally[key]:.1%}" for key in ("pointing", "overlap"))
            cells = [name, method, *share, f"{tally['drop']:.3f}", f"{tally['beats_random']:.1%}"]
            print("| " + " | ".join(cells) + " |")
        print(f"| {name} | chance ({row['questions']} answers) | {row['chance']:.1%} | | | |")


def _write(found: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(canvas)
    app.command()(files)
    app()
