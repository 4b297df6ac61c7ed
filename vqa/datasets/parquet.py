"""A local copy of a data set of the Hugging Face hub: parquet files with the images inside.

Layout below `root`, where the files may also lie in `root` itself:

    data/{split}-*.parquet or data/{split}.parquet

Columns: image (bytes and path, as the hub stores images; bytes alone; or a path relative to
`root`), question, answers or answer (a string, a list of strings, or the list of objects with
"answer" that VQA v2 has there), and if present question_id, answer_type, question_type. Options
name other columns. A question without an id has the number of its row, from 0 over all files. In a
test split questions may be without answers. Images are unpacked into the cache folder the first
time. Metric: the option `metric`, a name in vqa.metrics. Needs the extra `datasets` (pyarrow).
"""

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from vqa.datasets import DataError, Example, _embedded, _tables
from vqa.datasets._metric import known_metric
from vqa.datasets._reading import Examples, Place

_FILE = re.compile(r"(?P<split>.+?)(-\d+(-of-\d+)?(-[0-9a-f]+)?)?\.parquet")
_AT_ONCE = {"images": 64, "text": 4096}  # rows read at a time, which are in memory together


class Dataset(Examples):
    """One split of a folder of parquet files."""

    def __init__(
        self,
        root: str | None,
        split: str,
        skip_bad: bool = False,
        *,
        image: str = "image",
        question: str = "question",
        answers: str | None = None,
        question_id: str | None = None,
        metric: str = "exact_match",
    ) -> None:
        self._metric = known_metric("parquet", metric)
        self._root = _folder(root)
        files = _files(self._root)
        self.splits = tuple(files)
        if split not in files:
            told = f"it has {', '.join(files)}" if files else "there are no parquet files"
            raise DataError(f"{root} has no data/{split}-*.parquet; {told}")
        self._split = split
        self._names = (image, question, answers, question_id)
        super().__init__(skip_bad)
        first = 0
        for file in files[split]:
            first += self._read(file, first)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """The chosen metric."""
        return self._metric(prediction, answers)

    def _read(self, file: str, first: int) -> int:
        """Adds the rows of one file, whose first is row `first` of the split; returns how many."""
        table = _open(file)
        columns = _tables.choose_columns(file, self._split, table.schema_arrow.names, *self._names)
        stat = os.stat(file)
        state = f"parquet {file} {stat.st_size} {stat.st_mtime_ns} {columns.image} {self._root}"
        count = table.metadata.num_rows
        paths = _embedded.extract(state, count, lambda: self._images(file, table, columns.image))

        def make(place: Place, row: dict[str, Any]) -> Example:
            number = int(place)
            return _tables.make_example(columns, first + number, paths[number], row)

        self.read(file, enumerate(_rows(file, table, columns.text, "text")), make)
        return count

    def _images(self, file: str, table: Any, column: str) -> Iterator[bytes | str | None]:
        for row in _rows(file, table, [column], "images"):
            content = _tables.content_of(row[column])
            yield os.path.join(self._root, content) if isinstance(content, str) else content


def _folder(root: str | None) -> str:
    if not root:
        raise DataError("parquet needs a root: the folder that holds data/{split}-*.parquet")
    if not os.path.isdir(root):
        raise DataError(f"{root} is not a folder; parquet needs one with data/{{split}}-*.parquet")
    return os.path.abspath(root)


def _files(folder: str) -> dict[str, list[str]]:
    """The files of each split in order, the usual splits first."""
    data = os.path.join(folder, "data")
    data = data if os.path.isdir(data) else folder
    found: dict[str, list[str]] = {}
    for name in sorted(os.listdir(data)):
        if match := _FILE.fullmatch(name):
            found.setdefault(match["split"], []).append(os.path.join(data, name))
    usual = [split for split in ("train", "validation", "val", "test") if split in found]
    return {split: found[split] for split in dict.fromkeys([*usual, *found])}


def _open(file: str) -> Any:
    arrow, parquet = _tables.library("pyarrow"), _tables.library("pyarrow.parquet")
    try:
        return parquet.ParquetFile(file)
    except (arrow.ArrowException, OSError) as error:
        raise _broken(file, error) from error


def _rows(file: str, table: Any, columns: list[str], what: str) -> Iterator[dict[str, Any]]:
    arrow = _tables.library("pyarrow")
    try:
        for batch in table.iter_batches(_AT_ONCE[what], columns=columns):
            yield from batch.to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise _broken(file, error) from error


def _broken(file: str, error: Exception) -> DataError:
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    return DataError(f"{file} is not a whole parquet file ({reason}); get a new copy")
