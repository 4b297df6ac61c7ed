"""Letters of generated pages: where they stand, and a reader that learns their names."""

from typing import Any

import pytest
import torch
from torch import Tensor

from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens
from vqa import datasets
from vqa.config import Network, Vision
from vqa.module import VQAModule
from vqa.pages.letters import letters
from vqa.pages.view import seen
from vqa.questions import Questions, collator
from vqa.reading import CLASSES, FIRST, LetterReader
from vqa.tokenizer import BYTES, train


def pages(**options: Any) -> Any:
    return datasets.create("pages", None, "train", fonts="builtin", count=400, **options)


@pytest.mark.parametrize("size", (64, 128, 400))
def test_ink_is_where_letters_are_said_to_stand(size: int) -> None:
    """Middles of letters and digits are a quarter em from ink; moved by two ems, many are not."""
    data, near, far, count = pages(layouts="receipt,line,form"), 0, 0, 0
    for index in range(30):
        scene = data.scene(index, size)
        ink = torch.tensor(bytearray(seen(scene).tobytes())).view(scene.height, scene.width)
        reach, step = round(scene.em / 4), round(scene.em * 2)
        printed = letters(scene).tolist()
        for _, row, column in [each for each in printed if chr(each[0]).isalnum()]:  # no commas
            near += _inked(ink, row, column, reach)
            far += _inked(ink, row + step, column + step, reach)
            count += 1
    assert count > 30
    assert near / count > 0.99
    assert far < 0.75 * near


def _inked(ink: Tensor, row: int, column: int, reach: int) -> bool:
    top, left = max(0, row - reach), max(0, column - reach)
    return bool((ink[top : row + reach + 1, left : column + reach + 1] > 100).any())


def test_all_that_is_printed_is_told_in_order() -> None:
    data = pages(layouts="receipt")
    for index in range(20):
        scene = data.scene(index, 512)
        told = "".join(chr(code) for code, _, _ in letters(scene).tolist())
        assert told == "".join(text.text.replace(" ", "") for text in scene.sheet.texts)


def test_letters_reach_the_batch_image_by_image() -> None:
    data = pages(questions=3, size=128)
    items = [Questions(data)[index, None] for index in (0, 1, 5)]
    batch = collator(train((), BYTES), learn=True)(items)
    assert len(batch.images) == len(batch.letters) == 2
    for printed, index in zip(batch.letters, (0, 5), strict=True):
        assert printed is not None and torch.equal(printed, letters(data.scene(index)))
    moved = batch.to("cpu").letters
    assert all(map(torch.equal, moved, batch.letters))


def test_pictures_without_letters_have_none() -> None:
    data = datasets.create("canvas", None, "train", fonts="builtin", kinds="attribute", count=4)
    batch = collator(train((), BYTES))([Questions(data)[0, None]])
    assert list(batch.letters) == [None]


def image_of(tokens: Tensor, grids: list[Grid]) -> ImageTokens:
    width = tokens.shape[1]
    mask = torch.arange(width) < torch.tensor([grid.size for grid in grids])[:, None]
    places, pitch = torch.zeros(len(grids), width, 2), torch.ones(len(grids), 2)
    return ImageTokens(tokens, mask, [(grid,) for grid in grids], places, pitch)


def test_the_loss_is_the_naive_one() -> None:
    """Halves with a letter and halves without weigh alike; each by the log-softmax of its class."""
    torch.manual_seed(0)
    reader, tokens = LetterReader(16), torch.randn(2, 6, 16)
    image = image_of(tokens, [Grid(2, 3), Grid(1, 2)])
    first = torch.tensor([[ord("A"), 3, 5], [ord("é"), 12, 17], [ord("~"), 15, 0]])
    printed = [first.int(), torch.tensor([[ord("!"), 7, 15]], dtype=torch.int32)]
    loss, right = reader(image, printed, 8)
    # (picture, patch, half): class
    said = {
        (0, 0, 1): ord("A") - FIRST + 1,
        (0, 5, 0): CLASSES - 1,
        (0, 3, 0): ord("~") - FIRST + 1,
        (1, 1, 1): 1,
    }
    logs = reader.name(reader.norm(tokens)).view(2, 6, 2, CLASSES).log_softmax(-1)
    with_letter, without, named = [], [], []
    for picture, size in ((0, 6), (1, 2)):
        for place in ((picture, patch, half) for patch in range(size) for half in range(2)):
            target = said.get(place, 0)
            (with_letter if target else without).append(-logs[place][target])
            if target:
                named.append(float(logs[place].argmax() == target))
    expected = torch.stack(with_letter).mean() + torch.stack(without).mean()
    torch.testing.assert_close(loss, expected)
    assert right.item() == sum(named) / len(named)


def test_pictures_whose_letters_are_unknown_cost_nothing_and_keep_gradients() -> None:
    reader, tokens = LetterReader(16), torch.randn(1, 6, 16, requires_grad=True)
    loss, _ = reader(image_of(tokens, [Grid(2, 3)]), [None], 8)
    loss.backward()
    assert loss == 0
    assert all(weight.grad is not None for weight in reader.parameters())


def test_a_reader_learns_to_name_letters() -> None:
    """Tokens that show a letter, with noise: named after a hundred steps, though few have one."""
    torch.manual_seed(0)
    reader, looks = LetterReader(32), torch.randn(26, 32)
    optimizer = torch.optim.AdamW(reader.parameters(), 1e-2)
    right = torch.zeros(())
    for _ in range(100):
        tokens = 0.3 * torch.randn(1, 100, 32)
        places, chosen = torch.randperm(100)[:8], torch.randint(26, (8,))
        tokens[0, places] += looks[chosen]
        rows, columns = places // 10 * 8 + 4, places % 10 * 8 + 2
        printed = torch.stack([chosen + ord("A"), rows, columns], 1).int()
        loss, right = reader(image_of(tokens, [Grid(10, 10)]), [printed], 8)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert right > 0.8


@pytest.mark.parametrize(
    ("words", "vision"), (({"freeze_vision": True}, Vision()), ({}, Vision(encoder="glyphs")))
)
def test_who_cannot_learn_letters_is_told(words: dict[str, Any], vision: Vision) -> None:
    with pytest.raises(ValueError, match="reading_weight teaches the image encoder .* set it to 0"):
        VQAModule(Network(vision=vision), reading_weight=1.0, **words)
