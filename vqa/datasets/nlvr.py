"""NLVR, first version: sentences that are true or false of an image of three boxes.

Source: https://lil.nlp.cornell.edu/nlvr (CC-BY-4.0), the folder nlvr of https://github.com/
lil-lab/nlvr. Layout below `root`, which is that folder or the repository:

    {train,dev,test}/{split}.json                                one JSON object a line
    {train,dev,test}/images/{directory}/{split}-{identifier}-{0..5}.png

Each sentence has six images, the permutations of the three boxes; each is one example here, as in
the official scores, and its id is its file's name. The question is the sentence, its answer "true"
or "false". `val` is another name of dev; test is the public test split. Metric: the share of right
answers over the images ("precision" officially), and consistency: the share of presentations (the
first part of an identifier, up to four sentences) of which every image is answered right.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from vqa.datasets import DataError, Example
from vqa.datasets._reading import Examples, Place, Root, a_row, a_text, known_split
from vqa.metrics import gqa_accuracy
from vqa.metrics.summary import group, mean_score, paired

_PAGE = "https://github.com/lil-lab/nlvr"
_NAMES = {"train": "train", "dev": "dev", "val": "dev", "test": "test"}
_PERMUTATIONS = 6


class Dataset(Examples):
    """One split of NLVR."""

    splits = tuple(_NAMES)

    def __init__(self, root: str | None, split: str, skip_bad: bool = False) -> None:
        self._split = _NAMES[known_split("nlvr", split, _NAMES)]
        place = Root(root, "nlvr", _PAGE)
        name = f"{self._split}/{self._split}.json"
        file = place.file(name, f"nlvr/{name}")
        self._images = place.images(f"{self._split}/images", f"nlvr/{self._split}/images")
        super().__init__(skip_bad)
        self.read(file, _images_of(file), self._example, "line")

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """1.0 where the strings are equal but for upper case."""
        return gqa_accuracy(prediction.lower(), answers)

    def report(self, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, Any]:
        """Precision and consistency, as metrics_images.py of the official repository."""
        scores = []
        consistent: dict[str, float] = {}
        for example, prediction in paired(examples, predictions):
            score = self.score(prediction, example.answers)
            scores.append(score)
            presentation = (example.meta or {})["identifier"].split("-")[0]
            consistent[presentation] = min(score, consistent.get(presentation, 1.0))
        return {**mean_score(scores), "consistency": group(list(consistent.values()))}

    def _example(self, place: Place, row: Any) -> Example:
        sentence, permutation = row
        if isinstance(sentence, DataError):
            raise sentence
        identifier = sentence["identifier"]
        name = f"{self._split}-{identifier}-{permutation}"
        return Example(
            name,
            self._images.path(f"{sentence['directory']}/{name}.png"),
            sentence["sentence"],
            (sentence["label"],),
            meta={"identifier": identifier},
        )


def _images_of(file: str) -> Iterator[tuple[Place, tuple[dict[str, str] | DataError, int]]]:
    """(line number from 1, (sentence, permutation)), a broken line once with what is wrong."""
    try:
        with open(file, "rb") as stream:
            for line, raw in enumerate(stream, start=1):
                if raw.strip():
                    try:
                        sentence = _sentence(raw)
                    except DataError as reason:
                        yield line, (reason, 0)
                    else:
                        yield from ((line, (sentence, n)) for n in range(_PERMUTATIONS))
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from error


def _sentence(raw: bytes) -> dict[str, str]:
    keys = ("identifier", "directory", "sentence", "label")
    row = a_row(_parse(raw), *keys)
    found = {key: a_text(row, key) for key in keys}
    if found["label"] not in ("true", "false"):
        raise DataError(f"label must be 'true' or 'false', not {found['label'][:80]!r}")
    return found


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 (byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON: {error}") from error
