"""Counting: sums of gates, what is told of them, and what the first gate learns from."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from networks import BOS, EOS, IMAGES, MASK, QUESTION, TINY, image_of
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from encoders.finder import HOLDS, UNKNOWN
from encoders.tally import MOST, Tally, counting_loss, spread, sums
from encoders.tiling import Grid
from vqa import evidence_reading, tallying
from vqa.batch import Batch
from vqa.config import LatteVQAConfig, Network
from vqa.datasets import Example, Region
from vqa.model import LatteVQA


def model_of(seed: int = 0) -> LatteVQA:
    torch.manual_seed(seed)
    network = replace(TINY, tally=True, question_depth=1)
    model = LatteVQA(LatteVQAConfig(network, 12, BOS, EOS)).eval()
    assert model.tally is not None
    torch.nn.init.zeros_(model.tally.gates.bias)  # gates that are shut tell little
    return model


def test_a_number_stands_between_the_two_beside_it() -> None:
    shares = spread(torch.tensor([0.0, 2.25, 24.0, 100.0]))
    assert shares[0].nonzero().tolist() == [[0]]
    assert shares[1, 2:4].tolist() == [0.75, 0.25]
    assert shares[2].equal(shares[3]) and shares[3, MOST] == 1
    assert shares.sum(1).tolist() == [1.0] * 4


def test_sums_are_those_of_real_tokens_alone() -> None:
    logits, real = torch.randn(3, 7, 2), torch.rand(3, 7) < 0.5
    for row in range(3):
        for gate in range(2):
            open_at = [1 / (1 + math.exp(-x)) for x in logits[row, real[row], gate].tolist()]
            assert sums(logits, real)[row, gate].item() == pytest.approx(sum(open_at), abs=1e-5)


def test_twice_as_many_things_are_told_as_twice_as_many() -> None:
    """Where a mean over the tokens stays as it is."""
    logits = torch.full((1, 6, 8), -30.0)
    logits[0, :2] = 30.0
    assert sums(logits, torch.ones(1, 6, dtype=torch.bool)).tolist() == [[2.0] * 8]
    twice = torch.cat([logits, logits], 1)
    assert sums(twice, torch.ones(1, 12, dtype=torch.bool)).tolist() == [[4.0] * 8]


def test_what_is_told_does_not_depend_on_padding() -> None:
    torch.manual_seed(0)
    tally, real = Tally(8), torch.arange(5) < torch.tensor([5, 3])[:, None]
    read, words, mask = torch.randn(2, 5, 8), torch.randn(2, 4, 8), torch.ones(2, 4).bool()
    mask[1, 2:] = False
    logits = tally(read)
    told = tally.tell(logits, real, words, mask)
    alone = tally.tell(logits[1:, :3], real[1:, :3], words[1:, :2], mask[1:, :2])
    torch.testing.assert_close(alone[0], told[1])
    asked, less = tally.ask(read, words, mask), tally.ask(read[1:], words[1:, :2], mask[1:, :2])
    torch.testing.assert_close(less[0], asked[1])


def test_the_loss_is_of_tokens_where_they_are_known_and_else_of_their_number() -> None:
    torch.manual_seed(0)
    logits, real = torch.randn(3, 4), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]]) > 0
    marks = torch.full((3, 4), UNKNOWN)
    marks[0] = torch.tensor([HOLDS, 0, HOLDS, 0])
    numbers = torch.tensor([2.0, 3.0, torch.nan])
    tokens = cross_entropy(logits[0, :3], torch.tensor([1.0, 0, 1]), reduction="sum") / 2
    gap = (logits[1].sigmoid().sum() - numbers[1]).abs()
    expected = tokens + (0.5 * gap**2 if gap < 1 else gap - 0.5)
    torch.testing.assert_close(counting_loss(logits, marks, numbers, real), expected)


def test_nothing_is_learned_where_nothing_is_known() -> None:
    logits = torch.randn(1, 3, requires_grad=True)
    unknown = torch.full((1, 3), UNKNOWN), torch.tensor([torch.nan])
    counting_loss(logits, *unknown, torch.ones(1, 3, dtype=torch.bool)).backward()
    assert logits.grad is not None and not logits.grad.any()


def example(answer: str, *boxes: Region, count: int | None = None) -> Example:
    meta = None if count is None else {"count": count}
    return Example("q", "image", "?", (answer,), meta=meta, evidence=boxes)


def known(*examples: Example) -> tuple[Tensor, Tensor]:
    """Of an image of 3 x 4 patches of 10 px, the last ones cut, 28 x 40 px."""
    image = image_of((Grid(3, 4), Grid(1, 2)), 28, 40, 10)
    return tallying.known_of(examples, image, torch.zeros(len(examples), dtype=torch.int))


def test_the_token_that_holds_the_middle_is_marked() -> None:
    corner = (0.5, 20 / 28, 1.0, 1.0)  # its middle: 30 px from the left, 24 from above
    wide = (0.0, 0.0, 0.999, 9 / 28)
    marks, numbers = known(example("2", corner, wide), example("true", corner, count=1))
    assert marks[0].nonzero()[:, 0].tolist() == [1, 11] and marks[0, 11] == HOLDS
    assert marks[1].nonzero()[:, 0].tolist() == [11]
    assert numbers.tolist() == [2, 1]


def test_none_are_known_to_be_none() -> None:
    marks, numbers = known(example("0"), example("false", count=0))
    assert not marks.any() and numbers.tolist() == [0, 0]


def test_a_number_without_boxes_is_a_number() -> None:
    marks, numbers = known(example("3"), example("4", (0.0, 0.0, 0.5, 0.5)), example("true"))
    assert (marks == UNKNOWN).all()
    assert numbers[:2].tolist() == [3, 4] and numbers[2].isnan()


def test_word_by_word_is_all_at_once() -> None:
    model = model_of()
    answer = torch.randint(3, 12, (3, 5), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        cache = model.read(IMAGES, QUESTION, MASK)
        whole = model(answer, cache=cache).logits
        for place in range(5):
            out = model(answer[:, place : place + 1], cache=cache)
            cache = out.cache
            torch.testing.assert_close(out.logits[:, 0], whole[:, place], rtol=0, atol=2e-5)


def test_each_row_is_as_if_alone() -> None:
    model, answer = model_of(), torch.full((3, 2), BOS)
    with torch.no_grad():
        together = model(answer, cache=model.read(IMAGES, QUESTION, MASK)).logits
        for row, count in enumerate(MASK.sum(1).tolist()):
            asked = QUESTION[row : row + 1, :count], MASK[row : row + 1, :count]
            alone = model(answer[:1], cache=model.read(IMAGES[row : row + 1], *asked)).logits
            torch.testing.assert_close(alone[0], together[row], rtol=0, atol=2e-5)


def test_the_first_gate_tells_where_things_are_counted() -> None:
    model = model_of()
    batch = Batch([*IMAGES], torch.arange(3), QUESTION, MASK)
    with torch.no_grad():
        found = evidence_reading.read(model, IMAGES, batch)
        cache = model.read(IMAGES, QUESTION, MASK)
        shown = evidence_reading.relevance(model, found, batch)
    assert found.marked is not None and found.cache.carried is not None
    assert cache.carried is not None and found.cache.carried.equal(cache.carried)
    real = found.memory.mask[:, : found.marked.shape[1]]
    likely = found.marked * real
    share = (likely / likely.sum(1, keepdim=True)) * real
    torch.testing.assert_close(shown.patches[:, : share.shape[1]], share)


def test_counts_are_learned_from_boxes() -> None:
    """A few steps on one picture: the first gate opens where the boxes are, and the loss falls."""
    model = model_of().train()
    assert model.tally is not None
    torch.nn.init.constant_(model.tally.gates.bias, -4.0)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    boxes = (0.0, 0.0, 0.2, 0.2), (0.8, 0.8, 1.0, 1.0)
    examples, index = [example("2", *boxes)], torch.zeros(1, dtype=torch.int)
    asked: dict[str, Any] = {"question": QUESTION[:1], "question_mask": MASK[:1]}
    target = torch.tensor([[5, EOS]])
    losses = []
    for _ in range(60):
        image = model.vision(IMAGES[:1])
        marks, numbers = tallying.known_of(examples, image, index)
        told = {"marks": marks, "numbers": numbers, "image_index": index}
        out = model(torch.tensor([[BOS, 5]]), labels=target, images=image, **asked, **told)
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        losses.append(out.loss.item())
    assert losses[-1] < 0.1 * losses[0]
    counted = tallying.count(model, IMAGES[:1], QUESTION[:1], MASK[:1], index)
    assert sums(counted.gates, counted.real)[0, 0].item() == pytest.approx(2, abs=0.3)


def test_words_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="tally is for a question in the encoder"):
        Network(tally=True, question="decoder")
    with pytest.raises(ValueError, match="tally"):
        Network(tally=True, find=True)
