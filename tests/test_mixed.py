"""Several data sets as one: which question of which, in which epoch."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from vqa import datasets
from vqa import tokenizer as tokenizers
from vqa.datamodule import VQAData
from vqa.datasets import DataError, mixed
from vqa.draws import Draws
from vqa.questions import Questions, Sizes

PAGES = {"dataset": "pages", "count": 40, "size": 128, "fonts": "builtin", "questions": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three questions about two image files, in train and val."""
    folder = tmp_path_factory.mktemp("mixed")
    for name, side in (("a", 20), ("b", 90)):
        Image.new("RGB", (side, side)).save(folder / f"{name}.png")
    for split in ("train", "val"):
        rows = [
            json.dumps(
                {
                    "question_id": f"{split}{n}",
                    "image": f"{image}.png",
                    "question": f"q{n}",
                    "answers": [str(n)],
                }
            )
            for n, image in enumerate("aab")
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return str(folder)


def made(root: str, split: str = "train", **pages: Any) -> mixed.Dataset:
    parts = [{"dataset": "jsonl", "metric": "exact_match"}, {**PAGES, **pages}]
    data = datasets.create("mixed", root, split, parts=parts)
    assert isinstance(data, mixed.Dataset)
    return data


def test_an_epoch_has_each_part_and_the_next_goes_on(root: str) -> None:
    data = made(root, each=16)
    assert len(data) == 3 + 16
    seen: Counter[str] = Counter()
    for epoch in range(5):
        ids = [str(data[index + epoch * len(data)].question_id) for index in range(len(data))]
        assert ids[:3] == ["train0", "train1", "train2"]
        assert ids[3:] == [f"pages-train-{(epoch * 16 + n) % 40}" for n in range(16)]
        seen.update(ids[3:])
    assert len(seen) == 40 and set(seen.values()) == {2}


def test_all_of_a_part_by_default_and_evaluation_by_the_first(root: str) -> None:
    assert len(made(root)) == 3 + 40
    val = made(root, "val", each=16)
    assert [val[index].question_id for index in range(len(val))] == ["val0", "val1", "val2"]
    assert val.score("0", ("0",)) == 1 and val.score("1", ("0",)) == 0


def test_drawn_and_read_pictures_come_as_they_are(root: str) -> None:
    data = made(root, each=4)
    questions, pages = Questions(data), data.parts[1]
    assert questions[2, None][1].shape == (3, 90, 90)  # type: ignore[union-attr]
    for index, place in ((3, 0), (6, 3), (3 + 7, 4)):
        example, pixels = questions[index, None]
        theirs, drawn = pages.render(place, None)  # type: ignore[attr-defined]
        assert example == theirs and torch.equal(pixels, drawn)  # type: ignore[arg-type]
    assert Sizes(data).pixels() == [1] * 7


def test_draws_take_the_next_questions_in_later_epochs(root: str) -> None:
    data = made(root, each=4)
    draws = Draws(Questions(data), seed=0)
    ids = [draws[epoch, (3, None)][0].question_id for epoch in (0, 1, 2, 10)]
    assert ids == ["pages-train-0", "pages-train-4", "pages-train-8", "pages-train-0"]
    assert draws[7, (1, None)][0].question_id == "train1"


def test_it_trains_through_the_data_module(root: str, tmp_path: Path) -> None:
    tokenizers.train((), 259).save_pretrained(str(tmp_path))
    parts = [{"dataset": "jsonl", "metric": "exact_match"}, {**PAGES, "each": 4}]
    data = VQAData(
        "mixed",
        root,
        batch_size=3,
        questions_per_image=2,
        tokenizer=str(tmp_path),
        dataset_args={"parts": parts},
    )
    batches = list(data.train_dataloader())
    assert sum(map(len, batches)) == 7
    (val,) = data.val_dataloader()
    assert [example.question_id for example in val.examples] == ["val0", "val1", "val2"]
    with pytest.raises(DataError, match="mixed does not tell"):
        VQAData("mixed", root, tokenizer=str(tmp_path), pixels_per_batch=9,
                dataset_args={"parts": parts}).train_dataloader()  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "told"),
    (
        ([], "no parts"),
        ([{"count": 4}], "must name its dataset"),
        ([{"dataset": "mixed", "parts": []}], "not mixed"),
        ([{**PAGES, "each": 41}], "each of pages must be 1 to 40, not 41"),
        ([{**PAGES, "each": 0}], "each of pages must be 1 to 40, not 0"),
        ([{"dataset": "nowhere"}], "no data set is called"),
    ),
)
def test_bad_parts_are_refused(parts: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(DataError, match=told):
        datasets.create("mixed", parts=parts)
    with pytest.raises(IndexError):
        datasets.create("mixed", parts=[PAGES])[-1]
