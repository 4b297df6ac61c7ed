"""Data for training: order, batches, tokenizers."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from vqa import datasets, images
from vqa.batch import IGNORE
from vqa.datamodule import VQAData
from vqa.datasets import DataError, Example
from vqa.questions import Questions, Sizes, token_counts


def data(root: Path, **words: object) -> VQAData:
    return VQAData("jsonl", str(root), batch_size=6, **words)  # type: ignore[arg-type]


def asked(module: VQAData) -> list[list[str]]:
    """Question ids of one epoch, batch by batch."""
    batches = module.train_dataloader()
    return [[str(example.question_id) for example in batch.examples] for batch in batches]


def test_an_epoch_has_every_question_once(squares: Path) -> None:
    ids = [name for batch in asked(data(squares)) for name in batch]
    assert len(ids) == len(set(ids)) == 48


def test_questions_of_an_image_stand_together_and_share_it(squares: Path) -> None:
    for batch in data(squares, questions_per_image=2).train_dataloader():
        assert len(batch) in (4, 6)
        assert len(batch.images) == len(batch) / 2
        for index, example in zip(batch.image_index.tolist(), batch.examples, strict=True):
            others = batch.examples[::2]
            assert example.image == others[index].image


def test_resumed_epoch_goes_on_where_it_stopped(squares: Path) -> None:
    whole = asked(data(squares))
    module = data(squares)
    batches = iter(module.train_dataloader())
    for _ in range(3):
        next(batches)
    resumed = data(squares)
    resumed.load_state_dict(module.state_dict())
    assert asked(resumed) == whole[3:]
    finished = data(squares)
    finished.load_state_dict({"taken": len(whole)})
    assert asked(finished) == whole  # the next epoch, from its first batch


def test_answers_are_shifted_by_one(squares: Path) -> None:
    module = data(squares)
    tokenizer = module.tokenizer
    batch = next(iter(module.train_dataloader()))
    assert batch.answer is not None and batch.labels is not None
    for row, labels, example in zip(batch.answer, batch.labels, batch.examples, strict=True):
        told = [token for token in labels.tolist() if token != IGNORE]
        assert told == [*tokenizer(example.answers[0]).input_ids, tokenizer.eos_token_id]
        assert row[: len(told)].tolist() == [tokenizer.bos_token_id, *told[:-1]]


def test_any_tokenizer_folder(squares: Path, tiny: Path) -> None:
    module = data(squares, tokenizer=str(tiny))
    assert module.tokenizer.get_vocab() == data(squares, tokenizer=str(tiny)).tokenizer.get_vocab()
    with pytest.raises(ValueError, match="no tokenizer.json"):
        data(squares, tokenizer=str(squares))


def test_decoded_images_are_kept_up_to_the_limit(
    squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = datasets.create("jsonl", str(squares), "test")
    path, other = split[0].image, split[2].image
    kept, forgotten = Questions(split, cache_mb=1), Questions(split, cache_mb=0)
    pixels = kept.pixels(path)
    assert kept.pixels(path, 16) is not pixels  # another size is another image
    assert kept.pixels(path) is pixels
    assert forgotten.pixels(path) is not forgotten.pixels(path)
    kept = Questions(split, cache_mb=1)
    pixels = kept.pixels(path)
    kept.capacity = pixels.nbytes + 1  # room for one: the older goes
    newer = kept.pixels(other)
    assert kept.pixels(other) is newer or newer.nbytes > kept.capacity
    assert kept.pixels(path) is not pixels
    assert kept.held == sum(image.nbytes for image in kept.cache.values()) <= kept.capacity


class Drawn:
    """A data set that draws: a canvas of one grey, which is the answer."""

    splits = ("train", "val", "test")

    def __init__(
        self, root: str | None, split: str, skip_bad: bool = False, *, count: int = 96
    ) -> None:
        self.skipped: list[str] = []
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        return Example(index, f"drawn {index}", "how bright?", (f"{index} %",))

    def render(self, index: int, size: int | None = None) -> tuple[Example, Tensor]:
        return self[index], torch.full((3, size or 20, size or 20), index, dtype=torch.uint8)

    def score(self, prediction: str, answers: tuple[str, ...]) -> float:
        return float(prediction in answers)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set called "drawn"."""
    usual = importlib.import_module
    monkeypatch.setattr(datasets, "available", lambda: ["drawn", "jsonl"])
    module = SimpleNamespace(Dataset=Drawn)
    monkeypatch.setattr(
        importlib,
        "import_module",
        lambda name, *rest: module if name == "vqa.datasets.drawn" else usual(name, *rest),
    )


def seen(module: VQAData) -> Iterator[tuple[list[object], list[tuple[int, int]]]]:
    """Question ids, and image sizes, of each training batch."""
    for batch in module.train_dataloader():
        sides = [(image.shape[1], image.shape[2]) for image in batch.images]
        yield [example.question_id for example in batch.examples], sides


def test_canvases_are_drawn_at_the_size_of_their_batch(drawn: None) -> None:
    module = VQAData("drawn", batch_size=8, sizes=[16, 32, 64], pixels_per_batch=4 * 64**2)
    batches = list(seen(module))
    for _, sides in batches:
        assert len(set(sides)) == 1
        assert len(sides) == {16: 8, 32: 8, 64: 4}[sides[0][0]]
    assert {sides[0][0] for _, sides in batches} == {16, 32, 64}
    for batch in module.train_dataloader():
        for place, example in zip(batch.image_index, batch.examples, strict=True):
            assert (batch.images[place] == example.question_id).all()
    again = VQAData("drawn", batch_size=8, sizes=[16, 32, 64], pixels_per_batch=4 * 64**2)
    assert list(seen(again)) == batches


def test_a_data_set_may_be_drawn_at_its_own_size(drawn: None) -> None:
    assert all(set(sides) == {(20, 20)} for _, sides in seen(VQAData("drawn", batch_size=8)))


@pytest.mark.parametrize(
    ("words", "side"),
    [({}, 20), ({"sizes": [16, 64]}, 64), ({"sizes": [16, 64], "eval_size": 32}, 32)],
    ids=("own", "largest", "chosen"),
)
def test_evaluation_has_one_size(drawn: None, words: dict[str, Any], side: int) -> None:
    module = VQAData("drawn", eval_batch_size=40, dataset_args={"count": 50}, **words)
    found = [batch for batch in module.val_dataloader()]
    assert [len(batch) for batch in found] == [40, 10]
    assert all(image.shape == (3, side, side) for batch in found for image in batch.images)


def test_evaluation_keeps_to_the_pixels_of_a_batch(squares: Path) -> None:
    module = data(squares, pixels_per_batch=3 * 48 * 32)
    sides = [[image.shape[1:].numel() for image in b.images] for b in module.val_dataloader()]
    assert all(len(batch) == 1 or len(batch) * max(batch) <= 3 * 48 * 32 for batch in sides)
    ids = [e.question_id for b in module.val_dataloader() for e in b.examples]
    assert sorted(ids) == sorted(str(e.question_id) for e in all_of(module.questions("val")))


def all_of(split: datasets.Dataset) -> list[Example]:
    return [split[index] for index in range(len(split))]


def test_predictions_come_in_the_order_of_the_data(squares: Path) -> None:
    module = data(squares)
    ids = [e.question_id for b in module.predict_dataloader() for e in b.examples]
    assert ids == [example.question_id for example in all_of(module.questions("test"))]


def test_files_are_shrunk_never_enlarged(squares: Path) -> None:
    """Images are 32 x 32, 48 x 32 and 100 x 70 px (width x height)."""
    found = {side for _, sides in seen(data(squares, sizes=[40])) for side in sides}
    assert found == {(32, 32), (27, 40), (28, 40)}


def test_shrinking_is_that_of_asking(squares: Path) -> None:
    split = datasets.create("jsonl", str(squares), "train")
    index = next(i for i in range(len(split)) if images.size(split[i].image) == (100, 70))
    _, got = Questions(split)[index, 50]
    with images.open(split[index].image) as picture:
        assert torch.equal(got, picture.scaled(35, 50)[:, :, :])


def test_a_needle_keeps_a_pixel() -> None:
    assert images.shrunk_size(5000, 3, 100) == (100, 1)


def test_pixel_counts_are_those_of_the_images_read(squares: Path) -> None:
    split = datasets.create("jsonl", str(squares), "train")
    read, questions = Sizes(split), Questions(split)
    for size in (None, 40, 1000):
        real = [questions[index, size][1].shape[1:].numel() for index in range(len(split))]
        assert read.pixels(size) == real


def test_headers_are_read_once(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    size = images.size
    monkeypatch.setattr(images, "size", lambda path: (opened.append(path), size(path))[1])
    read = Sizes(datasets.create("jsonl", str(squares), "train"))
    assert not opened
    read.pixels()
    read.pixels(40)
    assert len(opened) == len(set(opened)) == 24


def test_workers_change_nothing(squares: Path) -> None:
    words = {"sizes": [16, 40], "pixels_per_batch": 5000}
    alone, helped = data(squares, **words), data(squares, num_workers=2, **words)
    batches, others = list(seen(alone)), helped.train_dataloader()
    for epoch in range(2):  # the second with the same processes
        others.batches.set_epoch(epoch)
        alone.train_dataloader()
        assert alone.train_loader is not None
        alone.train_loader.batches.set_epoch(epoch)
        batches = list(alone.train_loader)
        for ours, theirs in zip(batches, others, strict=True):
            assert list(ours.examples) == list(theirs.examples)
            assert all(map(torch.equal, ours.images, theirs.images))


class Watcher(LightningModule):
    """Writes down which questions it is given, at which size."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches: list[list[tuple[object, int]]] = []

    def training_step(self, batch: Any, _: int) -> Tensor:
        sides = [batch.images[place].shape[1] for place in batch.image_index]
        ids = [example.question_id for example in batch.examples]
        self.batches.append(list(zip(ids, sides, strict=True)))
        return self.weight * 1.0

    def validation_step(self, batch: Any, _: int) -> None:
        assert len(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        assert self.trainer.estimated_stepping_batches  # makes the loader before a checkpoint loads
        return torch.optim.SGD(self.parameters(), 0.1)


def train(module: VQAData, folder: Path, resume: str | None = None, **words: Any) -> Watcher:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    watcher = Watcher()
    Trainer(accelerator="cpu", default_root_dir=folder, **quiet, **words).fit(
        watcher, module, ckpt_path=resume, weights_only=False if resume else None
    )
    return watcher


def curriculum() -> VQAData:
    return VQAData("drawn", batch_size=8, sizes=[16, 32, 64], pixels_per_batch=4 * 64**2)


def test_sizes_unlock_over_the_training_and_a_resumed_one_goes_on(
    drawn: None, tmp_path: Path
) -> None:
    """Stopped in mid-epoch, a new process with the checkpoint sees the batches that were left."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    every = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)
    whole = train(curriculum(), tmp_path, max_epochs=6, callbacks=[every]).batches
    sides = [batch[0][1] for batch in whole]
    third = len(whole) // 3
    assert set(sides[: third // 2]) == {16}
    assert set(sides[third // 2 : third]) <= {16, 32} and 64 not in sides[:third]
    assert set(sides[third:]) == {16, 32, 64}
    for step in (1, 17, len(whole) - 3):
        place = str(tmp_path / f"step={step}.ckpt")
        other = ModelCheckpoint(tmp_path, "{step}", save_top_k=0, every_n_train_steps=1)
        resumed = train(curriculum(), tmp_path, place, max_epochs=6, callbacks=[other])
        assert resumed.batches == whole[step:]


@pytest.mark.parametrize(
    "words",
    (
        {"max_steps": 60},
        {"max_steps": 30, "accumulate_grad_batches": 2},
        {"max_epochs": 20, "limit_train_batches": 3},
        {"max_epochs": 12, "limit_train_batches": 0.5},
    ),
    ids=str,
)
def test_half_of_any_training_has_all_sizes(
    drawn: None, tmp_path: Path, words: dict[str, Any]
) -> None:
    whole = train(curriculum(), tmp_path, enable_checkpointing=False, **words).batches
    sides = [batch[0][1] for batch in whole]
    assert 30 <= len(whole) <= 120
    assert sides[0] == 16
    assert 0.3 <= sides.index(64) / len(sides) <= 0.5


@pytest.mark.filterwarnings("ignore:You requested to overfit")
def test_overfitting_repeats_the_same_batches(squares: Path, tmp_path: Path) -> None:
    module = data(squares)
    words: dict[str, Any] = {"overfit_batches": 2, "enable_checkpointing": False}
    watcher = train(module, tmp_path, max_epochs=3, **words)
    assert watcher.batches == watcher.batches[:2] * 3


def test_training_without_an_end_is_refused(drawn: None, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sizes \[16, 32, 64\].*max_epochs"):
        train(curriculum(), tmp_path, max_epochs=-1, enable_checkpointing=False)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"sizes": []}, "sizes.*not \\[\\]"),
        ({"sizes": [64, 32]}, r"smallest first.*\[64, 32\]"),
        ({"sizes": [32, 32]}, r"\[32, 32\]"),
        ({"sizes": [0, 8]}, r"\[0, 8\]"),
        ({"batch_size": 0}, "batch_size must be 1 or more, not 0"),
        ({"pixels_per_batch": -1}, "pixels_per_batch must be 1 or more, not -1"),
        ({"questions_per_image": 0}, "questions_per_image"),
        ({"dataset_args": {"colour": 1}}, "drawn has no option 'colour'; its options are count"),
    ],
    ids=str,
)
def test_bad_options_get_a_sentence(drawn: None, words: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        VQAData("drawn", **words)


def test_a_data_set_without_options_says_so() -> None:
    with pytest.raises(DataError, match="easy_vqa has no option 'size'; it has no options"):
        VQAData("easy_vqa", dataset_args={"size": 3})


def test_pixels_of_canvases_must_be_known(drawn: None) -> None:
    with pytest.raises(DataError, match="pixels_per_batch 99 needs.*drawn.*give sizes"):
        VQAData("drawn", pixels_per_batch=99).train_dataloader()


def test_an_unreadable_image_is_named_before_training(squares: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    row = {"question_id": 1, "image": "bad.png", "question": "why?", "answers": ["so"]}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(images.ImageError, match="bad.png"):
        data(tmp_path).train_dataloader()


def test_padding_is_counted_by_question(squares: Path) -> None:
    batch = next(iter(data(squares).val_dataloader()))
    batch.images = [torch.zeros(3, 2, 5), torch.zeros(3, 1, 3)]
    batch.image_index = torch.tensor([0, 1, 1])
    assert token_counts(batch, lambda height, width: height * width) == (10 + 3 + 3, 30)
