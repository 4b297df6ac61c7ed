"""Wordings of questions, one YAML file a kind: how people ask the same thing.

A file has `train` and, by another hand and never trained on, `test` wordings, with slots in braces
such as {key}; `original` are the templates of data sets, by which a question is recognised.
"""

import random
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

SPLITS = ("train", "test")
SLOT = re.compile(r"\{(\w+)\}")
SLOT_PATTERNS = {
    "thing": r"(?:an?|any|some|the) [^?]+",
    "who": r"(?:an?|the) [^?]+",
    "group": r"(?:apple|melon|pear|pepper|potato|tomato)",
    "page": r"(?:receipt|invoice|bill|quotation|delivery order|statement|chart|form|table|window"
    r"|page|list)",
    "noun": r"(?:bar|point|slice|row|item)",
    "extreme": r"(?:highest|lowest|largest)",
    "things": r"(?:[a-z ]+)",
}
"""What slots can stand for; any other may be any text."""
ANYTHING = r"[^?]+"


class Wordings(NamedTuple):
    """The wordings of one kind of question, and the templates that data sets ask it in."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    original: tuple[str, ...]


@cache
def wordings_by_kind() -> Mapping[str, Wordings]:
    """The wordings of every kind, by its name: the file's."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        found[path.stem] = Wordings(*(tuple(content.get(n, ())) for n in Wordings._fields))
    return found


def recognise(question: str) -> tuple[str, dict[str, str]] | None:
    """The kind of a data set's own `question` and what its slots stand for; None if unknown.

    Of several templates that fit, the one with the most words of its own.
    """
    for _, kind, pattern in _patterns():
        match = pattern.fullmatch(question.strip())
        if match:
            return kind, {name: text.strip() for name, text in match.groupdict().items()}
    return None


def reword(question: str, draw: random.Random, split: str = "train") -> str:
    """Another wording of a data set's own `question`, drawn; of an unknown kind the question.

    Raises ValueError for a `split` that is neither train nor test.
    """
    if split not in SPLITS:
        raise ValueError(f"wordings are {' or '.join(SPLITS)}, not {split!r}")
    known = recognise(question)
    if known is None:
        return question
    kind, slots = known
    template = draw.choice(getattr(wordings_by_kind()[kind], split))
    return SLOT.sub(lambda slot: slots[slot[1]], template)


@cache
def _patterns() -> list[tuple[int, str, re.Pattern[str]]]:
    """Templates as patterns, those with the most letters of their own first."""
    found = [
        (-len(SLOT.sub("", template)), kind, _pattern(template))
        for kind, wordings in wordings_by_kind().items()
        for template in wordings.original
    ]
    return sorted(found, key=lambda entry: entry[:2])


def _pattern(template: str) -> re.Pattern[str]:
    literals = [re.escape(text) for text in SLOT.split(template)[::2]]
    slots = [f"(?P<{name}>{SLOT_PATTERNS.get(name, ANYTHING)})" for name in SLOT.findall(template)]
    pairs = zip(literals, [*slots, ""], strict=True)
    return re.compile("".join(literal + slot for literal, slot in pairs), re.IGNORECASE)
