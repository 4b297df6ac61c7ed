"""What a score is worth: the same evaluation blind, deaf, or without any model.

question-only   every image is one grey square: what the questions alone give away
image-only      every question is another one's: what images and the prior give away
most-frequent   no model: the most frequent answer of train to that type of question
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

import vqa
from vqa import blind, memory
from vqa.datasets import Dataset, Example, Rendered
from vqa.evaluation.identity import digest, tell
from vqa.evaluation.journal import Journal, Row
from vqa.evaluation.results import finish, row_of
from vqa.fingerprint import of_code

NAMES = ("question-only", "image-only", "most-frequent")


class _Wrapped:
    """A data set under another hand: its scores stay its own."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.splits, self.skipped = dataset.splits, dataset.skipped
        if hasattr(dataset, "report"):
            self.report = dataset.report

    def __len__(self) -> int:
        return len(self.dataset)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        return self.dataset.score(prediction, tuple(answers))


class QuestionOnly(_Wrapped):
    """The questions about a grey square, which goes by the name of the image."""

    def __getitem__(self, index: int) -> Example:
        return self.dataset[index]

    def render(self, index: int, size: int | None = None) -> tuple[Example, Tensor]:
        return self[index], blind.square()


class ImageOnly(_Wrapped):
    """The images, each with the question of another; answers and choices stay with the image."""

    def __init__(self, dataset: Dataset, seed: int = 0) -> None:
        super().__init__(dataset)
        self.asked = _others([dataset[index].image for index in range(len(dataset))], seed)
        if isinstance(dataset, Rendered):
            self.render = self._render

    def __getitem__(self, index: int) -> Example:
        return self._ask(self.dataset[index], index)

    def _render(self, index: int, size: int | None = None) -> tuple[Example, Tensor]:
        assert isinstance(self.dataset, Rendered)
        example, pixels = self.dataset.render(index, size)
        return self._ask(example, index), pixels

    def _ask(self, example: Example, index: int) -> Example:
        return replace(example, question=self.dataset[self.asked[index]].question)


WRAPPERS = {"question-only": QuestionOnly, "image-only": ImageOnly}


def _others(images: Sequence[str], seed: int) -> list[int]:
    """For each place another one, each once; about another image wherever there are enough.

    Shuffled, then in order of images and moved on by the largest number of questions that one
    image has: half of all at most, or an image must meet itself.
    """
    order = list(range(len(images)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda index: images[index])
    step = min(max(Counter(images).values(), default=0), max(1, len(order) // 2))
    found = [0] * len(order)
    for place, index in enumerate(order):
        found[index] = order[(place + step) % len(order)]
    return found


def frequent(
    train: Dataset, dataset: Dataset, out: Path, limit: int | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Answers `dataset` in folder `out` with what `train` answers most often; the scores.

    To questions of the same type: question_type, or answer_type, or else the first two words.
    Writes the files of `evaluate`.
    """
    out.mkdir(parents=True, exist_ok=True)
    examples = [dataset[index] for index in range(min(limit or len(dataset), len(dataset)))]
    learned = [train[index] for index in range(len(train))]
    journal = Journal(out)
    told = [digest([tell(example) for example in some]) for some in (learned, examples)]
    words = {"baseline": "most-frequent", "train": told[0], "questions": told[1]}
    journal.begin({**words, "version": vqa.__version__, "code": of_code()}, overwrite)
    start = time.perf_counter()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in learned:
        for kind in (_kind(example), ""):
            counts[kind].update(example.answers)
    rows = [_row(dataset, example, counts) for example in examples]
    cost = {"questions": len(rows), "tokens": 0, "seconds": time.perf_counter() - start}
    journal.append(rows)
    return finish(journal, dataset, examples, [{**cost, "peak_bytes": memory.peak()}])


def _kind(example: Example) -> str:
    words = " ".join(example.question.lower().split()[:2])
    return example.question_type or example.answer_type or words


def _row(dataset: Dataset, example: Example, counts: dict[str, Counter[str]]) -> Row:
    known = counts.get(_kind(example)) or counts[""]
    answer, count = max(known.items(), key=lambda pair: (pair[1], pair[0]))
    return row_of(dataset, example, answer, count / known.total())
