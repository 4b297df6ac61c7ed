"""The border between questions and tensors: training, evaluation and serving collate here."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from encoders.pixels import Pixels
from encoders.vision.sheet import ImageTokens
from vqa.datasets import Example
from vqa.prompt import page_turn, question_turn

IGNORE = -100
"""Label of a position that the loss leaves out, as in torch."""


@dataclass
class Batch:
    """Questions about images, as tensors.

    `images`: uint8 RGB `[3, H, W]`, tensors or read piece by piece, each once however many
    questions it has; `image_index` int `[B]`: the image of each question; `question` int and
    `question_mask` bool `[B, Tq]`; `answer` int `[B, Ta]` begins with the beginning token;
    `labels` int `[B, Ta]` is the answer one token ahead, IGNORE where padded;
    `examples`: where the questions came from, if from a data set.

    Where features of images are kept on disk (vqa/features.py), `stored` are the tokens of those
    that were found there: their numbers follow those of `images`, which are to be kept by `keys`.
    `letters`: what each of `images` shows in print, where that is known (`Example.letters`).

    `transcript` int and `transcript_mask` bool `[I, Tt]`: the text of each image, those of `images`
    first, for a network that reads it (vqa/prompt.py).
    """

    images: list[Pixels]
    image_index: Tensor
    question: Tensor
    question_mask: Tensor
    answer: Tensor | None = None
    labels: Tensor | None = None
    examples: Sequence[Example] = ()
    stored: ImageTokens | None = None
    keys: Sequence[str | None] = ()
    letters: Sequence[Tensor | None] = ()
    transcript: Tensor | None = None
    transcript_mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.image_index)

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on `device`."""
        move = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        images = [image.to(device) if isinstance(image, Tensor) else image for image in self.images]
        stored = self.stored
        if stored is not None:
            tokens, mask, grids, *rest = stored
            stored = ImageTokens(
                tokens.to(device), mask.to(device), grids, *(part.to(device) for part in rest)
            )
        letters = [None if each is None else each.to(device) for each in self.letters]
        of_images = {"images": images, "stored": stored, "letters": letters}
        return Batch(**{**vars(self), **move, **of_images})

    def parts(self, images: int) -> list["Batch"]:
        """The questions in batches of at most so many `images` each, those of similar size.

        Each is padded to its own longest only.
        """
        pixels = [(0, image.shape[1] * image.shape[2]) for image in self.images]
        if self.stored is not None:
            pixels += [(1, count) for count in self.stored.mask.sum(1).tolist()]
        order = sorted(range(len(pixels)), key=pixels.__getitem__)
        return [self._of(order[n : n + images]) for n in range(0, len(order), images)]

    def _of(self, numbers: Sequence[int]) -> "Batch":
        """The questions about the images of these numbers."""
        place = {number: new for new, number in enumerate(numbers)}
        asked = [row for row, number in enumerate(self.image_index.tolist()) if number in place]
        rows = torch.tensor(asked, device=self.image_index.device)
        index = [place[number] for number in self.image_index[rows].tolist()]
        mask = self.question_mask[rows]
        words = int(mask.sum(1).max())
        drawn = [number for number in numbers if number < len(self.images)]
        part = Batch(
            [self.images[number] for number in drawn],
            torch.tensor(index, device=rows.device),
            self.question[rows, :words],
            mask[:, :words],
            examples=[self.examples[row] for row in asked] if self.examples else (),
            keys=[self.keys[number] for number in drawn] if self.keys else (),
            letters=[self.letters[number] for number in drawn] if self.letters else (),
        )
        kept = [number - len(self.images) for number in numbers if number >= len(self.images)]
        if self.stored is not None and kept:
            part.stored = self.stored.rows(kept).cut()
        if self.transcript is not None and self.transcript_mask is not None:
            shown = self.transcript_mask[numbers]
            width = int(shown.sum(1).max())
            part.transcript = self.transcript[numbers, :width]
            part.transcript_mask = shown[:, :width]
        if self.answer is not None and self.labels is not None:
            told = int((self.labels[rows] != IGNORE).sum(1).max())
            part.answer, part.labels = self.answer[rows, :told], self.labels[rows, :told]
        return part

    def inputs(self) -> dict[str, object]:
        """What the model needs to read, by argument name."""
        names = ("images", "image_index", "question", "question_mask")
        named: dict[str, object] = {name: getattr(self, name) for name in names}
        if self.transcript is not None:
            named |= {"transcript": self.transcript, "transcript_mask": self.transcript_mask}
        return named


def collate(
    images: Sequence[Pixels],
    image_index: Sequence[int],
    questions: Sequence[str],
    tokenizer: PreTrainedTokenizerFast,
    answers: Sequence[str] | None = None,
    examples: Sequence[Example] = (),
    chat: bool = False,
) -> Batch:
    """A batch of `questions`, i about `images[image_index[i]]`, with `answers` to learn from.

    `chat`: questions are turns of a chat, as `transcript_tokens` begins it.
    """
    asked = _tokens(tokenizer, questions)
    if chat:
        asked = [question_turn(tokenizer, tokens) for tokens in asked]
    question, mask = _pad(asked, tokenizer.pad_token_id)
    batch = Batch(list(images), torch.tensor(list(image_index)), question, mask, examples=examples)
    if answers is not None:
        targets = [[*tokens, tokenizer.eos_token_id] for tokens in _tokens(tokenizer, answers)]
        shifted = [[tokenizer.bos_token_id, *target[:-1]] for target in targets]
        batch.answer, real = _pad(shifted, tokenizer.pad_token_id)
        batch.labels = _pad(targets, IGNORE)[0].masked_fill(~real, IGNORE)
    return batch


def transcript_tokens(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerFast
) -> tuple[Tensor, Tensor]:
    """Tokens of the `texts` of images, int `[I, Tt]`, and their mask, bool: `Batch.transcript`."""
    shown = [page_turn(tokenizer, tokens) for tokens in _tokens(tokenizer, texts)]
    return _pad(shown, tokenizer.pad_token_id)


def _tokens(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    """All texts in one call: one by one takes twice as long."""
    rows: list[list[int]] = tokenizer(list(texts), add_special_tokens=False).input_ids
    return rows


def _pad(rows: Sequence[Sequence[int]], value: int) -> tuple[Tensor, Tensor]:
    width = max(1, *(len(row) for row in rows)) if rows else 1
    padded = torch.full((len(rows), width), value, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[index, : len(row)] = True
    return padded, mask
