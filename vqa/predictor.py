"""Ask a trained model: one image and one question, or many; the app's only door to it."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from encoders.pixels import Pixels
from encoders.vision.sheet import ImageTokens
from vqa import (
    __version__,
    checkpoint,
    evidence_reading,
    fingerprint,
    memory,
    models,
    search,
)
from vqa import tokenizer as tokenizers
from vqa.batch import Batch, collate, transcript_tokens
from vqa.cache import StateCache
from vqa.data.derived import NOT_THERE
from vqa.encoded import Encoded, Source
from vqa.encodings import Encodings
from vqa.evidence import Evidence, locate
from vqa.evidence_reading import Read
from vqa.evidence_words import locate_words
from vqa.features import Features, encode_alone
from vqa.images import ImageSource, Picture
from vqa.model import Encoding, LatteVQA
from vqa.opening import NATIVE, Reading, counted, opened, source_of
from vqa.search import Candidate
from vqa.transcriber import Transcriber, Transcript

MAX_QUESTION = 2000
"""Longest question, in characters."""


@dataclass(frozen=True)
class Answer:
    """The most probable answer, its probability, the alternatives, and what was read to find it.

    `width` and `height`: the image in pixels (after EXIF rotation); `scale`: the share of its
    sides at which it was read, 1.0 unless a budget asked for less; `tokens`: length of the sequence
    of image patches and question; `seconds`: for this answer alone, or its share of a batch;
    `patch_scale`: the share of the sides that were read at which its patches were, less than 1 of
    large images where a network reads print at full size and the picture in small;
    `rotation`: degrees by which a page was turned to the left for its print to be read;
    `abstains`: whether the model cannot tell: its best answer is no better than a guess, or that
    the image does not show it;
    `evidence`: where in the image it was read, if asked for.
    """

    answer: str
    score: float
    top_k: tuple[Candidate, ...]
    width: int
    height: int
    scale: float
    tokens: int
    seconds: float
    model: str
    patch_scale: float = 1.0
    rotation: float = 0.0
    abstains: bool = False
    evidence: Evidence | None = None

    @property
    def verdict(self) -> str:
        """The answer, or that there is none worth more than a guess."""
        if not self.abstains:
            return self.answer
        if self.answer == NOT_THERE:
            return f"I cannot tell: {NOT_THERE}"
        return f"I cannot tell (a guess: {self.answer or 'no words'})"

    @property
    def read_at(self) -> str:
        """How much of the image was read, in words: "at full size" or "at 61 % scale"."""
        told = "at full size" if self.scale == 1 else f"at {100 * self.scale:.3g} % scale"
        if self.patch_scale < 1:
            told += f", what is no print at {100 * self.scale * self.patch_scale:.3g} %"
        if self.rotation:
            side = "left" if self.rotation > 0 else "right"
            told += f", turned {abs(self.rotation):.0f} degrees to the {side},"
        return told

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON: of the evidence all but the heat map."""
        words = asdict(replace(self, evidence=None))
        del words["evidence"]
        return words if self.evidence is None else words | {"evidence": self.evidence.to_dict()}


class _Transcribed(NamedTuple):
    """What the model keeps of some images, and their transcripts."""

    memory: StateCache
    transcripts: list[Transcript]


class Predictor:
    """A model and its tokenizer, ready to answer.

    `encodings` keeps images for the next question about them.
    """

    def __init__(
        self,
        model: LatteVQA,
        tokenizer: Any,
        name: str = "model",
        encodings: Encodings | None = None,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.encodings = encodings or Encodings(0)
        self.transcriber = Transcriber(model) if model.network.transcript else None
        self._weights = ""

    @staticmethod
    def from_pretrained(
        name: str | Path | None = None,
        device: str | None = None,
        dtype: torch.dtype | str = torch.float32,
        cache_mb: int = 256,
        cache_folder: str | Path | None = None,
    ) -> "Predictor":
        """The model in folder `name`, or bundled by that name, on `device` (default: a GPU if
        there is one).

        Encoded images are kept for the next question: `cache_mb` megabytes in memory, and all in
        `cache_folder` if given. Raises ValueError, in one sentence, for a folder that holds no
        such model.
        """
        name = models.DEFAULT if name is None else name
        folder = checkpoint.find(name)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = LatteVQA.from_pretrained(folder, device=device, dtype=dtype)
        kept = Encodings(cache_mb * 2**20, cache_folder)
        return Predictor(model, tokenizers.load(folder), str(name), kept)

    def ask(
        self,
        image: ImageSource | Encoded,
        question: str,
        top_k: int = 5,
        reading: Reading = NATIVE,
        evidence: bool = False,
    ) -> Answer:
        """The answer to `question` about `image` (path, bytes, PIL image, array, or `encode`d).

        `top_k` answers are searched by twice as many beams; 1 writes greedily. With `evidence` the
        answer also tells where it was read. Raises ImageError for an image that cannot be read,
        ValueError for an unusable question, or for evidence from an encoded image that keeps no
        patches, and BudgetError where the budget cannot be met.
        """
        *_, answer = self._parts(image, question, top_k, reading, evidence, stream=False)
        assert isinstance(answer, Answer)
        return answer

    def stream(
        self,
        image: ImageSource | Encoded,
        question: str,
        top_k: int = 5,
        reading: Reading = NATIVE,
        evidence: bool = False,
    ) -> Iterator[str | Answer]:
        """The answer as it is written, ever longer texts, and at the end the `Answer` of `ask`."""
        yield from self._parts(image, question, top_k, reading, evidence, stream=True)

    @torch.inference_mode()
    def encode(self, image: ImageSource, reading: Reading = NATIVE) -> Encoded:
        """Read an image once, for any number of questions; equal to asking the image itself.

        Of a model with the question in the decoder, a few hundred kB whatever the image's size.
        """
        with opened(self.model, image, reading, self.encodings.capacity) as (picture, source):
            return self._encode(image, picture, source, reading)

    def load_encoded(self, path: str | Path) -> Encoded:
        """What `Encoded.save` wrote. Raises ValueError if this model did not make it."""
        return Encoded.load(path, self.model, self.weights)

    @property
    def chat(self) -> bool:
        """Whether images have transcripts, and questions are turns of a chat about them."""
        return self.transcriber is not None

    @property
    def weights(self) -> str:
        """The fingerprint of the model's weights."""
        if not self._weights:
            self._weights = fingerprint.of_weights(self.model)
        return self._weights

    @torch.inference_mode()
    def ask_many(
        self,
        sources: Sequence[ImageSource],
        image_index: Sequence[int],
        questions: Sequence[str],
        top_k: int = 5,
        reading: Reading = NATIVE,
    ) -> list[Answer]:
        """Answers to many questions as one batch, question i about `sources[image_index[i]]`."""
        search.check_top_k(top_k)
        questions = [check_question(question) for question in questions]
        start, room = time.perf_counter(), self.encodings.capacity
        with ExitStack() as stack:
            shown = [
                stack.enter_context(opened(self.model, source, reading, room, top_k=top_k))
                for source in sources
            ]
            pictures = [picture for picture, _ in shown]
            batch = collate(pictures, image_index, questions, self.tokenizer, chat=self.chat)
            return self.answer(batch, top_k, start, [source for _, source in shown])

    @torch.inference_mode()
    def answer(
        self,
        batch: Batch,
        top_k: int = 1,
        start: float | None = None,
        sources: Sequence[Source] | None = None,
        candidates: Sequence[Sequence[str]] | None = None,
        features: Features | None = None,
    ) -> list[Answer]:
        """Answers to a collated batch; seconds count from `start` (`time.perf_counter`).

        `sources`: what its images are, where they are not read whole. `candidates`: the answers
        that each question may have (`search.rank`), written freely if not given. `features`: where
        new ones of the batch's images are kept; each image is then encoded by itself.
        """
        start = time.perf_counter() if start is None else start
        batch = batch.to(self.model.device)
        seen: list[Any] | ImageTokens = batch.images
        index = batch.image_index
        if features is not None and self.transcriber is not None:
            raise ValueError("a model that transcribes images needs them: leave the features out")
        if features is not None:
            image, index = encode_alone(self.model.vision, batch, features)
            seen = self.model.vision.map(image)
        if self.transcriber is not None:
            memory, transcripts = self._transcribed(batch.images)
            read = self.model.asked(memory.select(index), *self._asked(batch))
        else:
            read = self.model.read(seen, *self._asked(batch), index)
        if candidates is None:
            found = search.search(self.model, self.tokenizer, read, top_k)
        else:
            found = search.rank(self.model, self.tokenizer, read, candidates, top_k)
        seconds = (time.perf_counter() - start) / max(1, len(batch))
        if sources is None:
            sources = [source_of(self.model, image.shape, image.shape) for image in batch.images]
        if self.transcriber is not None:
            pairs = zip(sources, transcripts, strict=True)
            sources = [replace(source, rotation=each.rotation) for source, each in pairs]
        lengths = batch.question_mask.sum(1).tolist()
        return [
            self._answer(candidates, sources[index], length, seconds)
            for candidates, index, length in zip(
                found, batch.image_index.tolist(), lengths, strict=True
            )
        ]

    @torch.inference_mode()
    def _parts(
        self,
        image: ImageSource | Encoded,
        question: str,
        top_k: int,
        reading: Reading,
        evidence: bool,
        stream: bool,
    ) -> Iterator[str | Answer]:
        search.check_top_k(top_k)
        question = check_question(question)
        start = time.perf_counter()
        batch = collate([], [0], [question], self.tokenizer, chat=self.chat)
        batch = batch.to(self.model.device)
        length = int(batch.question_mask.sum())
        if self.chat and not isinstance(image, Encoded):
            image = self.encode(image, reading)
        if isinstance(image, Encoded):
            self._check(image)
            source = image.source
            read, kept = self._read(image.memory, batch, evidence and not self.chat)
        else:
            room = self.encodings.capacity
            with opened(self.model, image, reading, room, length, top_k) as (picture, source):
                seen = self._seen(image, picture, source, reading, evidence)
                source = counted(source, seen)
                read, kept = self._read(seen, batch, evidence)
        if stream:
            yield from search.write(self.model, self.tokenizer, read)
        (found,) = search.search(self.model, self.tokenizer, read, top_k)
        where = None if kept is None else self._locate(kept, question, found[0].answer, source)
        if evidence and self.chat and isinstance(image, Encoded):
            where = locate_words(image.words, question, found[0].answer, source)
        answer = self._answer(found, source, length, time.perf_counter() - start)
        yield replace(answer, evidence=where)

    def _seen(
        self,
        image: ImageSource,
        picture: Picture,
        source: Source,
        reading: Reading,
        evidence: bool,
    ) -> list[Picture] | Encoding:
        """What is kept of the image, or, where that would not be kept, the picture itself."""
        decoder = self.model.network.question == "decoder"
        size = 2**20 if decoder else memory.sequence(self.model, source.tokens)
        if not self.encodings.takes(size) or (decoder and evidence):  # states have no patches
            # A network that finds holds all tokens at once anyway, and only then are they counted.
            return [picture] if self.model.finder is None else self.model.vision([picture])
        return self._encode(image, picture, source, reading).memory

    def _read(
        self, seen: list[Picture] | Encoding, batch: Batch, evidence: bool
    ) -> tuple[StateCache, Read | None]:
        """What the decoder knows before its first word; for `evidence` also from which tokens."""
        if not evidence:
            return self.model.read(seen, *self._asked(batch)), None
        if isinstance(seen, StateCache):
            raise ValueError(
                "an image encoded by this model keeps no patches to show evidence on; "
                "ask with the image itself"
            )
        kept = evidence_reading.read(self.model, seen, batch)
        return kept.cache, kept

    def _locate(self, kept: Read, question: str, answer: str, source: Source) -> Evidence:
        batch = collate([], [0], [question], self.tokenizer, [answer], chat=self.chat)
        batch = batch.to(self.model.device)
        found = evidence_reading.relevance(self.model, kept, batch)
        return locate(found.patches[0], kept.memory, source)

    def _encode(
        self, image: ImageSource, picture: Picture, source: Source, reading: Reading
    ) -> Encoded:
        content = fingerprint.of_image(image, picture)
        words = (content, reading.page, picture.shape, self.weights, __version__)
        key = hashlib.sha256(repr(words).encode()).hexdigest()
        encoded = self.encodings.get(key, self.model, self.weights)
        if encoded is None:
            encoded = self._encode_anew(picture, source)
            self.encodings.put(key, encoded)
        return encoded

    def _transcribed(self, images: Sequence[Pixels]) -> "_Transcribed":
        """What the model keeps of `images` and of their text."""
        assert self.transcriber is not None
        features = self.model.vision.features(images)
        transcripts = self.transcriber(images, features)
        text = transcript_tokens([each.text for each in transcripts], self.tokenizer)
        image = self.model.vision.map(features)
        memory = self.model.encode(image, *(part.to(self.model.device) for part in text))
        assert isinstance(memory, StateCache)
        return _Transcribed(memory, transcripts)

    def _encode_anew(self, picture: Picture, source: Source) -> Encoded:
        if self.chat:
            memory, (transcript,) = self._transcribed([picture])
            source = replace(source, rotation=transcript.rotation)
            return Encoded(memory, source, self.weights, tuple(transcript.words))
        seen = self.model.encode([picture])
        return Encoded(seen, counted(source, seen), self.weights)

    def _asked(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        return batch.question, batch.question_mask

    def _check(self, encoded: Encoded) -> None:
        if encoded.weights != self.weights:
            raise ValueError("the image was encoded by another model; encode it again")

    def _answer(
        self, found: list[Candidate], source: Source, question_tokens: int, seconds: float
    ) -> Answer:
        return Answer(
            answer=found[0].answer,
            score=found[0].score,
            top_k=tuple(found),
            width=source.width,
            height=source.height,
            scale=source.scale,
            tokens=source.tokens + question_tokens,
            seconds=seconds,
            model=self.name,
            patch_scale=source.patch_scale,
            rotation=source.rotation,
            abstains=found[0].score < self.model.config.abstain_below
            or found[0].answer == NOT_THERE,
        )


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
