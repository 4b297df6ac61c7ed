"""Ask a trained model: one image and one question, or many; the app's only door to it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqa import checkpoint, images
from vqa import tokenizer as tokenizers
from vqa.batch import Batch, collate
from vqa.cache import StateCache
from vqa.images import ImageSource
from vqa.model import LatteVQA

BUNDLED = Path(__file__).parent / "bundled"
"""The model that comes with the package: Latte trained on easy-VQA."""

MAX_QUESTION = 2000
"""Longest question, in characters."""


@dataclass(frozen=True)
class Candidate:
    """A possible answer and its probability."""

    answer: str
    score: float


@dataclass(frozen=True)
class Answer:
    """The most probable answer, its probability, the alternatives, and what was read to find it.

    `width` and `height`: the image in pixels as it was read (after EXIF rotation, never reduced);
    `tokens`: length of the sequence of image patches and question; `seconds`: for this answer
    alone, or its share of a batch.
    """

    answer: str
    score: float
    top_k: tuple[Candidate, ...]
    width: int
    height: int
    tokens: int
    seconds: float
    model: str

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)


class Predictor:
    """A model and its tokenizer, ready to answer."""

    def __init__(self, model: LatteVQA, tokenizer: Any, name: str = "model") -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name

    @staticmethod
    def from_pretrained(
        name: str | Path | None = None,
        device: str | None = None,
        dtype: torch.dtype | str = torch.float32,
    ) -> "Predictor":
        """The model in folder `name` (default: the bundled one) on `device` (default: a GPU if
        there is one).

        Raises ValueError, in one sentence, for a folder that holds no such model.
        """
        folder = checkpoint.find(BUNDLED if name is None else name)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = LatteVQA.from_pretrained(folder, device=device, dtype=dtype)
        title = "bundled" if name is None else str(name)
        return Predictor(model, tokenizers.load(folder), title)

    def ask(
        self,
        image: ImageSource,
        question: str,
        top_k: int = 5,
        max_pixels: int = images.MAX_PIXELS,
    ) -> Answer:
        """The answer to `question` about `image` (path, bytes, PIL image or array).

        `top_k` answers are searched by twice as many beams; 1 writes greedily. Raises ImageError
        for an image that cannot be read and ValueError for an unusable question.
        """
        return self.ask_many([image], [0], [question], top_k, max_pixels)[0]

    def ask_many(
        self,
        sources: Sequence[ImageSource],
        image_index: Sequence[int],
        questions: Sequence[str],
        top_k: int = 5,
        max_pixels: int = images.MAX_PIXELS,
    ) -> list[Answer]:
        """Answers to many questions as one batch, question i about `sources[image_index[i]]`."""
        check_top_k(top_k)
        questions = [check_question(question) for question in questions]
        start = time.perf_counter()
        pixels = [images.load(source, max_pixels) for source in sources]
        batch = collate(pixels, image_index, questions, self.tokenizer)
        return self.answer(batch, top_k, start)

    @torch.inference_mode()
    def answer(self, batch: Batch, top_k: int = 1, start: float | None = None) -> list[Answer]:
        """Answers to a collated batch; seconds count from `start` (`time.perf_counter`)."""
        start = time.perf_counter() if start is None else start
        batch = batch.to(self.model.device)
        found = self._search(self._read(batch), top_k)
        return self._answers(batch, found, (time.perf_counter() - start) / max(1, len(batch)))

    @torch.inference_mode()
    def stream(
        self,
        image: ImageSource,
        question: str,
        top_k: int = 5,
        max_pixels: int = images.MAX_PIXELS,
    ) -> Iterator[str | Answer]:
        """The answer as it is written, ever longer texts, and at the end the `Answer` of `ask`."""
        check_top_k(top_k)
        question = check_question(question)
        start = time.perf_counter()
        batch = collate([images.load(image, max_pixels)], [0], [question], self.tokenizer)
        batch = batch.to(self.model.device)
        cache = self._read(batch)
        yield from self._write(cache)
        found = self._search(cache, top_k)
        yield self._answers(batch, found, time.perf_counter() - start)[0]

    def _read(self, batch: Batch) -> StateCache:
        cache: StateCache = self.model.read(**batch.inputs())
        return cache

    def _write(self, cache: StateCache, longest: int = 32) -> Iterator[str]:
        """Greedy answers token by token: a generator, where generate() would want a thread."""
        config, written = self.model.config, [self.model.config.bos_token_id]
        while len(written) <= longest:
            token = torch.tensor([written[-1:]], device=self.model.device)
            out = self.model(token, past_key_values=cache)
            cache = out.past_key_values
            written.append(int(out.logits[0, -1].argmax()))
            if written[-1] == config.eos_token_id:
                return
            yield tokenizers.decode(self.tokenizer, written)

    def _search(self, cache: StateCache, top_k: int) -> list[list[Candidate]]:
        """For each question its `top_k` answers, most probable first."""
        # Twice as many beams as answers: the same text may be found in several spellings of tokens.
        beams = 1 if top_k == 1 else 2 * top_k
        words: dict[str, Any] = {"num_beams": beams, "num_return_sequences": beams}
        if beams > 1:
            words["length_penalty"] = 0.0  # rank by probability, not by probability per token
        sequences = self.model.generate(cache, **words)
        questions = len(sequences) // beams
        rows = torch.arange(questions, device=sequences.device).repeat_interleave(beams)
        # Scored over the whole answer, its end included, so that the numbers are probabilities.
        scores = self.model.score(cache.select(rows), sequences).exp().tolist()
        texts = [tokenizers.decode(self.tokenizer, row) for row in sequences.tolist()]
        return [
            _rank(texts[first : first + beams], scores[first : first + beams])[:top_k]
            for first in range(0, len(texts), beams)
        ]

    def _answers(self, batch: Batch, found: list[list[Candidate]], seconds: float) -> list[Answer]:
        lengths = batch.question_mask.sum(1).tolist()
        answers = []
        for candidates, index, length in zip(
            found, batch.image_index.tolist(), lengths, strict=True
        ):
            height, width = _size(batch.images[index])
            answers.append(
                Answer(
                    answer=candidates[0].answer,
                    score=candidates[0].score,
                    top_k=tuple(candidates),
                    width=width,
                    height=height,
                    tokens=self.model.vision.count(height, width) + length,
                    seconds=seconds,
                    model=self.name,
                )
            )
        return answers


def check_question(question: str) -> str:
    """`question` without space around it. Raises ValueError for an empty or an endless one."""
    text = question.strip()
    if not text:
        raise ValueError("the question is empty; write a question about the image")
    if len(text) > MAX_QUESTION:
        raise ValueError(
            f"the question has {len(text):,} characters; at most {MAX_QUESTION:,} are "
            "read, shorten it"
        )
    return text


def check_top_k(top_k: int) -> None:
    """Raises ValueError for a number of answers that cannot be searched."""
    if not 1 <= top_k <= 50:
        raise ValueError(f"top_k must be between 1 and 50, not {top_k}")


def _rank(texts: list[str], scores: list[float]) -> list[Candidate]:
    """One candidate a text: the same text written with other tokens adds to its probability."""
    total: dict[str, float] = {}
    for text, score in zip(texts, scores, strict=True):
        total[text] = total.get(text, 0.0) + score
    ranked = sorted(total.items(), key=lambda item: -item[1])
    return [Candidate(text, min(1.0, score)) for text, score in ranked]


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[1], image.shape[2]
