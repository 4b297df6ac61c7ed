"""Any data set that the `datasets` library of Hugging Face opens, by its name.

`root` is what load_dataset takes: a name on the hub such as "flaviagiammarino/vqa-rad", or a local
folder; also a folder that save_to_disk has written. `config` is a configuration of the data set and
`revision` a version. Columns, answers and ids as in parquet; what the library knows to be one of a
list of labels becomes that label's name. Images are unpacked into the cache folder the first time.
Metric: the option `metric`, a name in vqa.metrics. Needs the extra `datasets`.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from vqa.datasets import DataError, Example, _embedded, _tables
from vqa.datasets._metric import known_metric
from vqa.datasets._reading import Examples, Place

_SAVED = ("dataset_dict.json", "state.json")


class Dataset(Examples):
    """One split of a data set that load_dataset or load_from_disk opens."""

    def __init__(
        self,
        root: str | None,
        split: str,
        skip_bad: bool = False,
        *,
        config: str | None = None,
        revision: str | None = None,
        image: str = "image",
        question: str = "question",
        answers: str | None = None,
        question_id: str | None = None,
        metric: str = "exact_match",
    ) -> None:
        if not root:
            raise DataError(
                "huggingface needs a root: the data set's name on the hub, or a local folder"
            )
        self._metric = known_metric("huggingface", metric)
        table, self.splits = _load(root, split, config, revision)
        names = (image, question, answers, question_id)
        columns = _tables.choose_columns(root, split, table.column_names, *names)
        folder = os.path.abspath(root)
        pictures = _undecoded(table, columns.image)
        paths = _embedded.extract(
            f"huggingface {folder} {table._fingerprint} {columns.image}",
            len(table),
            lambda: _images(pictures, columns.image, folder),
        )
        labels = _labels(table, columns.text)

        def make(place: Place, row: dict[str, Any]) -> Example:
            for column, names in labels.items():
                if row[column] is not None:
                    row[column] = names[row[column]]
            return _tables.make_example(columns, int(place), paths[int(place)], row)

        super().__init__(skip_bad)
        rows = enumerate(table.select_columns(columns.text))
        self.read(f"{root} {split}", rows, make)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """The chosen metric."""
        return self._metric(prediction, answers)


def _load(root: str, split: str, config: str | None, revision: str | None) -> tuple[Any, Any]:
    """The table of one split, and the names of all."""
    library = _tables.library("datasets")
    try:
        if any(os.path.isfile(os.path.join(root, file)) for file in _SAVED):
            found = library.load_from_disk(root)
            splits = tuple(found) if isinstance(found, dict) else (str(found.split or split),)
        else:
            splits = tuple(library.get_dataset_split_names(root, config, revision=revision))
            found = None
        if split not in splits:
            raise DataError(f"{root} has no split {split!r}; choose one of {', '.join(splits)}")
        if found is None:
            found = library.load_dataset(root, config, split=split, revision=revision)
        return found[split] if isinstance(found, dict) else found, splits
    except DataError:
        raise
    except Exception as error:  # of the network, of the hub, of any file format
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise DataError(
            f"the data set {root} cannot be opened ({reason}); check its name and the connection, "
            "or pass a local folder"
        ) from error


def _undecoded(table: Any, column: str) -> Any:
    """The table with the files of its images, not their pixels."""
    library = _tables.library("datasets")
    if isinstance(table.features[column], library.Image):
        table = table.cast_column(column, library.Image(decode=False))
    return table.select_columns([column])


def _images(table: Any, column: str, folder: str) -> Iterator[bytes | str | None]:
    for row in table:
        content = _tables.content_of(row[column])
        yield os.path.join(folder, content) if isinstance(content, str) else content


def _labels(table: Any, columns: Sequence[str]) -> dict[str, list[str]]:
    """The columns that hold numbers of labels, and the labels."""
    library = _tables.library("datasets")
    kinds = {column: table.features[column] for column in columns}
    return {c: kind.names for c, kind in kinds.items() if isinstance(kind, library.ClassLabel)}
