"""A batch in parts: the same questions, each with its image, padded less."""

from typing import Any

import pytest
import torch
from networks import TINY
from torch import Tensor

from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens
from vqa import tokenizer as tokenizers
from vqa.batch import IGNORE, Batch, collate
from vqa.datasets import Example
from vqa.model import build
from vqa.module import VQAModule

DIM = 4
QUESTIONS = ["a", "how long", "b c", "where", "of what colour", "why", "x"]
ANSWERS = ["one", "t", "three four", "no", "yes", "5", "seven"]
INDEX = [3, 0, 4, 1, 2, 4, 0]
TOKENS = tokenizers.train((), 259)


def kept(*counts: int) -> ImageTokens:
    """Images of so many tokens, each told by its number."""
    widest = max(counts)
    mask = torch.arange(widest) < torch.tensor(counts)[:, None]
    tokens = torch.arange(len(counts)).float()[:, None, None].expand(-1, widest, DIM)
    places = torch.zeros(len(counts), widest, 2)
    grids = [(Grid(1, count),) for count in counts]
    return ImageTokens(tokens * mask.unsqueeze(-1), mask, grids, places, torch.ones(len(counts), 2))


def batch_of(answers: bool = True) -> Batch:
    """Two images of pixels, of 6 and of 60, then three as tokens."""
    pixels = [torch.full((3, 6, 10), 7, dtype=torch.uint8), torch.zeros(3, 2, 3, dtype=torch.uint8)]
    told = ANSWERS if answers else None
    examples = [
        Example(n, str(i), q, ("a",)) for n, (i, q) in enumerate(zip(INDEX, QUESTIONS, strict=True))
    ]
    batch = collate(pixels, INDEX, QUESTIONS, TOKENS, told, examples)
    batch.stored, batch.keys, batch.letters = kept(5, 2, 9), ["k0", None], [None, torch.ones(1, 3)]
    return batch


def looked_at(batch: Batch, row: int) -> Tensor:
    number = int(batch.image_index[row])
    if number < len(batch.images):
        image = batch.images[number]
        assert isinstance(image, Tensor)
        return image
    assert batch.stored is not None
    return batch.stored.tokens[number - len(batch.images), :2]  # as many as the shortest has


@pytest.mark.parametrize("images", (1, 2, 3, 5, 9))
def test_each_question_stands_in_one_part_with_its_image(images: int) -> None:
    whole = batch_of()
    parts = whole.parts(images)
    rows = [(part, row) for part in parts for row in range(len(part))]
    assert sorted(part.examples[row].question_id for part, row in rows) == list(range(7))
    for part, row in rows:
        number = part.examples[row].question_id
        assert isinstance(number, int)
        assert torch.equal(looked_at(part, row), looked_at(whole, number))
        for name, fill in (("question", 0), ("answer", 0), ("labels", IGNORE)):
            one, other = getattr(part, name)[row], getattr(whole, name)[number]
            assert torch.equal(one, other[: len(one)]) and (other[len(one) :] == fill).all()
    for part in parts:
        count = len(part.images) + (len(part.stored.grids) if part.stored else 0)
        assert count == len(set(part.image_index.tolist())) <= images
        assert len(part.keys) == len(part.letters) == len(part.images)
        assert part.question_mask.any(0).all() and (part.labels != IGNORE).any(0).all()  # type: ignore[union-attr]
        if part.stored is not None:
            assert part.stored.mask.any(0).all()


def test_similar_images_stand_together() -> None:
    parts = batch_of().parts(2)
    assert [[image.shape[2] for image in part.images] for part in parts] == [[3, 10], [], []]
    kept = [part.stored.mask.sum(1).tolist() for part in parts if part.stored]
    assert kept == [[2, 5], [9]]
    assert [part.keys for part in parts] == [[None, "k0"], [], []]


def test_without_answers() -> None:
    assert all(part.answer is None and part.labels is None for part in batch_of(False).parts(1))


def test_training_in_parts_is_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients are those of the whole batch, where all answers are of one length."""
    sizes = ((20, 30), (64, 64), (16, 90), (33, 7))
    drawn: list[Any] = [
        torch.full((3, *size), 9 * n, dtype=torch.uint8) for n, size in enumerate(sizes)
    ]
    index = [2, 0, 3, 3, 1]
    batch = collate(drawn, index, QUESTIONS[:5], TOKENS, ["one", "two", "six", "ten", "low"])
    torch.manual_seed(0)
    model = build(TINY, TOKENS)
    found, told = [], []
    for images in (None, 1, 3):
        module = VQAModule(TINY, images_at_once=images)
        module.model = module.forward_loss = model
        logged: dict[str, float] = {}

        def log(name: str, value: Any, to: dict[str, float] = logged, **_: Any) -> None:
            to[name] = float(torch.as_tensor(value).detach())

        monkeypatch.setattr(module, "log", log)
        loss = module.training_step(batch, 0)
        assert float(logged["train/loss"]) == pytest.approx(loss.item())
        told.append(logged["train/padding"])
        found.append(
            [loss, *torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)]
        )
    assert told[0] > told[2] > told[1] == 0
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert (one is None) == (two is None)
            if one is not None and two is not None:
                torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
