"""The pipeline that transformers had, `pipeline("visual-question-answering")`, on a `Predictor`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from vqa.images import ImageSource
from vqa.predictor import Predictor

TASKS = ("visual-question-answering", "vqa")

Found = list[dict[str, Any]]
"""Answers, most probable first: [{"score": 0.9, "answer": "yes"}, ...]."""


def pipeline(
    task: str = TASKS[0],
    model: str | Predictor | None = None,
    device: str | None = None,
    dtype: Any = "float32",
    batch_size: int = 1,
    top_k: int = 5,
) -> "VisualQuestionAnswering":
    """A callable that answers questions about images, as `transformers.pipeline` made it.

    `model`: a folder, a `Predictor`, or the bundled model. Raises ValueError for another task.
    """
    if task not in TASKS:
        raise ValueError(f"there is no pipeline for {task!r}; the task is {TASKS[0]}")
    if not isinstance(model, Predictor):
        model = Predictor.from_pretrained(model, device, dtype)
    return VisualQuestionAnswering(model, batch_size, top_k)


class VisualQuestionAnswering:
    """Answers to one pair, a list of pairs, or a stream of them."""

    def __init__(self, predictor: Predictor, batch_size: int = 1, top_k: int = 5) -> None:
        self.predictor = predictor
        self.batch_size = batch_size
        self.top_k = top_k

    def __call__(
        self,
        image: Any = None,
        question: str | Sequence[str] | None = None,
        top_k: int | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """`(image=..., question=...)`, a dict of both, or a list or an iterator of such dicts.

        An image is a path, bytes, a PIL image or an array. A list of questions about one image, or
        of images with one question, gives a list of results; two lists every pair of them, image by
        image. One pair gives [{"score", "answer"}, ...]; a list of pairs a list of those; an
        iterator an iterator, read `batch_size` pairs at a time. Raises ValueError for anything
        else.
        """
        words = top_k or self.top_k, batch_size or self.batch_size
        if question is None:
            if isinstance(image, Mapping):
                return self(image.get("image"), image.get("question"), *words)
            if isinstance(image, str | bytes) or not isinstance(image, Iterable):
                raise ValueError(
                    "a question is missing: give image and question, or dicts with these two keys"
                )
            found = self._answers(map(_pair, image), *words)
            return list(found) if isinstance(image, Sequence) else found
        images = list(image) if isinstance(image, list | tuple) else [image]
        questions = [question] if isinstance(question, str) else list(question)
        pairs = ((one, asked) for one in images for asked in questions)
        answers = list(self._answers(pairs, *words))
        single = isinstance(question, str) and not isinstance(image, list | tuple)
        return answers[0] if single else answers

    def _answers(
        self, pairs: Iterable[tuple[ImageSource, str]], top_k: int, batch_size: int
    ) -> Iterator[Found]:
        pairs = iter(pairs)
        while batch := list(islice(pairs, batch_size)):
            sources: list[ImageSource] = []
            index = [_place(sources, image) for image, _ in batch]  # an image is read once
            asked = [question for _, question in batch]
            for answer in self.predictor.ask_many(sources, index, asked, top_k):
                yield [{"score": one.score, "answer": one.answer} for one in answer.top_k]


def _pair(item: Any) -> tuple[ImageSource, str]:
    if not isinstance(item, Mapping) or not {"image", "question"} <= item.keys():
        raise ValueError(f"expected a dict with the keys image and question, not {item!r:.80}")
    return item["image"], item["question"]


def _place(sources: list[ImageSource], image: ImageSource) -> int:
    """Where `image` stands in `sources`, put there if it is new."""
    for place, known in enumerate(sources):
        if known is image or (isinstance(image, str) and known == image):
            return place
    sources.append(image)
    return len(sources) - 1
