"""What an evaluation's answers depend on: two runs with the same identity give the same files."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import vqa
from vqa import fingerprint
from vqa.datasets import Dataset, Example
from vqa.evaluation.settings import Settings
from vqa.predictor import Predictor


def identity(
    predictor: Predictor, dataset: Dataset, examples: Sequence[Example], settings: Settings
) -> dict[str, Any]:
    """By name, what to compare: in words where they are short, else a SHA-256."""
    model = predictor.model
    words = asdict(settings)
    candidates = words.pop("candidates")
    words["features"] = settings.features is not None  # wherever they are
    return {
        "weights": predictor.weights,
        "network": digest(asdict(model.network)),
        "tokenizer": digest(sorted(predictor.tokenizer.get_vocab().items())),
        "questions": digest([tell(example) for example in examples]),
        "images": digest(_files(examples)),
        "metric": type(dataset).__module__,
        **words,
        "candidates": digest(candidates) if candidates else None,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "version": vqa.__version__,
        "code": fingerprint.of_code(),
    }


def tell(example: Example) -> list[Any]:
    """What tells one question from another."""
    return [
        example.question_id,
        example.question,
        example.answers,
        example.choices,
        os.path.basename(example.image),
    ]


def _files(examples: Sequence[Example]) -> list[Any]:
    """Name and size of every image file; drawn pictures have a name alone."""
    found = []
    for path in sorted({example.image for example in examples}):
        size = os.stat(path).st_size if os.path.isfile(path) else None
        found.append([os.path.basename(path), size])
    return found


def digest(value: Any) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(repr(value).encode()).hexdigest()
