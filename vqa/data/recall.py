"""Sequences that hide a fact in text and ask for it at the end, to train long-range recall."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vqa.batch import IGNORE

THINGS = (
    "access code",
    "account number",
    "booking number",
    "door code",
    "file number",
    "invoice number",
    "locker number",
    "membership number",
    "order number",
    "parcel number",
    "PIN",
    "reference number",
    "room code",
    "secret number",
    "serial number",
    "ticket number",
)
OWNERS = (
    "",
    "",
    " of Anna",
    " of Mr. Berg",
    " of the archive",
    " of the blue car",
    " of the office",
    " of the second device",
    " of the visitor",
    " of Tom Hill",
    " for today",
    " for the lab",
)
FACTS = (
    "The {thing} is {number}. Remember it. {number} is the {thing}.",
    "Remember this: the {thing} is {number}.",
    "Note: {thing}: {number}.",
    "The {thing} is {number}. You will need the {thing} later.",
    "Please keep in mind that the {thing} is {number}; {number} it is.",
)
QUESTIONS = (
    "What is the {thing}? The {thing} is {number}.",
    "What was the {thing}? The {thing} is {number}.",
    "Question: what is the {thing}?\nAnswer: {number}.",
    "As said above, the {thing} is {number}.",
)
PASSKEY = (
    "The pass key is {number}. Remember it. {number} is the pass key.",
    "What is the pass key? The pass key is {number}.",
)
"""The usual passkey test (Mohtashami and Jaggi, arXiv 2305.16300); never among the training facts."""


@dataclass(frozen=True)
class Recall:
    """A text with a hidden fact: `prompt` ids up to the number asked for, and `answer`, its ids."""

    prompt: list[int]
    answer: list[int]


def hide(
    tokenizer: Any,
    filler: list[int],
    place: float,
    fact: str,
    question: str,
    number: str,
    thing: str = "",
) -> Recall:
    """Insert `fact` at the share `place` of `filler` and ask `question` after it."""
    encode: Callable[[str], list[int]] = lambda text: tokenizer(  # noqa: E731
        text, add_special_tokens=False
    )["input_ids"]
    before, after = question.format(thing=thing, number="\0").split("\0")
    start = round(place * len(filler))
    stated = encode(f"\n\n{fact.format(thing=thing, number=number)}\n\n")
    prompt = filler[:start] + stated + filler[start:] + encode(f"\n\n{before.rstrip()}")
    return Recall(prompt, encode(f" {number}{after}"))


class RecallSequences(Dataset[tuple[Tensor, Tensor]]):
    """`count` sequences `(ids, labels)` of about `length` tokens with one hidden fact each.

    Sequence i depends on `seed` and i alone. The fact stands outside the last `window` tokens;
    labels are the answer's tokens, IGNORE elsewhere.
    """

    def __init__(
        self, tokens: Tensor, tokenizer: Any, length: int, window: int, count: int, seed: int = 0
    ) -> None:
        self.tokens, self.tokenizer, self.count, self.seed = tokens, tokenizer, count, seed
        self.length, self.window = length, window

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        draw = random.Random(f"{self.seed} {index}")
        size = max(1, self.length - 64)  # room for fact and question
        start = draw.randrange(max(1, len(self.tokens) - size))
        filler = self.tokens[start : start + size].tolist()
        latest = max(0.05, 1 - (self.window + 32) / size)
        number = str(draw.randrange(10**4, 10 ** draw.choice((5, 5, 5, 6, 7))))
        thing = draw.choice(THINGS) + draw.choice(OWNERS)
        fact, question = draw.choice(FACTS), draw.choice(QUESTIONS)
        place = draw.uniform(0, latest)
        recall = hide(self.tokenizer, filler, place, fact, question, number, thing)
        ids = torch.tensor(recall.prompt + recall.answer)
        labels = torch.full_like(ids, IGNORE)
        labels[len(recall.prompt) :] = ids[len(recall.prompt) :]
        return ids, labels


class ConversionSequences(Dataset[tuple[Tensor, Tensor]]):
    """Text and recall sequences `(ids, labels)` in one order: of each index a share `recall` is a
    recall sequence, drawn from `seed` and the index alone."""

    def __init__(
        self, text: Dataset[Tensor], recalls: Dataset[Any], recall: float, seed: int = 0
    ) -> None:
        self.text, self.recalls, self.recall, self.seed = text, recalls, recall, seed

    def __len__(self) -> int:
        return len(self.text)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if random.Random(f"kind {self.seed} {index}").random() < self.recall:
            pair: tuple[Tensor, Tensor] = self.recalls[index]
            return pair
        ids = self.text[index]
        return ids, ids
