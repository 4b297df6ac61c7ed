"""From what a model has read to answers: greedily, token by token, or by beams."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from vqa import tokenizer as tokenizers
from vqa.cache import StateCache
from vqa.model import LatteVQA


@dataclass(frozen=True)
class Candidate:
    """A possible answer and its probability."""

    answer: str
    score: float


def beams(top_k: int) -> int:
    """How many beams search for `top_k` answers; one is written greedily.

    Twice as many as answers: the same text may be found in several spellings of tokens.
    """
    return 1 if top_k == 1 else 2 * top_k


def search(model: LatteVQA, tokenizer: Any, cache: StateCache, top_k: int) -> list[list[Candidate]]:
    """For each question of `cache` its `top_k` answers, most probable first."""
    width = beams(top_k)
    words: dict[str, Any] = {"num_beams": width, "num_return_sequences": width}
    if width > 1:
        words["length_penalty"] = 0.0  # rank by probability, not by probability per token
    sequences = model.generate(cache, **words)
    questions = len(sequences) // width
    rows = torch.arange(questions, device=sequences.device).repeat_interleave(width)
    # Scored over the whole answer, its end included, so that the numbers are probabilities.
    scores = model.score(cache.select(rows), sequences).exp().tolist()
    texts = [tokenizers.decode(tokenizer, row) for row in sequences.tolist()]
    return [
        _rank(texts[first : first + width], scores[first : first + width])[:top_k]
        for first in range(0, len(texts), width)
    ]


def write(model: LatteVQA, tokenizer: Any, cache: StateCache, longest: int = 32) -> Iterator[str]:
    """A greedy answer as it grows: a generator, where generate() would want a thread."""
    config, written = model.config, [model.config.bos_token_id]
    while len(written) <= longest:
        token = torch.tensor([written[-1:]], device=model.device)
        out = model(token, past_key_values=cache)
        cache = out.past_key_values
        written.append(int(out.logits[0, -1].argmax()))
        if written[-1] == config.eos_token_id:
            return
        yield tokenizers.decode(tokenizer, written)


def _rank(texts: list[str], scores: list[float]) -> list[Candidate]:
    """One candidate a text: the same text written with other tokens adds to its probability."""
    total: dict[str, float] = {}
    for text, score in zip(texts, scores, strict=True):
        total[text] = total.get(text, 0.0) + score
    ranked = sorted(total.items(), key=lambda item: -item[1])
    return [Candidate(text, min(1.0, score)) for text, score in ranked]
