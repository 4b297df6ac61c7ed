"""Count, then answer: of a network with a tally, how image and question meet (encoders/tally.py),
and what of the data its first gate learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from encoders.pixels import Pixels
from encoders.runs import HOLDS, UNKNOWN
from encoders.tally import Tally
from encoders.vision.sheet import ImageTokens
from vqa.cache import StateCache
from vqa.datasets import Example

if TYPE_CHECKING:
    from vqa.model import LatteVQA


class Counted(NamedTuple):
    """`memory`: what was read, patches and words; `gates`: logits `[B, N, gates]` of its first N
    tokens, of which `real` `[B, N]` are patches."""

    memory: ImageTokens
    gates: Tensor
    real: Tensor


def count(
    model: LatteVQA,
    images: Sequence[Pixels] | ImageTokens,
    question: Tensor,
    question_mask: Tensor,
    index: Tensor,
) -> Counted:
    """Reads images and questions together and counts; the arguments are those of `read`."""
    tally = _tally(model)
    memory = model.sequence(images, question, question_mask, index)
    start = memory.tokens.shape[1] - question.shape[1]
    shown, words = memory.tokens[:, :start], memory.tokens[:, start:]
    asked = torch.cat([tally.ask(shown, words, question_mask), words], 1)
    read = model.fuse(asked, *memory[1:4])
    return Counted(memory._replace(tokens=read), tally(read[:, :start]), memory.mask[:, :start])


def taken(model: LatteVQA, counted: Counted, question_mask: Tensor) -> StateCache:
    """What the decoder knows: what was read, and in each word of the answer the counts."""
    memory, gates, real = counted
    cache = model.take_in(memory.tokens, memory.mask, memory.places)
    words = memory.tokens[:, real.shape[1] :]
    cache.carried = _tally(model).tell(gates, real, words, question_mask).unsqueeze(1)
    return cache


def known_of(
    examples: Sequence[Example], image: ImageTokens, index: Tensor
) -> tuple[Tensor, Tensor]:
    """Of each example, about image `index[i]`, the marks of the things that it is about, int
    `[B, N]`, and their number, fp32 `[B]`, NaN where it is not known.

    The number is `count` of its meta, or its answer where that is a whole number. Boxes are those
    of all the things where they are as many; then one token each is marked, which holds its middle.
    """
    marks = torch.full((len(examples), image.mask.shape[1]), UNKNOWN, device=image.mask.device)
    numbers = torch.full((len(examples),), torch.nan, device=image.mask.device)
    for row, (example, number) in enumerate(zip(examples, index.tolist(), strict=True)):
        things = _number(example)
        if things is None:
            continue
        numbers[row] = things
        if len(example.evidence) == things:
            marks[row] = 0
            marks[row, _middles(example, image, number)] = HOLDS
    return marks, numbers


def _number(example: Example) -> int | None:
    told = (example.meta or {}).get("count")
    if told is not None:
        return int(told)
    answer = example.answers[0] if example.answers else ""
    return int(answer) if answer.isascii() and answer.isdigit() else None


def _middles(example: Example, image: ImageTokens, number: int) -> list[int]:
    """Which tokens of the image's own grid hold the middle of a box."""
    grid, (down, across) = image.grids[number][0], image.pitch[number].tolist()
    return [
        min(int((top + bottom) / 2 / down), grid.rows - 1) * grid.columns
        + min(int((left + right) / 2 / across), grid.columns - 1)
        for left, top, right, bottom in example.evidence
    ]


def _tally(model: LatteVQA) -> Tally:
    assert model.tally is not None
    return model.tally
