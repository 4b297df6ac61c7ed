"""Plain text as blocks of tokens for training language models."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from vqa import tokenizer as tokenizers
from vqa.data.characters import CharacterTokenizer
from vqa.datasets import DataError


def read_documents(files: Sequence[str | Path]) -> list[str]:
    """Read UTF-8 text files, each one document.

    Raises DataError, in one sentence, for a file that is missing, empty or not UTF-8.
    """
    if not files:
        raise DataError("no text files were given; name at least one")
    documents = []
    for file in map(Path, files):
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{file} is not UTF-8 text: byte {error.start} is invalid") from None
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror}") from None
        if not text.strip():
            raise DataError(f"{file} is empty; give a file with text")
        documents.append(text)
    return documents


def build_tokenizer(name: str, documents: Sequence[str], vocab_size: int) -> Any:
    """A tokenizer of the training `documents`, "characters" or "bpe", or that of a folder.

    `vocab_size` is of "bpe" alone, a byte-level BPE of at most so many tokens.
    Raises ValueError for a folder without a tokenizer.
    """
    if name == "characters":
        return CharacterTokenizer.train(documents)
    return tokenizers.train(documents, vocab_size) if name == "bpe" else tokenizers.load(name)


def serialize_tokenizer(tokenizer: Any) -> str:
    """JSON of a tokenizer of `build_tokenizer`."""
    if isinstance(tokenizer, CharacterTokenizer):
        return tokenizer.to_str()
    return tokenizers.to_json(tokenizer)


def encode_documents(documents: Sequence[str], tokenizer: Any) -> Tensor:
    """Token ids of all documents in a row, int64 `[N]`, the end token after each."""
    ids: list[int] = []
    for text in documents:
        ids += tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if tokenizer.eos_token_id is not None:
            ids.append(tokenizer.eos_token_id)
    return torch.tensor(ids)


class RandomBlocks(Dataset[Tensor]):
    """`count` blocks of `length` tokens at random places of `tokens` `[N]`.

    Block i depends on `seed` and i alone, so that a resumed training continues with the same ones.
    Raises DataError if the text is shorter than a block.
    """

    def __init__(self, tokens: Tensor, length: int, count: int, seed: int = 0) -> None:
        _check_length(tokens, length)
        self.tokens, self.length, self.count, self.seed = tokens, length, count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        last = len(self.tokens) - self.length
        start = int(torch.randint(last + 1, (), generator=generator))
        return self.tokens[start : start + self.length]


class ConsecutiveBlocks(Dataset[Tensor]):
    """The text cut into blocks of `length` tokens, at most `count` of them; the rest is left out.

    Raises DataError if the text is shorter than a block.
    """

    def __init__(self, tokens: Tensor, length: int, count: int | None = None) -> None:
        _check_length(tokens, length)
        blocks = tokens[: len(tokens) // length * length].view(-1, length)
        self.blocks = blocks if count is None else blocks[:count]

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> Tensor:
        return self.blocks[index]


class ResumableSampler(Sampler[int]):
    """The indices from `start` to `end`, every `step`-th in order: a training resumed at `start`.

    Of several processes, number r starts at `start` + r and takes `step` = their number.
    """

    def __init__(self, start: int, end: int, step: int = 1) -> None:
        self.indices = range(start, end, step)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def _check_length(tokens: Tensor, length: int) -> None:
    if len(tokens) < length:
        raise DataError(f"the text has {len(tokens)} tokens, fewer than a block of {length}")
