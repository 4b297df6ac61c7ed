"""Relevance in linear time is what the definition gives over whole matrices of attention."""

from typing import Any

import evidence_judge as judge
import pytest
import torch
from networks import IMAGES, MASK, QUESTION, WAYS, make
from torch import Tensor

from encoders import latte
from encoders.latte import State
from vqa import evidence_reading
from vqa.batch import IGNORE, Batch
from vqa.model import LatteVQA

MORE = {
    "latte vapor": ("latte", {"vapor": True}),
    "latte conv": ("latte", {"recurrence": "conv"}),
    "macchiato narrow": ("macchiato", {"window": 3, "rotary": True, "vapor": True}),
    "macchiato wide": ("macchiato", {"window": 500}),
    "attention rotary": ("attention", {"rotary": True}),
}
ANSWER = torch.tensor([[1, 5, 7], [1, 0, 0], [1, 9, 0]])
LABELS = torch.tensor([[5, 7, 2], [2, IGNORE, IGNORE], [9, 2, IGNORE]])
close = torch.testing.assert_close


def batch(rows: slice = slice(None)) -> Batch:
    """Three questions of different lengths, each about its own image, with answers."""
    question, mask = QUESTION[rows], MASK[rows]
    return Batch([], torch.arange(len(question)), question, mask, ANSWER[rows], LABELS[rows])


def found(model: LatteVQA, rows: slice = slice(None)) -> Any:
    with torch.inference_mode():
        read = evidence_reading.read(model, IMAGES[rows], batch(rows))
        return read, evidence_reading.relevance(model, read, batch(rows))


def judged(model: LatteVQA, memory: Any) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Relevance of patches and of words, and every layer's weights, over whole matrices."""
    asked, count = batch(), memory.mask.shape[1]
    words, mask = model._words(asked.answer, 1), torch.ones(3, 3, dtype=torch.bool)
    inside = model.network.question == "encoder"
    scanned, born = model.network.memory == "sequence", []
    if model.carry is not None:
        real = asked.question_mask
        told = (model._words(asked.question, 0), real)
        hidden, born, _ = judge.decode(model.decoder, memory, *told, scanned)
        read = model.carry((hidden * real[..., None]).sum(1) / real.sum(1, keepdim=True) ** 0.5)
        words = words + read[:, None]
    if not inside:
        words = torch.cat([model._words(asked.question, 0), words], 1)
        mask = torch.cat([asked.question_mask, mask], 1)
    hidden, ones, read = judge.decode(model.decoder, memory, words, mask, scanned)
    logs = model.text.logits(hidden[:, -3:]).log_softmax(-1)
    counts = LABELS != IGNORE
    number = logs.gather(-1, LABELS.clamp(min=0)[..., None])[..., 0][counts].sum()
    shares = judge.shares(ones, number, count, born)
    patches = shares.clone()
    for row, grids in zip(patches, memory.grids, strict=True):
        row[sum(grid.size for grid in grids) :] = 0
    total = shares.sum(1)
    return patches[:, :count] / total[:, None], 1 - patches.sum(1) / total, read


@pytest.mark.parametrize("way", [*WAYS, *((name, "decoder", "state") for name in MORE)], ids=str)
def test_relevance_is_weight_times_derivative(way: tuple[str, str, str]) -> None:
    mixer, words = MORE.get(way[0], (way[0], {}))
    model = make(mixer, way[1], way[2], mixer_args=words).double()
    read, relevance = found(model)
    memory = read.memory._replace(
        tokens=read.memory.tokens.clone(), places=read.memory.places.clone()
    )
    patches, share, weights = judged(model, memory)
    close(relevance.patches.double(), patches, rtol=0, atol=1e-5)
    close(relevance.words.double(), share, rtol=0, atol=1e-5)
    close(relevance.patches.sum(1) + relevance.words, torch.ones(3), rtol=0, atol=1e-5)
    assert (relevance.patches >= 0).all() and (relevance.patches > 0).any(1).all()
    for of_layer in weights:  # the judge's own weights are distributions over memory and words
        close(of_layer[:, :, -3:].sum(-1), torch.ones(3, 2, 3).double(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_reading_with_tokens_kept_is_reading(way: tuple[str, str, str]) -> None:
    model = make(*way)
    with torch.inference_mode():
        read = evidence_reading.read(model, IMAGES, batch())
        plain = model.read(IMAGES, QUESTION, MASK)
        again = evidence_reading.read(model, model.vision(IMAGES), batch())
    for kept in (read, again):
        for state, expected in zip(kept.cache.states, plain.states, strict=True):
            assert all(map(torch.equal, state, expected))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_other_images_of_a_batch_change_nothing(way: tuple[str, str, str]) -> None:
    model = make(*way)
    _, together = found(model)
    for row in range(3):
        read, alone = found(model, slice(row, row + 1))
        size = sum(grid.size for grid in read.memory.grids[0])
        close(together.patches[row, :size], alone.patches[0, :size], rtol=0, atol=1e-5)
        close(together.words[row], alone.words[0], rtol=0, atol=1e-5)
        assert not together.patches[row, size:].any()


def test_frozen_weights_change_nothing_and_weights_get_no_gradients() -> None:
    model = make("macchiato", "decoder")
    before = found(model)[1]
    assert all(weight.grad is None for weight in model.parameters())
    assert not any(block.mixer.value._forward_hooks for block in model.decoder.blocks)  # type: ignore[union-attr]
    after = found(model.requires_grad_(False))[1]
    close(after.patches, before.patches, rtol=0, atol=0)
    close(after.words, before.words, rtol=0, atol=0)


def test_bfloat16_is_close(way: tuple[str, str, str] = ("latte", "decoder", "state")) -> None:
    model = make(*way)
    exact = found(model)[1].patches
    rough = found(model.to(torch.bfloat16))[1].patches
    assert rough.isfinite().all()
    assert (rough - exact).abs().sum(1).max() < 0.2  # of 1 in all, with 8 bits a number


@pytest.mark.parametrize("scale", (1.0, 300.0))
def test_relevance_of_a_state_is_value_times_its_gradient(scale: float) -> None:
    torch.manual_seed(0)
    k = scale * torch.randn(2, 70, 2, 3, dtype=torch.float64)
    v = torch.randn(2, 70, 2, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(2, 70) < 0.7
    state = State.of(k, v, mask)
    gradient = torch.randn_like(state.u)
    (slope,) = torch.autograd.grad((state.u * gradient).sum(), v)
    got = latte.relevance(k, v.detach(), State(state.u.detach(), state.z), gradient, mask)
    close(got, (v * slope).sum(-1).detach(), rtol=0, atol=1e-10)
    assert not got[~mask].any()


def test_relevance_refuses_a_state_of_other_tokens() -> None:
    k, v = torch.zeros(1, 5, 2, 3), torch.zeros(1, 5, 2, 4)
    state = State.of(k, v)
    with pytest.raises(ValueError, match="but the tokens are"):
        latte.relevance(k[..., :2], v, state, state.u)
