"""RecallSequences: facts hidden far from their questions, and the share of them."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vqa import tokenizer as tokenizers
from vqa.batch import IGNORE
from vqa.data.recall import (
    FACTS,
    PASSKEY,
    QUESTIONS,
    ConversionSequences,
    Fact,
    RecallSequences,
    hide,
)

WINDOW, LENGTH, COUNT = 32, 400, 60
TEXT = "zebra" + " zebra" * 3000
"""Filler without digits or capitals: whatever else is in a sequence was put there."""


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tokenizers.train([*FACTS, *QUESTIONS, *PASSKEY, TEXT[:500], "number code today"], 500)


@pytest.fixture(scope="module")
def recalls(tokenizer: Any) -> RecallSequences:
    return sequences(tokenizer)


def sequences(tokenizer: Any, length: int = LENGTH, seed: int = 3) -> RecallSequences:
    tokens = torch.tensor(tokenizer(TEXT, add_special_tokens=False)["input_ids"])
    return RecallSequences(tokens, tokenizer, length, WINDOW, 10**6, seed)


def split(tokenizer: Any, ids: Tensor) -> tuple[list[int], int]:
    """Places of the tokens of the filler, and where the first question begins."""
    zebra = tokenizer(" zebra", add_special_tokens=False)["input_ids"]
    filler = [place for place, token in enumerate(ids.tolist()) if token in set(zebra)]
    return filler, filler[-1] + 1


def numbers(text: str) -> list[str]:
    return "".join(c if c.isdigit() else " " for c in text).split()


def test_recall_sequences_depend_on_seed_and_index_alone(
    tokenizer: Any, recalls: RecallSequences
) -> None:
    again, other = sequences(tokenizer), sequences(tokenizer, seed=4)
    for index in (7, 0, 10**6 - 1):
        for one, two in zip(recalls[index], again[index], strict=True):
            assert one.equal(two)
    assert not any(recalls[i][0].equal(other[i][0]) for i in range(10))
    assert len({tuple(recalls[i][0].tolist()) for i in range(20)}) == 20
    assert len(recalls) == 10**6


def test_recall_labels_decode_to_the_hidden_numbers(
    tokenizer: Any, recalls: RecallSequences
) -> None:
    counts = set()
    for index in range(COUNT):
        ids, labels = recalls[index]
        assert ids.shape == labels.shape and ids.dtype == labels.dtype == torch.int64
        labelled = labels != IGNORE
        assert labels[labelled].equal(ids[labelled])
        answers = tokenizer.decode(labels[labelled].tolist())
        assert set(answers) <= set("0123456789. ")
        _, question = split(tokenizer, ids)
        hidden = numbers(tokenizer.decode(ids[:question].tolist()))
        assert set(numbers(answers)) == set(hidden)
        assert not labelled[:question].any()
        counts.add(len(numbers(answers)))
    assert counts == {1, 2}


def test_recall_facts_stand_outside_the_window(tokenizer: Any, recalls: RecallSequences) -> None:
    digits = {tokenizer(f" {n}", add_special_tokens=False)["input_ids"][-1] for n in range(10)}
    digits |= {tokenizer(f"0{n}", add_special_tokens=False)["input_ids"][-1] for n in range(10)}
    nearest, places = [], []
    for index in range(COUNT):
        ids, _ = recalls[index]
        _, question = split(tokenizer, ids)
        fact = [place for place in range(question) if int(ids[place]) in digits]
        nearest.append(question - max(fact))
        places.append(min(fact) / question)
    assert min(nearest) > WINDOW
    assert min(nearest) < WINDOW + 60  # as near as they may, and everywhere before
    assert min(places) < 0.25


@pytest.mark.parametrize("length", (WINDOW + 144, LENGTH, 1000))
def test_recall_sequences_are_no_longer_than_asked_for(tokenizer: Any, length: int) -> None:
    recalls = sequences(tokenizer, length)
    lengths = [len(recalls[index][0]) for index in range(COUNT)]
    if length > WINDOW + 144:  # else facts, questions and window alone may need more
        assert max(lengths) <= length
    assert max(lengths) > 0.8 * length
    for index in range(COUNT):
        _, question = split(tokenizer, recalls[index][0])
        text = tokenizer.decode(recalls[index][0][: question - WINDOW].tolist())
        answers = recalls[index][1]
        assert set(numbers(tokenizer.decode(answers[answers != IGNORE].tolist()))) == set(
            numbers(text)
        )


def test_recall_refuses_lengths_inside_the_window(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="sequences of 176 tokens or more with a window of 32"):
        sequences(tokenizer, WINDOW + 143)


def test_recall_never_trains_on_the_passkey_test(tokenizer: Any, recalls: RecallSequences) -> None:
    for template in (*FACTS, *QUESTIONS):
        assert "pass" not in template.lower()
    for index in range(300):
        assert "pass" not in tokenizer.decode(recalls[index][0].tolist()).lower()


def test_hide_puts_facts_at_their_places_and_labels_answers(tokenizer: Any) -> None:
    filler = tokenizer(" zebra" * 10, add_special_tokens=False)["input_ids"]
    facts = [
        Fact(0.8, "The PIN is 77777.", "What is the PIN? The PIN is {number}.", "77777"),
        Fact(0.2, "Note: door code: 12345.", "Question: door code?\nAnswer: {number}.", "12345"),
    ]
    ids, labels = hide(tokenizer, filler, facts)
    text = tokenizer.decode(ids)
    before, between, after = text.split("12345")[0], text.split("12345")[1], text.split("77777")[1]
    assert before.count("zebra") == 2 and between.split("77777")[0].count("zebra") == 6
    assert after.count("zebra") == 2
    assert text.index("What is the PIN?") < text.index("Question: door code?")
    answers = tokenizer.decode([label for label in labels if label != IGNORE])
    assert answers.replace(" ", "") == "77777.12345."


class Constant(Dataset[Any]):
    def __init__(self, value: Any) -> None:
        self.value = value

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> Any:
        return self.value


@pytest.mark.parametrize("share", (0.0, 0.25, 1.0))
def test_conversion_sequences_mix_recall_by_its_share(share: float) -> None:
    text, labels = torch.tensor([1, 2, 3]), torch.tensor([IGNORE, IGNORE, 9])
    mixed = ConversionSequences(Constant(text), Constant((text, labels)), share, seed=1)
    again = ConversionSequences(Constant(text), Constant((text, labels)), share, seed=1)
    kinds = [bool(mixed[index][1].equal(labels)) for index in range(1000)]
    assert kinds == [bool(again[index][1].equal(labels)) for index in range(1000)]
    assert abs(sum(kinds) / 1000 - share) < 0.04
    assert len(mixed) == 1000
    if share == 0:
        assert mixed[5][0].equal(text) and mixed[5][1].equal(text)
