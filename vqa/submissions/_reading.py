"""What the checks of submissions share: JSON, ids and texts; a fault is one sentence."""

import json
import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vqa.submissions import SubmissionError

Identity = int | str

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = 80


def parse(text: str, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The JSON of a submission; `pairs` makes its objects. Raises SubmissionError."""
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise SubmissionError(f"the file is not valid JSON ({error}); write it again") from None


def shown(value: Any) -> str:
    """A value in a sentence, cut where it is long or deep."""
    return _SHORT.repr(value)


def kind(value: Any) -> str:
    """What JSON calls it."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a truth value"}
    return "null" if value is None else names.get(type(value), "a number")


def text_fault(value: Any) -> str | None:
    """Why a value is no text that can be sent."""
    if type(value) is not str:
        return f"must be a string, not {shown(value)}"
    if not value.isascii() and any("\ud800" <= mark <= "\udfff" for mark in value):
        return f"{shown(value)} holds half a character (a lone surrogate); write the answer again"
    return None


def choice_fault(value: str, choices: Iterable[str]) -> str | None:
    """Why an answer is none of the choices."""
    if value in choices:
        return None
    return f"{shown(value)} is none of the choices: {', '.join(choices)}"


def unknown(key: str, value: Any, asked: Mapping[Identity, Any]) -> tuple[str, Identity | None]:
    """Why an id is none of the data set, and the id that was meant where that is plain."""
    if type(value) not in (int, str):
        expected = "a string" if isinstance(next(iter(asked)), str) else "an integer"
        return f"{key} must be {expected}, not {shown(value)}; write it as the data set does", None
    for meant in (_number(value), str(value)):
        if meant in asked:
            told = f"{key} {shown(value)} is {kind(value)} and must be {kind(meant)}"
            return f"{told}, as in the data set", meant
    return f"{key} {shown(value)} is not in the data set; remove it, or check another split", None


def missing(key: str, identity: Identity) -> str:
    """A question without an answer."""
    return f"{key} {identity!r} is missing; the server wants every question of the split answered"


def _number(value: Identity) -> int | None:
    try:
        return int(value)
    except ValueError:
        return None
