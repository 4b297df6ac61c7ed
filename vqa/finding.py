"""Find, then read: of a network that marks what holds the answer, and what its decoder then knows.

The parts are those of encoders/finder.py and encoders/pointer.py; here they meet the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from encoders import pointer as pointers
from encoders.finder import Finder, Found
from encoders.patch_grids import strips
from encoders.pixels import Pixels
from encoders.runs import UNKNOWN
from encoders.vision.sheet import ImageTokens
from vqa.cache import StateCache

if TYPE_CHECKING:
    from vqa.model import LatteVQA

OWN = 0.25
"""Share of the questions that training reads by the network's own marks."""


def find(
    model: LatteVQA,
    images: Sequence[Pixels] | ImageTokens,
    question: Tensor,
    question_mask: Tensor,
    index: Tensor,
    marks: Tensor | None = None,
) -> Found:
    """Of the images' tokens what holds the answer, then the question; the arguments are those
    of `read`, `marks` as in encoders/finder.py."""
    finder = _finder(model)
    image = images if isinstance(images, ImageTokens) else model.vision(images)
    names = finder.name(image.tokens)
    memory = model.sequence(image, question, question_mask, index)
    start = image.tokens.shape[1]
    shown, words = memory.tokens[:, :start], memory.tokens[:, start:]
    real = memory.mask[:, :start]
    # Letters that are seen are spelt in the same alphabet, so that they can be compared.
    letters = model.spelt(model.text.mean(names.detach().softmax(-1)), image.mask)[index]
    asked = finder.ask(shown, letters, *_spelling(model, words, question, question_mask))
    read = model.fuse(torch.cat([asked, words], 1), *memory[1:4])
    logits, edges = finder(read[:, :start])
    told = marks
    if marks is not None and model.training:
        # Some rows are read by the network's own marks, wrong as they are: so will all be.
        own = torch.rand(len(marks), 1, device=marks.device) < OWN
        told = marks.masked_fill(own, UNKNOWN)
    chosen = finder.chosen(logits, edges, real, told)
    tokens, mask, which = finder.pick(read[:, :start], shown, chosen)
    places = memory.places[:, :start].gather(1, which.unsqueeze(-1).expand(-1, -1, 2))
    found = ImageTokens(
        torch.cat([tokens, read[:, start:]], 1),
        torch.cat([mask, question_mask], 1),
        strips(mask),
        torch.cat([places, memory.places[:, start:]], 1),
        memory.pitch,
    )
    names = names[index.unsqueeze(1), which]
    return Found(found, names, logits.gather(1, which), which, logits, edges, real)


def _spelling(
    model: LatteVQA, words: Tensor, question: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the question's `words` those that are letters, how these are spelt, and their mask."""
    letter = model.letters[question] & mask
    which = letter.int().argsort(dim=1, descending=True, stable=True)
    which = which[:, : max(1, int(letter.sum(1).max()))]
    real = letter.gather(1, which)
    words = words.gather(1, which.unsqueeze(-1).expand(-1, -1, words.shape[-1]))
    return words, model.spelt(model.text(question.gather(1, which)), real), real


def taken(model: LatteVQA, found: Found, question_mask: Tensor) -> StateCache:
    """What the decoder knows of what `find` found."""
    finder = _finder(model)
    tokens, mask, _, places, _ = found.memory
    cache = model.take_in(tokens, mask, places)
    start = tokens.shape[1] - question_mask.shape[1]
    cache.carried = finder.handed(tokens[:, :start], mask[:, :start])
    asked = model.carried(tokens[:, start:], question_mask)
    if asked is not None:
        cache.carried = cache.carried + asked
    cache.pointer = pointers.begin(found.names, mask[:, :start])
    return cache


def _finder(model: LatteVQA) -> Finder:
    assert model.finder is not None
    return model.finder
