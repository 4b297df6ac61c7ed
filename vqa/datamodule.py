"""Data for training: which questions, in which order, how they become batches."""

from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from vqa import datasets, loader
from vqa import tokenizer as tokenizers


class VQAData(LightningDataModule):
    """Questions about images, from one of the data sets that `vqa` can read.

    Args:
        dataset: name of the data set: easy_vqa, jsonl.
        root: its folder; easy_vqa needs none, it comes with its package.
        batch_size: questions in a training batch.
        eval_batch_size: questions in a batch of validation, test and prediction.
        questions_per_image: this many questions about the same image stand together in
            training, which reads each image once for all of them.
        flip: mirror training images left to right half of the time; only where no question is
            about sides.
        num_workers: processes that read images; 0 reads them in the training process.
        cache_mb: megabytes of decoded images kept in memory.
        vocabulary: most tokens of the tokenizer trained on the questions and answers.
        tokenizer: folder of a Hugging Face tokenizer to use instead.
        predict_split: the split that `vqa predict` answers.
        skip_bad: leave bad rows out, and count them, where the default is to stop at the first.
        seed: seed of the order of training.
    """

    def __init__(
        self,
        dataset: str = "easy_vqa",
        root: str | None = None,
        batch_size: int = 128,
        eval_batch_size: int = 256,
        questions_per_image: int = 1,
        flip: bool = False,
        num_workers: int = 0,
        cache_mb: int = 512,
        vocabulary: int = 1024,
        tokenizer: str | None = None,
        predict_split: str = "test",
        skip_bad: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.source = {"name": dataset, "root": root, "skip_bad": skip_bad}
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.questions_per_image = questions_per_image
        self.flip = flip
        self.num_workers = num_workers
        self.cache_mb = cache_mb
        self.predict_split = predict_split
        self.seed = seed
        self.resume = {"taken": 0}
        self.train_loader: loader.ResumableLoader | None = None
        self.open: dict[str, datasets.Dataset] = {}
        self.tokenizer = (
            tokenizers.load(tokenizer) if tokenizer else tokenizers.train(self._texts(), vocabulary)
        )

    def questions(self, split: str) -> datasets.Dataset:
        """The examples of `split`, read once."""
        if split not in self.open:
            self.open[split] = datasets.create(**self.source, split=split)  # type: ignore[arg-type]
        return self.open[split]

    def score(self, prediction: str, answers: tuple[str, ...]) -> float:
        """The data set's own metric."""
        return next(iter(self.open.values())).score(prediction, answers)

    def train_dataloader(self) -> DataLoader[Any]:
        data = self.questions("train")
        together = loader.Shuffled(data, self.seed, self.questions_per_image)
        join = loader.collator(self.tokenizer, True, mirror if self.flip else None)
        batches = loader.ResumableBatches(together, self.batch_size, len(data) >= self.batch_size)
        self.train_loader = loader.ResumableLoader(
            loader.Questions(data, self.cache_mb),
            batch_sampler=batches,
            collate_fn=join,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )
        self.train_loader.load_state_dict(self.resume)
        return self.train_loader

    def state_dict(self) -> dict[str, int]:
        """How much of the epoch was seen: part of each checkpoint.

        Lightning keeps a loader's state too, but forgets to restore it where the loader was made
        early, to count the optimiser's steps, as ours is for the learning rate schedule.
        """
        # With several devices Lightning trains with a copy of the loader made below.
        train_loader = (self.trainer and self.trainer.train_dataloader) or self.train_loader
        return train_loader.state_dict() if train_loader else self.resume

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Training goes on after the batches that were seen."""
        self.resume = state_dict

    def val_dataloader(self) -> DataLoader[Any]:
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader[Any]:
        return self._evaluation("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        return self._evaluation(self.predict_split)

    def _evaluation(self, split: str) -> DataLoader[Any]:
        return DataLoader(
            loader.Questions(self.questions(split), self.cache_mb),
            batch_size=self.eval_batch_size,
            collate_fn=loader.collator(self.tokenizer, True),
            num_workers=self.num_workers,
        )

    def _texts(self) -> list[str]:
        data = self.questions("train")
        examples = [data[index] for index in range(len(data))]
        return [text for item in examples for text in (item.question, *item.answers)]


def mirror(image: Tensor) -> Tensor:
    """`image` mirrored left to right, half of the time."""
    return image.flip(-1) if torch.rand(()) < 0.5 else image
