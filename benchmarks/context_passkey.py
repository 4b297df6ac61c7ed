"""Passkey retrieval (Mohtashami and Jaggi, arXiv 2305.16300): a number hidden in a long text."""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from context_models import MeasurementLog, ModelSpec, greedy, new_cache, prefill
from torch import Tensor

from vqa.batch import IGNORE
from vqa.data.recall import PASSKEY, Fact, hide

LENGTHS = (1024, 2048, 4096, 8192, 16384)
DIGITS = 5
ANSWER_TOKENS = 8
"""Tokens decoded: a space, the digits, and some to spare for other tokenizers."""
MARGIN = 16
"""Tokens between the hidden number and the last window."""
GOLDEN = 0.6180339887498949
"""Multiples of it modulo 1 spread evenly however many there are, so trials can be added."""


class Trial(NamedTuple):
    """A prompt that ends where the number should follow."""

    number: str
    depth: float
    prompt: list[int]


def build_trial(
    tokenizer: Any, documents: dict[str, Tensor], length: int, index: int, window: int
) -> Trial:
    """Trial `index` of prompts of `length` tokens, the same for all models.

    `depth` is the share of the text before the number, which stands outside the last `window`
    tokens. Raises ValueError for a length without text outside the window or a short document.
    """
    draw = random.Random(f"passkey {length} {index}")
    number = str(draw.randrange(10 ** (DIGITS - 1), 10**DIGITS))
    fact, question = PASSKEY[0].format(number=number), PASSKEY[1]
    size = length - len(_prompt(tokenizer, [], Fact(0, fact, question, number)))
    latest = 1 - (window + MARGIN) / max(size, 1)
    if latest <= 0:
        raise ValueError(f"{length} tokens leave no text outside the window of {window}")
    depth = latest * ((index * GOLDEN + 0.5) % 1)
    ids = documents[draw.choice(sorted(documents))]
    if len(ids) < size:
        raise ValueError(f"a document of {len(ids)} tokens is too short for prompts of {length}")
    start = draw.randrange(len(ids) - size + 1)
    filler = ids[start : start + size].tolist()
    return Trial(number, depth, _prompt(tokenizer, filler, Fact(depth, fact, question, number)))


def _prompt(tokenizer: Any, filler: list[int], fact: Fact) -> list[int]:
    ids, labels = hide(tokenizer, filler, [fact])
    return ids[: next(place for place, label in enumerate(labels) if label != IGNORE)]


def answer(model: Any, tokenizer: Any, prompt: list[int]) -> str:
    """Greedy continuation of `prompt`."""
    cache = new_cache(model)
    logits = prefill(model, torch.tensor(prompt), cache)
    text: str = tokenizer.decode(greedy(model, logits, cache, ANSWER_TOKENS))
    return text.strip()


def measure_passkey(
    specs: Sequence[ModelSpec],
    documents: dict[str, Tensor],
    tokenizer: Any,
    lengths: Sequence[int],
    trials: int,
    window: int,
    log: MeasurementLog,
) -> None:
    """Append a row a trial to `log`, of those that it has not."""
    for spec in specs:
        head = {"task": "passkey", "model": spec.name, "weights": spec.fingerprint()}
        keys = [head | {"length": n, "trial": i} for n in lengths for i in range(trials)]
        missing = [key for key in keys if not log.has(key)]
        model = spec.load() if missing else None
        for key in missing:
            trial = build_trial(tokenizer, documents, key["length"], key["trial"], window)
            text = answer(model, tokenizer, trial.prompt)
            result = {"number": trial.number, "depth": round(trial.depth, 4), "answer": text}
            log.append(key | result | {"right": text[:DIGITS] == trial.number})
