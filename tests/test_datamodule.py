"""Data for training: order, batches, tokenizers."""

from pathlib import Path

import pytest
import torch

from vqa import datasets
from vqa.batch import IGNORE
from vqa.datamodule import VQAData
from vqa.loader import Questions, Shuffled


def data(root: Path, **words: object) -> VQAData:
    return VQAData("jsonl", str(root), batch_size=6, **words)  # type: ignore[arg-type]


def asked(module: VQAData) -> list[list[str]]:
    """Question ids of one epoch, batch by batch."""
    batches = module.train_dataloader()
    return [[str(example.question_id) for example in batch.examples] for batch in batches]


def test_an_epoch_has_every_question_once(squares: Path) -> None:
    ids = [name for batch in asked(data(squares)) for name in batch]
    assert len(ids) == len(set(ids)) == 48


def test_order_depends_on_seed_and_epoch_only(squares: Path) -> None:
    split = datasets.create("jsonl", str(squares), "train")
    order = Shuffled(split, seed=1)
    first = list(order)
    assert first == list(Shuffled(split, seed=1)) != list(Shuffled(split, seed=2))
    order.set_epoch(1)
    assert list(order) != first
    assert sorted(order) == list(range(48))


def test_questions_of_an_image_stand_together_and_share_it(squares: Path) -> None:
    for batch in data(squares, questions_per_image=2).train_dataloader():
        assert len(batch) == 6
        assert len(batch.images) == 3
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


def test_flip_mirrors_half_of_the_images(squares: Path) -> None:
    from vqa.datamodule import mirror

    torch.manual_seed(0)
    image = torch.arange(6).reshape(1, 2, 3)
    flipped = sum(torch.equal(mirror(image), image.flip(-1)) for _ in range(200))
    assert 70 < flipped < 130


def test_decoded_images_are_kept_up_to_the_limit(
    squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = datasets.create("jsonl", str(squares), "test")
    path, other = split[0].image, split[2].image
    kept, forgotten = Questions(split, cache_mb=1), Questions(split, cache_mb=0)
    pixels = kept.pixels(path)
    assert kept.pixels(path) is pixels
    assert forgotten.pixels(path) is not forgotten.pixels(path)
    kept.capacity = pixels.nbytes + 1  # room for one: the older goes
    newer = kept.pixels(other)
    assert kept.pixels(other) is newer or newer.nbytes > kept.capacity
    assert kept.pixels(path) is not pixels
    assert kept.held == sum(image.nbytes for image in kept.cache.values()) <= kept.capacity
