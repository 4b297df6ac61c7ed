"""A batch of images of any sizes, in any order, answers what each question alone is answered."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from networks import TINY, asked, ints, make, noise
from PIL import Image

from encoders import mixers
from vqa import datasets
from vqa.datamodule import VQAData
from vqa.evaluation.run import evaluate
from vqa.evaluation.settings import Settings
from vqa.model import LatteVQA
from vqa.module import VQAModule
from vqa.predictor import Predictor

# Tiles of 64 px, patches of 16: one pixel, one patch, one tile, several with an overview, 1:50.
SIZES = ((1, 1), (16, 16), (64, 64), (130, 200), (8, 400), (400, 8), (17, 65), (70, 33))
LENGTHS = (3, 1, 7, 2, 5, 1, 4, 6)
IMAGES = [noise(*size) for size in SIZES]
QUESTION, MASK = asked(LENGTHS)
ANSWER = ints(len(SIZES), 4)
WAYS = [(mixer, place) for mixer in mixers.available() for place in ("encoder", "decoder")]


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def model(request: pytest.FixtureRequest) -> LatteVQA:
    return make(*request.param)


def logits(model: LatteVQA, rows: list[int], images: list[int], **words: Any) -> torch.Tensor:
    """Of questions `rows` about `images`, their questions padded as a batch of them would be."""
    longest = max(LENGTHS[row] for row in rows)
    out: torch.Tensor = model(
        ANSWER[rows],
        images=[IMAGES[index] for index in images],
        question=QUESTION[rows, :longest],
        question_mask=MASK[rows, :longest],
        **words,
    ).logits
    return out


@torch.no_grad()
def test_any_order_answers_as_each_alone(model: LatteVQA) -> None:
    single = torch.cat([logits(model, [row], [row]) for row in range(len(SIZES))])
    assert (single[1:] - single[:-1]).abs().amax((1, 2)).min() > 1e-2  # the inputs matter
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        order = torch.randperm(len(SIZES), generator=generator).tolist()
        together = logits(model, order, order)
        torch.testing.assert_close(together, single[order], rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_shared_image_answers_as_each_alone(model: LatteVQA) -> None:
    """Several questions about two of the images: each image stands in the batch once."""
    rows, about = [4, 0, 2, 5], [3, 4, 4, 3]
    index = torch.tensor([1, 0, 0, 1])
    together = logits(model, rows, [4, 3], image_index=index)
    for place, (row, image) in enumerate(zip(rows, about, strict=True)):
        alone = logits(model, [row], [image])[0]
        torch.testing.assert_close(together[place], alone, rtol=0, atol=1e-5)


def test_gradients_of_a_batch_are_the_sum_of_each_alone(model: LatteVQA) -> None:
    """Padding teaches nothing either."""
    rows = list(range(len(SIZES)))
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def gradients(groups: list[list[int]]) -> list[torch.Tensor]:
        model.zero_grad()
        for group in groups:
            logits(model, group, group).square().sum().backward()
        return [torch.zeros(1) if w.grad is None else w.grad.clone() for w in weights]

    together, alone = gradients([rows]), gradients([[row] for row in rows])
    for got, expected in zip(together, alone, strict=True):
        scale = float(expected.abs().max()) or 1.0
        torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=1e-4)


@pytest.mark.parametrize("batch_size", (1, 2, 16))
def test_evaluation_tells_the_share_of_padding(
    squares: Path, predictor: Predictor, tmp_path: Path, batch_size: int
) -> None:
    data = datasets.create("jsonl", str(squares), "test")
    # Smallest first: 6 questions about 32 x 32 px, 6 about 48 x 32, 4 about 100 x 70.
    large = 5 * 7 + 3 * 4  # with an overview of 3 x 4 patches
    rows = [4] * 6 + [6] * 6 + [large] * 4
    batches = [rows[start : start + batch_size] for start in range(0, 16, batch_size)]
    padded = sum(len(batch) * max(batch) for batch in batches)
    told = evaluate(predictor, data, tmp_path, Settings(batch_size))["padding"]
    with (tmp_path / "predictions.jsonl").open(encoding="utf-8") as lines:
        tokens = sum(json.loads(line)["tokens"] for line in lines)  # of the questions, too
    padding = padded - sum(rows)
    assert told == pytest.approx(padding / (tokens + padding), abs=1e-4)
    assert (told == 0) == (batch_size < 16)


def test_training_logs_the_share_of_padding(squares: Path, tmp_path: Path) -> None:
    data = VQAData("jsonl", str(squares), batch_size=48, sizes=[64], vocabulary=300)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        accelerator="cpu", max_steps=1, limit_val_batches=0, enable_checkpointing=False, **quiet
    )
    trainer.fit(VQAModule(TINY), data)
    assert data.train_loader is not None
    (batch,) = data.train_loader.batches.batches()[:1]
    split = data.questions("train")
    sides = {(32, 32): 4, (48, 32): 6, (100, 70): 4 * 3}  # the last is shrunk to 64 x 45 px
    rows = []
    for index, _ in batch:
        with Image.open(split[index].image) as image:
            rows.append(sides[image.size])
    expected = 1 - sum(rows) / (len(rows) * max(rows))
    assert expected > 0
    assert float(trainer.callback_metrics["train/padding"]) == pytest.approx(expected)
