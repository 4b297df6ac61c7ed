"""Your own questions: a folder with train.jsonl, val.jsonl, test.jsonl and the images.

One JSON object a line: question_id (integer or string, unique in the file), image (path relative
to the folder), question, answers (list of accepted strings), and, if present, split (must be the
file's name) and meta (an object; by option, keys of it are the answer type and the question type;
its `boxes`, or `box`, in pixels, with `width` and `height` of the image, are the evidence).
Other keys and blank lines are ignored. Other splits are other files: `dev.jsonl` is the split
`dev`. Metric: the option `metric`, a name in vqa.metrics.
"""

import json
import os
import random
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeGuard

from vqa.data.wordings import SPLITS, reword
from vqa.datasets import DataError, Example, Region
from vqa.datasets._metric import known_metric
from vqa.datasets._reading import Examples, Place, check_split


class Dataset(Examples):
    """One split of a jsonl folder; `root` is the folder.

    `answer_type` and `question_type` are keys of meta. `wordings`, train or test, asks questions of
    a known kind in one of these wordings (vqa/data/wordings), drawn by question_id.
    """

    def __init__(
        self,
        root: str | None,
        split: str,
        skip_bad: bool = False,
        *,
        metric: str = "exact_match",
        answer_type: str = "kind",
        question_type: str | None = None,
        wordings: str | None = None,
    ) -> None:
        super().__init__(skip_bad)
        if wordings not in (None, *SPLITS):
            raise DataError(f"wordings must be {' or '.join(SPLITS)}, not {wordings!r}")
        self._metric = known_metric("jsonl", metric)
        self._types = (answer_type, question_type)
        self._root, self.splits = _find(root, split)
        file = os.path.join(self._root, f"{split}.jsonl")
        parse = partial(_example, self._root, split, self._types, wordings)
        self.read(file, _lines(file), parse, "line")

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """The chosen metric."""
        return self._metric(prediction, answers)


def _find(root: str | None, split: str) -> tuple[str, tuple[str, ...]]:
    """The absolute folder and the splits in it, the usual three first."""
    if not root:
        raise DataError("jsonl needs a root: the folder that holds {train,val,test}.jsonl")
    folder = os.path.abspath(root)
    if not os.path.isdir(folder):
        raise DataError(f"{root} is not a folder; jsonl needs one that holds {split}.jsonl")
    names = [os.path.splitext(name) for name in os.listdir(folder)]
    found = sorted(stem for stem, extension in names if extension == ".jsonl")
    usual = [name for name in ("train", "val", "test") if name in found]
    splits = tuple(usual + [name for name in found if name not in usual])
    if split not in splits:
        raise DataError(
            f"no {split}.jsonl in {root}; a jsonl data set is a folder with "
            "{train,val,test}.jsonl" + (f"; splits found: {', '.join(splits)}" if splits else "")
        )
    return folder, splits


def _lines(file: str) -> list[tuple[int, bytes]]:
    """(line number from 1, bytes) of every line that is not blank."""
    try:
        with open(file, "rb") as stream:
            # Bytes break at \n only and let one undecodable line be one bad row.
            return [(n, raw) for n, raw in enumerate(stream, start=1) if raw.strip()]
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error


def _example(
    root: str,
    split: str,
    types: tuple[str | None, str | None],
    wordings: str | None,
    _: Place,
    raw: bytes,
) -> Example:
    row = _parse(raw)
    for key in ("question_id", "image", "question", "answers"):
        if key not in row:
            raise DataError(f"the key {key!r} is missing")
    identity, question = row["question_id"], row["question"]
    if type(identity) not in (int, str) or identity == "":
        raise DataError(f"question_id must be an integer or a non-empty string, not {identity!r}")
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"question must be a non-empty string, not {question!r}")
    check_split(row, "split", split)
    if wordings:
        question = reword(question, random.Random(f"wording/{identity}"), wordings)
    answers, meta = _answers(row["answers"]), row.get("meta")
    first, second = (_kind(meta, key) for key in types)
    image = _image(row["image"], root)
    found = _evidence(meta if isinstance(meta, dict) else {})
    return Example(identity, image, question, answers, first, second, meta=meta, evidence=found)


def _parse(raw: bytes) -> dict:
    try:
        row = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 (byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"expected a JSON object, got {type(row).__name__}: {str(row)[:80]}")
    return row


def _answers(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise DataError(f"answers must be a list of strings, not {value!r}")
    if not value:
        raise DataError("answers is empty; give at least one accepted answer")
    for answer in value:
        if not isinstance(answer, str) or not answer.strip():
            raise DataError(f"answers must hold non-empty strings, not {answer!r}")
    return tuple(value)


def _image(value: object, root: str) -> str:
    """The absolute path of an image inside the folder; a link inside it may point elsewhere."""
    if not isinstance(value, str) or not value:
        raise DataError(f"image must be a path relative to the data set's folder, not {value!r}")
    path = os.path.normpath(os.path.join(root, value))
    if os.path.commonpath([root, path]) != root:
        raise DataError(f"image {value!r} lies outside {root}; use a path inside it")
    if not os.path.isfile(path):
        raise DataError(f"image file {path} does not exist")
    return path


def _evidence(meta: dict[str, Any]) -> tuple[Region, ...]:
    """Boxes of meta as shares of the image's sides; none where it has no sizes."""
    boxes = meta.get("boxes") or ([meta["box"]] if meta.get("box") else [])
    width, height = (meta.get(side) for side in ("width", "height"))
    if not boxes or not (_is_number(width) and _is_number(height) and width > 0 and height > 0):
        return ()
    for box in boxes:
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
            raise DataError(f"a box of meta must be [left, top, right, bottom], not {box!r}")
    return tuple((x / width, y / height, u / width, v / height) for x, y, u, v in boxes)


def _is_number(value: object) -> TypeGuard[float]:
    return type(value) in (int, float)


def _kind(meta: object, key: str | None) -> str | None:
    if meta is None or key is None:
        return None
    if not isinstance(meta, dict):
        raise DataError(f"meta must be an object, not {meta!r}")
    kind = meta.get(key)
    if kind is not None and not isinstance(kind, str):
        raise DataError(f"meta.{key} must be a string, not {kind!r}")
    return kind
