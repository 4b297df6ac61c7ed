"""Text files as training and validation blocks of a language model."""

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from vqa.data.text import (
    ConsecutiveBlocks,
    RandomBlocks,
    ResumableSampler,
    build_tokenizer,
    encode_documents,
    read_documents,
)
from vqa.datasets import DataError


class TextData(LightningDataModule):
    """Blocks of `length` + 1 tokens: every token but the first is predicted.

    Training block i depends on the seed and on i alone, whatever the model, and a resumed training
    continues with the blocks that an uninterrupted one would have had.

    Args:
        train: UTF-8 text files to train on, each one document.
        val: UTF-8 text files to validate on.
        tokenizer: "characters" or "bpe", made from the training text, or a folder with a
            tokenizer.json.
        vocab_size: most tokens of "bpe".
        length: tokens of a block that the model gets, its context.
        batch_size: blocks of a batch, on each device.
        val_blocks: most blocks to validate on, spread evenly over the validation text.
        seed: another seed is another choice of training blocks.
    """

    def __init__(
        self,
        train: list[str],
        val: list[str],
        tokenizer: str = "bpe",
        vocab_size: int = 4096,
        length: int = 1024,
        batch_size: int = 8,
        val_blocks: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__()
        counts = {"length": length, "batch_size": batch_size, "val_blocks": val_blocks}
        for name, value in counts.items():
            if value < 1:
                raise DataError(f"data.{name} must be 1 or more, not {value}")
        self.files = {"train": train, "val": val}
        self.tokenizer_name, self.vocab_size = tokenizer, vocab_size
        self.length, self.batch_size = length, batch_size
        self.val_blocks, self.seed = val_blocks, seed
        self.tokenizer: Any = None

    def setup(self, stage: str) -> None:
        """Read and encode the files, once."""
        if self.tokenizer is not None:
            return
        train, val = (read_documents(self.files[split]) for split in ("train", "val"))
        self.tokenizer = build_tokenizer(self.tokenizer_name, train, self.vocab_size)
        self.train_tokens = encode_documents(train, self.tokenizer)
        val_tokens = encode_documents(val, self.tokenizer)
        self.val_dataset = ConsecutiveBlocks(val_tokens, self.length + 1)
        self.characters_per_token = sum(map(len, val)) / len(val_tokens)

    def train_dataloader(self) -> "TrainingLoader":
        trainer = self.trainer
        assert trainer is not None
        if trainer.max_steps < 1:
            raise DataError("random blocks have no end: set trainer.max_steps")
        accumulated = trainer.world_size * trainer.accumulate_grad_batches
        blocks_per_step = self.batch_size * accumulated
        start, end = (n * blocks_per_step for n in (trainer.global_step, trainer.max_steps))
        blocks = RandomBlocks(self.train_tokens, self.length + 1, end, self.seed)
        sampler = ResumableSampler(start + trainer.global_rank, end, trainer.world_size)
        loader = DataLoader(blocks, self.batch_size, sampler=sampler)
        return TrainingLoader(loader, trainer.max_steps * trainer.accumulate_grad_batches)

    def val_dataloader(self) -> DataLoader[Tensor]:
        count = min(self.val_blocks, len(self.val_dataset))
        places = torch.arange(count) * len(self.val_dataset) // count
        return DataLoader(Subset(self.val_dataset, places.tolist()), self.batch_size)


class TrainingLoader:
    """The batches of `loader`, of a training of `length` batches that may be resumed.

    Lightning counts the batches of a resumed training from the very first one on, and would give
    a `DataLoader` on several devices a sampler of its own.
    """

    def __init__(self, loader: DataLoader[Tensor], length: int) -> None:
        self.loader, self.length = loader, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Tensor]:
        yield from self.loader

    def state_dict(self) -> dict[str, int]:
        """Nothing: the trainer's step says where a resumed training begins."""
        return {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Lightning warns of loaders that cannot be resumed; this one is made resumed."""
