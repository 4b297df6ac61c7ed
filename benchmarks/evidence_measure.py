"""What is measured of evidence: see evidence.py, which runs it."""

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from statistics import mean
from typing import Any, NamedTuple

import torch
from evidence_methods import METHODS
from torch import Tensor

from encoders.pixels import Pixels
from encoders.vision.sheet import ImageTokens
from vqa import Predictor, search
from vqa.batch import Batch, collate
from vqa.datasets import Example
from vqa.evidence import Box, Evidence, locate
from vqa.opening import source_of

PART = 0.01
"""Of the patches, deleted."""

Side = tuple[float, float]
"""Width and height of a patch in pixels."""
Row = dict[str, Any]
"""A question's id, what pointing at random would hit, and what each method scored."""


class Item(NamedTuple):
    """A question, where its answer stands, and its picture: as the model's tokens, and as pixels
    uint8 [3, H, W], each made when it is needed."""

    example: Example
    boxes: Sequence[Box]
    look: Callable[[], ImageTokens]
    load: Callable[[], Tensor]


def measure(
    predictor: Predictor,
    items: Iterable[Item],
    score: Any,
    count: int,
    known: Iterable[Row] = (),
    keep: Callable[[Row], None] = lambda row: None,
) -> dict[str, Any]:
    """Every method on the first `count` questions that are answered right.

    What is `known` of a question is not measured again; `keep` is told each new row.
    """
    rows: list[Row] = []
    done = {row["question_id"]: row for row in known}
    for asked, item in enumerate(items, 1):
        row = done.get(item.example.question_id)
        if row is None:
            row = _judged(predictor, item, score, len(rows) + 1)
            keep(row)
        if row["methods"]:
            rows.append(row)
            name, first = next(iter(_means(rows).items()))
            told = ", ".join(f"{key} {value:.3f}" for key, value in first.items())
            print(f"{len(rows)} right of {asked}: {name}: {told}", file=sys.stderr, flush=True)
        if len(rows) == count:
            break
    if not rows:
        raise SystemExit("no question was answered right; evidence is measured on right answers")
    chance = mean(row["chance"] for row in rows)
    return {"questions": len(rows), "chance": chance, "methods": _means(rows)}


def _means(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    return {
        name: {key: mean(row["methods"][name][key] for row in rows) for key in measures}
        for name, measures in rows[0]["methods"].items()
    }


def _judged(predictor: Predictor, item: Item, score: Any, number: int) -> Row:
    """What is measured of one question, or no methods where it is not answered right.

    The picture itself is read once for all that; once more for each way of deleting.
    """
    example, boxes = item.example, item.boxes
    row: Row = {"question_id": example.question_id, "chance": None, "methods": {}}
    image, text = item.look(), predictor.tokenizer
    answer = _answer(predictor, image, example.question)
    if not boxes or score(answer, example.answers) < 0.5:
        return row
    asked, pixels = collate([], [0], [example.question], text, [answer]), item.load()
    before, random = _probability(predictor, image, asked), None
    source = source_of(predictor.model, pixels.shape, pixels.shape)
    methods = islice(METHODS.items(), None if predictor.model.finder is None else 1)
    for name, method in methods:
        found = locate(*method(predictor.model, image, asked), source)
        drop = partial(_drop, predictor, pixels, asked, before, found.patch)
        if random is None:
            beside = near(boxes, found.heat.shape, found.patch)
            row["chance"] = float(beside.float().mean())
            noise = torch.Generator().manual_seed(number)
            random = drop(torch.rand(found.heat.shape, generator=noise))
        fell = drop(torch.from_numpy(found.heat))
        row["methods"][name] = {
            "pointing": points(found, boxes, found.patch),
            "overlap": max(overlap(found.box, box) for box in boxes),
            "drop": fell,
            "beats_random": float(fell > random),
        }
    return row


@torch.inference_mode()
def _answer(predictor: Predictor, image: ImageTokens, question: str) -> str:
    batch = collate([], [0], [question], predictor.tokenizer)
    read = predictor.model.read(image, batch.question, batch.question_mask)
    (found,) = search.search(predictor.model, predictor.tokenizer, read, 1)
    return found[0].answer


def near(boxes: Sequence[Box], grid: Sequence[int], patch: Side) -> Tensor:
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


def points(found: Evidence, boxes: Sequence[Box], patch: Side) -> float:
    if found.peak is None:
        return 0.0
    x, y = found.peak
    grown = [_grown(box, patch) for box in boxes]
    return float(any(box[0] <= x < box[2] and box[1] <= y < box[3] for box in grown))


def overlap(found: Box | None, true: Box) -> float:
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
    return before - _probability(predictor, [changed], asked)


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
def _probability(
    predictor: Predictor, shown: Sequence[Pixels] | ImageTokens, asked: Batch
) -> float:
    model, labels = predictor.model, asked.labels
    assert asked.answer is not None and labels is not None
    read = model.read(shown, asked.question, asked.question_mask)
    return float(model.score(read, torch.cat([asked.answer, labels[:, -1:]], 1)).exp())
