"""What `vqa evaluate` wrote, read again: predictions.jsonl or results.json."""

import json
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vqa.gc_pause import gc_paused

Row = dict[str, Any]
Rows = dict[int | str, Row]
"""By question id."""


class RunError(ValueError):
    """A run that cannot be used: the file, the line or value, and the remedy."""


def read(path: Path) -> dict[str, Row]:
    """The answers of a run by place ("FILE line 3"): of a folder, or of one of its files.

    Every row has its own `question_id` and an `answer`. Raises RunError, in one sentence.
    """
    file = _file(path)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RunError(f"{file} is not UTF-8 text ({error.reason})") from None
    except OSError as error:
        raise RunError(
            f"{file} cannot be read ({error.strerror}); give a folder that vqa evaluate wrote, its "
            "predictions.jsonl or results.json"
        ) from None
    with gc_paused():
        found = _objects(text, file) if file.suffix == ".json" else _lines(text, file)
        rows: dict[str, Row] = {}
        seen: dict[int | str, str] = {}
        for place, content in found:
            where = f"{file} {place}"
            rows[where] = row = _checked(content, where)
            earlier = seen.setdefault(row["question_id"], place)
            if earlier != place:
                raise RunError(
                    f"{where}: question_id {row['question_id']!r} is on {earlier} already; "
                    "evaluate into an empty folder"
                )
    if not rows:
        raise RunError(f"{file} holds no predictions; run vqa evaluate first")
    return rows


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    file = path / "predictions.jsonl"
    if not file.exists() and (path / "parts").is_dir():
        raise RunError(f"{path} is not answered to its end; run vqa evaluate again")
    return file


def _lines(text: str, file: Path) -> Iterator[tuple[str, Any]]:
    # Not splitlines(): an answer may hold a line separator that JSON leaves as it is.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"line {number}", _parsed(line, f"{file} line {number}")


def _objects(text: str, file: Path) -> Iterator[tuple[str, Any]]:
    rows = _parsed(text, str(file))
    if not isinstance(rows, list):
        raise RunError(
            f'{file} holds no array of {{"question_id": ..., "answer": ...}}; give the '
            "results.json that vqa evaluate wrote"
        )
    yield from ((f"row {place}", row) for place, row in enumerate(rows))


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{where} is not valid JSON ({error}); if vqa evaluate was interrupted, run it again"
        ) from None


def _checked(row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise RunError(f"{where} must be an object, not {reprlib.repr(row)}")
    identity, answer = row.get("question_id"), row.get("answer")
    if type(identity) not in (int, str):
        raise RunError(
            f"{where}: question_id must be an integer or a string, not {reprlib.repr(identity)}"
        )
    if not isinstance(answer, str):
        raise RunError(f"{where}: answer must be a string, not {reprlib.repr(answer)}")
    return row
