"""Options of a data set as a command line gives them: NAME=VALUE, as often as needed."""

from collections.abc import Sequence
from json import loads
from typing import Any

_COMMANDS = ("name", "root", "split", "skip_bad")


def parse_options(texts: Sequence[str] | None) -> dict[str, Any]:
    """["size=512"] -> {"size": 512}; a value that is no JSON is a word. Raises ValueError."""
    return dict(map(_pair, texts or []))


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"--option {text!r} is no NAME=VALUE, such as size=512")
    if name in _COMMANDS:
        raise ValueError(f"--option {text!r} is none of the data set; the command itself has it")
    try:
        return name, loads(value)
    except ValueError:
        return name, value
