"""Sequences that hide a fact in text and ask for it at the end, to train long-range recall."""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

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
"""The usual passkey test (Mohtashami and Jaggi, arXiv 2305.16300), never a fact of training."""


RESERVED = 128
"""Tokens of a sequence for facts and questions."""
MARGIN = 16
"""Tokens between the window and the latest fact."""


class Fact(NamedTuple):
    """A sentence that states `number`, where it stands (a share of the text) and the question."""

    place: float
    fact: str
    question: str
    number: str


def hide(tokenizer: Any, filler: list[int], facts: Sequence[Fact]) -> tuple[list[int], list[int]]:
    """Token ids of the text with its facts and questions, and labels: the numbers asked for."""

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    ids, start = [], 0
    for fact in sorted(facts):
        end = round(fact.place * len(filler))
        ids += filler[start:end] + encode(f"\n\n{fact.fact}\n\n")
        start = end
    ids += filler[start:]
    labels = [IGNORE] * len(ids)
    for fact in facts:
        before, after = fact.question.split("{number}")
        asked, answer = encode(f"\n\n{before.rstrip()}"), encode(f" {fact.number}{after}")
        ids += asked + answer
        labels += [IGNORE] * len(asked) + answer
    return ids, labels


class RecallSequences(Dataset[tuple[Tensor, Tensor]]):
    """`count` sequences `(ids, labels)` of up to `length` tokens with one or two hidden facts.

    Sequence i depends on `seed` and i alone. Facts stand outside the last `window` tokens of text;
    labels are the answers' tokens, IGNORE elsewhere. Where facts and questions need more than
    128 tokens the text is shortened, but not below the window.
    Raises ValueError if `length` leaves no text outside the window.
    """

    def __init__(
        self, tokens: Tensor, tokenizer: Any, length: int, window: int, count: int, seed: int = 0
    ) -> None:
        if length < window + MARGIN + RESERVED:
            raise ValueError(
                f"recall needs sequences of {window + MARGIN + RESERVED} tokens or more with a "
                f"window of {window}, not {length}"
            )
        self.tokens, self.tokenizer, self.count, self.seed = tokens, tokenizer, count, seed
        self.length, self.window = length, window

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        draw = random.Random(f"{self.seed} {index}")
        longest = self.length - RESERVED
        size = draw.randint(min(longest, self.window + 128), longest)
        start = draw.randrange(max(1, len(self.tokens) - size))
        latest = 1 - (self.window + MARGIN) / size
        facts = [
            self._fact(draw, thing, draw.uniform(0, latest))
            for thing in draw.sample(THINGS, draw.choice((1, 1, 2)))
        ]
        filler = self.tokens[start : start + size].tolist()
        ids, labels = hide(self.tokenizer, filler, facts)
        excess = min(len(ids) - self.length, size - self.window - MARGIN)
        if excess > 0:  # the text begins later; facts stay as far from its end if they can
            rest = size - excess
            facts = [
                fact._replace(place=max(0.0, fact.place * size - excess) / rest) for fact in facts
            ]
            ids, labels = hide(self.tokenizer, filler[excess:], facts)
        return torch.tensor(ids), torch.tensor(labels)

    @staticmethod
    def _fact(draw: random.Random, thing: str, place: float) -> Fact:
        thing += draw.choice(OWNERS)
        number = str(draw.randrange(10**4, 10 ** draw.choice((5, 5, 5, 6, 7))))
        fact = draw.choice(FACTS).format(thing=thing, number=number)
        return Fact(place, fact, draw.choice(QUESTIONS).replace("{thing}", thing), number)


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
