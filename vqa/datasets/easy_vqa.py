"""easy-VQA: 64 x 64 images of one shape, 48,248 questions, 13 answers.

Source: https://github.com/vzhou842/easy-VQA (MIT); `pip install easy-vqa` installs the data too.
Layout below `root`, which is the `data` folder of that package:

    {train,test}/questions.json      [[question, answer, image id], ...]
    {train,test}/images/{id}.png     0.png, 1.png, ...
    answers.txt                      one answer a line; not needed to read the questions

The authors publish train and test only. `val` is every 20th training image (image id % 20 == 0)
with all its questions, `train` the other training images, `trainval` both. `test` is the official
test split. A question's id is its index in the official file.
"""

import importlib.util
import json
import os
from collections.abc import Sequence
from typing import Any

from vqa.datasets import DataError, Example
from vqa.datasets._reading import Examples, Place, known_split
from vqa.metrics import exact_match

_FOLDERS = {"train": "train", "val": "train", "trainval": "train", "test": "test"}
_HOLD_OUT = 20

ANSWERS = {
    "yes/no": ("yes", "no"),
    "shape": ("circle", "rectangle", "triangle"),
    "color": ("red", "green", "blue", "black", "gray", "teal", "brown", "yellow"),
}
_ANSWER_TYPES = {answer: kind for kind, answers in ANSWERS.items() for answer in answers}


class Dataset(Examples):
    """One split of easy-VQA; without `root`, the data of the installed easy-vqa package."""

    splits = tuple(_FOLDERS)

    def __init__(self, root: str | None, split: str, skip_bad: bool = False) -> None:
        super().__init__(skip_bad)
        self._split = known_split("easy_vqa", split, self.splits)
        folder = os.path.join(os.path.abspath(root or _package_data()), _FOLDERS[split])
        file = os.path.join(folder, "questions.json")
        self._folder = os.path.join(folder, "images")
        self._present = _listing(self._folder)
        self.read(file, enumerate(_rows(file)), self._example)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """Exact match: easy-VQA is a choice of one word."""
        return exact_match(prediction, answers)

    def _example(self, place: Place, row: Any) -> Example | None:
        if not (isinstance(row, list) and [type(x) for x in row] == [str, str, int]):
            raise DataError(f"expected [question, answer, image id], got {str(row)[:80]}")
        question, answer, image = row
        if not question.strip() or not answer.strip():
            raise DataError(f"empty {'answer' if question.strip() else 'question'}")
        path = os.path.join(self._folder, f"{image}.png")
        if f"{image}.png" not in self._present:
            raise DataError(f"image {path} does not exist")
        if not _in_split(image, self._split):
            return None
        return Example(place, path, question, (answer,), _ANSWER_TYPES.get(answer))


def _package_data() -> str:
    """The data folder of the installed package, found without importing the package."""
    spec = importlib.util.find_spec("easy_vqa")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the easy-VQA data is not installed: pip install easy-vqa, or pass a root")
    return os.path.join(spec.submodule_search_locations[0], "data")


def _rows(file: str) -> list[Any]:
    try:
        with open(file, encoding="utf-8") as stream:
            rows = json.load(stream)
    except OSError as error:
        raise DataError(
            f"{file} cannot be opened ({error.strerror}); an easy_vqa root holds "
            "{train,test}/questions.json and {train,test}/images/"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(rows, list):
        raise DataError(f"{file} holds a JSON {type(rows).__name__}, not a list of questions")
    return rows


def _listing(folder: str) -> set[str]:
    """File names in the folder: one listing is cheaper than 38,575 look-ups."""
    try:
        return set(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror})") from error


def _in_split(image: int, split: str) -> bool:
    held_out = image % _HOLD_OUT == 0
    return {"train": not held_out, "val": held_out}.get(split, True)
