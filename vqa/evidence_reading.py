"""Reading with the tokens kept, and which of them the answer came from.

`LatteVQA.read` lets go of the tokens once the decoder's states have taken them in. Here they stay,
and the gradient of the answer's log-probability, which ends at those states, is led on to them
(`Stack.relevance`). That costs one pass of the decoder over a few words, backwards too, and
one pass over the tokens; nothing of the encoder is computed again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from encoders.pixels import Pixels
from encoders.stack import States
from encoders.vision.sheet import ImageTokens
from vqa import finding, tallying
from vqa.batch import Batch
from vqa.cache import StateCache
from vqa.model import LatteVQA


class Read(NamedTuple):
    """What a question was answered from.

    `memory`: the tokens that the decoder took in, patches first; `states`: its own after them;
    `cache`: those after the question, `LatteVQA.read`'s result to the bit; `marked`, of a network
    that finds or counts: how likely each patch of `memory` is one of those found `[B, n]`.
    """

    memory: ImageTokens
    states: StateCache
    cache: StateCache
    marked: Tensor | None = None


class Relevance(NamedTuple):
    """How much each token made an answer more probable, fp32 and never negative.

    `patches` `[B, N]`, 0 at what is no patch; `words` `[B]`: question and answer together. A row
    sums to 1, or to 0 where nothing made the answer more probable.
    """

    patches: Tensor
    words: Tensor


def sequence(model: LatteVQA, images: Sequence[Pixels] | ImageTokens, batch: Batch) -> ImageTokens:
    """What the encoder is about to read: patches and, where it reads them, the question's words."""
    if model.network.question == "encoder":
        index = torch.arange(len(batch))
        return model.sequence(images, batch.question, batch.question_mask, index)
    return images.with_room(0) if isinstance(images, ImageTokens) else model.vision(images)


def read(model: LatteVQA, images: Sequence[Pixels] | ImageTokens, batch: Batch) -> Read:
    """`model.read` of one question an image, with the tokens kept."""
    if model.finder is not None:
        index = torch.arange(len(batch))
        found = finding.find(model, images, batch.question, batch.question_mask, index)
        cache = finding.taken(model, found, batch.question_mask)
        return Read(found.memory, cache, cache, found.sure.float().sigmoid())
    if model.tally is not None:
        index = torch.arange(len(batch))
        counted = tallying.count(model, images, batch.question, batch.question_mask, index)
        cache = tallying.taken(model, counted, batch.question_mask)
        return Read(counted.memory, cache, cache, counted.gates[..., 0].float().sigmoid())
    memory = sequence(model, images, batch)
    memory = memory._replace(tokens=model.fuse(*memory[:4]))
    states = model.take_in(memory.tokens, memory.mask, memory.places)
    if model.network.question == "encoder":
        return Read(memory, states, states)
    return Read(memory, states, model.asked(states, batch.question, batch.question_mask))


def relevance(model: LatteVQA, found: Read, batch: Batch) -> Relevance:
    """How much each token of `found` made the answers of `batch` (to its questions) probable.

    Attention weight times the derivative of the answer's log-probability, its end included, with
    respect to the weight, summed over the words that read, and of that what is positive, over the
    decoder's layers and heads. Encoders are taken to leave what a patch shows at its place.
    Of a network that finds or counts: how likely each patch it read holds what was found.
    """
    if found.marked is not None:
        return _of_marks(found.memory, found.marked)
    gradients, of_words = _gradients(model, found.states, batch)
    memory, real, grids, places, _ = found.memory
    scanned = model.network.memory == "sequence"
    states = found.states.states
    of_memory = model.decoder.relevance(memory, real, places, states, gradients, scanned)
    patches = of_memory.clone()
    for row, shapes in zip(patches, grids, strict=True):
        row[sum(grid.size for grid in shapes) :] = 0
    words = (of_memory - patches).sum(1) + of_words
    total = (patches.sum(1) + words).clamp(min=torch.finfo(torch.float32).tiny)
    return Relevance(patches / total.unsqueeze(1), words / total)


def _of_marks(memory: ImageTokens, marked: Tensor) -> Relevance:
    likely = marked * memory.mask[:, : marked.shape[1]]
    share = likely / likely.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    patches = pad(share, (0, memory.mask.shape[1] - marked.shape[1]))
    return Relevance(patches, patches.new_zeros(len(patches)))


def _gradients(model: LatteVQA, states: StateCache, batch: Batch) -> tuple[States, Tensor]:
    """Of the answers' log-probability: the derivatives with respect to the states, and what words
    read of each other to its credit, `[B]`."""
    assert batch.answer is not None and batch.labels is not None
    with torch.inference_mode(False), torch.enable_grad():  # clones can be differentiated
        leaves = [type(state)(*map(_leaf, state)) for state in states.states]
        after = StateCache(leaves)
        with _values(model) as values:
            if model.network.question == "decoder":
                after = model.asked(after, batch.question.clone(), batch.question_mask.clone())
            labels = batch.labels.clone()
            loss = model(batch.answer.clone(), after, labels=labels).loss
        parts = [part for state in leaves for part in state if part.requires_grad]
        slopes = torch.autograd.grad(-loss, [*parts, *values], allow_unused=True)
    known = {id(part): slope for part, slope in zip(parts, slopes, strict=False)}
    gradients = [
        type(state)(*(_or_zeros(known.get(id(part)), part) for part in state)) for state in leaves
    ]
    heads = [layer.heads for layer in model.decoder.value_layers]
    credit = torch.zeros(len(batch), device=model.device)
    for number, (value, slope) in enumerate(zip(values, slopes[len(parts) :], strict=True)):
        split = (heads[number % len(heads)], -1)  # layer by layer, text by text
        of_heads = (value.detach() * _or_zeros(slope, value)).float().unflatten(-1, split)
        credit += of_heads.sum(-1).clamp(min=0).sum((1, 2))
    return gradients, credit


def _leaf(part: Tensor) -> Tensor:
    part = part.clone()
    return part.requires_grad_() if part.is_floating_point() else part


def _or_zeros(gradient: Tensor | None, of: Tensor) -> Tensor:
    return torch.zeros_like(of) if gradient is None else gradient


@contextmanager
def _values(model: LatteVQA) -> Iterator[list[Tensor]]:
    """The values that the decoder's layers make of words, layer by layer, text by text."""
    seen: list[Tensor] = []
    thread = get_ident()  # others may be asking the same model

    def keep(_: Any, __: Any, values: Tensor) -> None:
        if get_ident() == thread:
            seen.append(values.requires_grad_())

    layers = [value.layer for value in model.decoder.value_layers]
    handles = [layer.register_forward_hook(keep) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
