"""Your own questions as a table: one CSV file, or a folder with train.csv, val.csv, test.csv.

The first line names the columns, in any order; separated by commas, UTF-8:

    image           path relative to the folder of the file
    question
    answer          one accepted answer, or
    answers         several, separated by |
    question_id     optional, unique in the split; the number of the row's first line if not given
    split           optional, train, val, test, ...: rows of other splits are left out
    answer_type, question_type      optional groups

One file for all splits needs the column split. Other columns are ignored. Metric: exact match.
"""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vqa.datasets import DataError, Example
from vqa.datasets._reading import Examples, Images, Place, a_row, a_text
from vqa.metrics import exact_match


class Dataset(Examples):
    """One split of a table; `root` is the CSV file or the folder of `{split}.csv`."""

    def __init__(self, root: str | None, split: str, skip_bad: bool = False) -> None:
        self._split = split
        file = _file(root, split)
        rows = list(_rows(file))
        self._folder = os.path.dirname(file)
        self._images = Images([self._folder])
        self.splits = _splits(root, file, rows)
        if split not in self.splits:
            raise DataError(f"{file} has no row of split {split!r}; it has {_told(self.splits)}")
        super().__init__(skip_bad)
        self.read(file, rows, self._example, "line")

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """Exact match with any accepted answer."""
        return exact_match(prediction, answers)

    def _example(self, line: Place, row: Any) -> Example | None:
        if isinstance(row, DataError):
            raise row
        if "split" in row and a_text(row, "split").strip() != self._split:
            return None
        row = a_row(row, "image", "question")
        return Example(
            a_text(row, "question_id") if "question_id" in row else line,
            self._images.path(os.path.normpath(a_text(row, "image"))),
            a_text(row, "question"),
            _answers(row),
            row.get("answer_type", "").strip() or None,
            row.get("question_type", "").strip() or None,
        )


def _file(root: str | None, split: str) -> str:
    """The absolute path of the table."""
    if not root:
        raise DataError("csv needs a root: a CSV file, or the folder that holds {split}.csv")
    path = os.path.abspath(root)
    if os.path.isfile(path):
        return path
    file = os.path.join(path, f"{split}.csv")
    if not os.path.isfile(file):
        found = (
            sorted(n for n in os.listdir(path) if n.endswith(".csv")) if os.path.isdir(path) else []
        )
        told = f"the folder has {', '.join(found)}" if found else "no CSV file is there"
        raise DataError(f"{file} does not exist ({told}); pass a CSV file or a folder with it")
    return file


def _splits(root: str | None, file: str, rows: Sequence[tuple[Place, Any]]) -> tuple[str, ...]:
    """Of a folder the names of its files, of one file the values in its column split."""
    if root and os.path.isdir(root):
        names = (os.path.splitext(name) for name in os.listdir(root))
        found = {stem for stem, extension in names if extension == ".csv"}
    else:
        read = [row for _, row in rows if isinstance(row, dict)]
        if read and "split" not in read[0]:
            raise DataError(
                f"{file}:1: there is no column split among {_told(read[0])}; add it, or pass a "
                "folder with {train,val,test}.csv"
            )
        found = {row["split"].strip() for row in read if row["split"].strip()}
    usual = [name for name in ("train", "val", "test") if name in found]
    return tuple(usual + sorted(found - set(usual)))


def _rows(file: str) -> Iterator[tuple[Place, dict[str, str] | DataError]]:
    """(number of the row's first line, its columns), or what is wrong with the row."""
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = _header(file, next(reader, []))
            line = reader.line_num + 1
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield line, _row(header, cells)
                line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{file}:{reader.line_num}: not valid CSV ({error}); quote it anew"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from error


def _header(file: str, cells: Sequence[str]) -> list[str]:
    """The names of the columns. Raises DataError where one is missing or stands twice."""
    header = [cell.strip() for cell in cells]
    told = f"the header is {_told(header) or 'empty'}, separated by commas"
    for name in ("image", "question"):
        if name not in header:
            raise DataError(f"{file}:1: there is no column {name!r}; {told}")
    for name in header:
        if name and header.count(name) > 1:
            raise DataError(f"{file}:1: the column {name!r} stands twice; {told}")
    if ("answer" in header) == ("answers" in header):
        raise DataError(f"{file}:1: give either a column answer or a column answers; {told}")
    return header


def _row(header: Sequence[str], cells: Sequence[str]) -> dict[str, str] | DataError:
    if len(cells) != len(header):
        return DataError(
            f"{len(cells)} cells under {len(header)} columns ({_told(header)}); quote cells that "
            "hold commas"
        )
    return dict(zip(header, cells, strict=True))


def _answers(row: Mapping[str, str]) -> tuple[str, ...]:
    if "answer" in row:
        return (a_text(row, "answer"),)
    answers = tuple(answer.strip() for answer in a_text(row, "answers").split("|"))
    if not all(answers):
        raise DataError(f"answers must be non-empty between |, not {row['answers'][:80]!r}")
    return answers


def _told(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(names)
