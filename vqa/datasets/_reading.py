"""What readers of official files share: a root, JSON, rows, images; a fault is one sentence.

A function that turns one row into an example raises DataError with the bare reason; `Examples.read`
adds the file and the row, and either raises or counts.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vqa.datasets import DataError, Example
from vqa.gc_pause import gc_paused

Place = int | str


class Root:
    """The folder a data set lies in; what is missing is named together with where to get it.

    `page` is the name of the project page, as in "download it from {page}".
    """

    def __init__(self, root: str | None, name: str, page: str) -> None:
        if not root:
            raise DataError(
                f"{name} needs a root: the folder with its files, downloaded from {page}"
            )
        self.folder = os.path.abspath(root)
        self.page = page
        if not os.path.isdir(self.folder):
            raise DataError(f"{root} is not a folder; {name} needs one with the files from {page}")

    def file(self, *names: str) -> str:
        """The first of these paths that exists, absolute; they are relative to the root."""
        for name in names:
            path = os.path.join(self.folder, name)
            if os.path.isfile(path):
                return path
        raise DataError(self._missing("file", names))

    def images(self, *folders: str) -> "Images":
        """The image folders of these that exist."""
        found = [os.path.normpath(os.path.join(self.folder, name)) for name in folders]
        present = [folder for folder in found if os.path.isdir(folder)]
        if not present:
            raise DataError(self._missing("image folder", folders))
        return Images(present)

    def _missing(self, noun: str, names: tuple[str, ...]) -> str:
        other = f" (nor {', '.join(names[1:])})" if len(names) > 1 else ""
        return f"no {noun} {names[0]}{other} in {self.folder}; download it from {self.page}"


class Images:
    """Image files of some folders, each listed once: no look at the disk for every question."""

    def __init__(self, folders: list[str]) -> None:
        self._folders = folders
        self._listed: dict[str, set[str]] = {}
        self._paths: dict[str, str] = {}

    def path(self, *names: str) -> str:
        """The absolute path of the first of these names that is there; "a/b.png" is in "a".

        Raises DataError with the bare reason.
        """
        for name in names:
            path = self._paths.get(name) or self._find(name)
            if path:
                self._paths[name] = path
                return path
        raise DataError(f"image {' or '.join(names)} is not in {' or '.join(self._folders)}")

    def _find(self, name: str) -> str | None:
        inside, file = os.path.split(name)
        if not file or os.path.isabs(name) or ".." in name.split("/"):
            raise DataError(f"image {name!r} is not a path inside {self._folders[0]}")
        for folder in self._folders:
            within = os.path.join(folder, inside) if inside else folder
            if file in self._listing(within):
                return os.path.join(within, file)
        return None

    def _listing(self, folder: str) -> set[str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = set(os.listdir(folder))
            except (FileNotFoundError, NotADirectoryError):
                self._listed[folder] = set()
            except OSError as error:
                raise DataError(f"{folder} cannot be listed ({error.strerror})") from error
        return self._listed[folder]


class Examples:
    """The examples of one split, read row by row; ids are unique over all `read` calls."""

    def __init__(self, skip_bad: bool = False) -> None:
        self.skipped: list[str] = []
        self._skip_bad = skip_bad
        self._examples: list[Example] = []
        self._places: dict[int | str, Place] = {}

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        return self._examples[index]

    def read(
        self,
        file: str,
        rows: Iterable[tuple[Place, Any]],
        make: Callable[[Place, Any], Example | None],
        noun: str = "row",
    ) -> None:
        """Adds what `make(place, row)` returns; None is a row of no interest here, and not bad.

        `rows` is enumerate(list), or the items of an object. Raises DataError at the first bad row
        unless skip_bad, and when a file has no good one.
        """
        before, bad = len(self._examples), len(self.skipped)
        with gc_paused():
            for place, row in rows:
                try:
                    example = make(place, row)
                    if example is not None:
                        self._add(example, place, noun)
                except DataError as reason:
                    self.reject(f"{file}: {noun} {place}: {reason}")
        if len(self._examples) == before:
            count = len(self.skipped) - bad
            first = f"; the first is {self.skipped[bad]}" if count else ""
            raise DataError(f"{file} has no good {noun} ({count} bad {noun}s{first})")

    def reject(self, bad: str) -> None:
        """Counts a bad row in `skipped`, or raises DataError; `bad` names file, row and reason."""
        if not self._skip_bad:
            raise DataError(
                f"{bad} (use --data.skip_bad true or --skip-bad to skip and count bad rows)"
            )
        self.skipped.append(bad)

    def _add(self, example: Example, place: Place, noun: str) -> None:
        question_id = example.question_id
        if question_id in self._places:
            raise DataError(
                f"question_id {question_id!r} repeats {noun} {self._places[question_id]}"
            )
        self._places[question_id] = place
        self._examples.append(example)


def known_split(name: str, split: str, splits: Iterable[str]) -> str:
    """The split itself. Raises DataError if the data set `name` has no such split."""
    if split not in (splits := tuple(splits)):
        raise DataError(f"{name} has no split {split!r}; choose one of {', '.join(splits)}")
    return split


def check_split(row: Mapping[str, Any], field: str, split: str) -> None:
    """Raises DataError for a row that names another split than that of its file."""
    if row.get(field, split) != split:
        raise DataError(f"{field} is {row[field]!r} in a file of split {split!r}")


def known_option(name: str, option: str, value: object, values: Iterable[str]) -> str:
    """The value of an option that is one of a few words. Raises DataError at another."""
    if not isinstance(value, str) or value not in (values := tuple(values)):
        raise DataError(f"{option} of {name} cannot be {value!r}; choose one of {list(values)}")
    return value


def load_object(file: str) -> dict[str, Any]:
    """The JSON object a file holds. Raises DataError with line and column where it is broken."""
    data = _load(file)
    if not isinstance(data, dict):
        raise DataError(f"{file} holds a JSON {_kind(data)}, not an object; {_AGAIN}")
    return data


def load_list(file: str) -> list[Any]:
    """The JSON list a file holds. Raises DataError with line and column where it is broken."""
    data = _load(file)
    if not isinstance(data, list):
        raise DataError(f"{file} holds a JSON {_kind(data)}, not a list; {_AGAIN}")
    return data


def listed(file: str, data: Mapping[str, Any], key: str) -> list[Any]:
    """The list that an official file holds under a key."""
    if not isinstance(data.get(key), list):
        told = f"is a JSON {_kind(data[key])}" if key in data else "is missing"
        raise DataError(f"{file}: {key!r} {told} and must be a list of rows; {_AGAIN}")
    return data[key]


def a_row(row: Any, *keys: str) -> dict[str, Any]:
    """The row, an object that has these keys. Raises DataError with the bare reason, as all below.

    A missing key is a bad row, not a default.
    """
    if not isinstance(row, dict):
        shown = " ".join(str(row)[:80].split())
        raise DataError(f"expected an object, got a {_kind(row)}: {shown}")
    for key in keys:
        if key not in row:
            raise DataError(f"the key {key!r} is missing")
    return row


def an_id(row: Mapping[str, Any], key: str) -> int | str:
    """An integer or a non-empty string."""
    value = row[key]
    if type(value) not in (int, str) or value == "":
        raise DataError(f"{key} must be an integer or a non-empty string, not {str(value)[:80]!r}")
    return value


def a_number(row: Mapping[str, Any], key: str) -> int:
    """A whole number of at least 0."""
    value = row[key]
    if type(value) is not int or value < 0:
        raise DataError(f"{key} must be a whole number, not {str(value)[:80]!r}")
    return value


def a_text(row: Mapping[str, Any], key: str) -> str:
    """A string that is not blank, as it stands."""
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{key} must be a non-empty string, not {str(value)[:80]!r}")
    return value


def texts(row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of strings, not all of them blank: some annotators left a field empty."""
    if not isinstance(row[key], list):
        raise DataError(f"{key} must be a list of strings, not {row[key]!r:.80}")
    return _kept(row[key], key)


def answers_of(row: Mapping[str, Any], key: str = "answers") -> tuple[str, ...]:
    """Every annotator's answer, in order, of a list of {"answer": ...}."""
    try:
        return _kept([value["answer"] for value in row[key]], key)
    except (TypeError, KeyError):
        told = f'{key} must be a list of objects with "answer", not {row[key]!r:.80}'
        raise DataError(told) from None


def _kept(values: list[Any], key: str) -> tuple[str, ...]:
    try:
        # Millions of answers are a few thousand different ones: each is kept once.
        kept = tuple(map(sys.intern, values))
    except TypeError:
        raise DataError(f"{key} must hold strings only, not {values!r:.80}") from None
    if not any(map(str.strip, kept)):
        raise DataError(f"{key} has nothing in it: {values!r:.80}")
    return kept


_AGAIN = "download it again if it was cut or changed"


def _load(file: str) -> Any:
    try:
        with open(file, encoding="utf-8-sig") as stream:
            text = stream.read()
        with gc_paused():
            return json.loads(text)
    except OSError as error:
        raise DataError(f"{file} cannot be opened ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not valid JSON ({error}); {_AGAIN}") from error


def _kind(value: object) -> str:
    """What JSON calls it."""
    names = {dict: "object", list: "list", str: "string", bool: "truth value", type(None): "null"}
    return names.get(type(value), "number")
