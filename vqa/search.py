"""From what a model has read to answers: greedily, token by token, or by beams."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vqa import tokenizer as tokenizers
from vqa.cache import StateCache
from vqa.model import LatteVQA

AT_ONCE = 512
"""Candidates scored together: each has a copy of its question's state, some 100 kB."""


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


def check_top_k(top_k: int) -> None:
    """Raises ValueError for a number of answers that cannot be searched."""
    if not 1 <= top_k <= 50:
        raise ValueError(f"top_k must be between 1 and 50, not {top_k}")


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


def rank(
    model: LatteVQA,
    tokenizer: Any,
    cache: StateCache,
    candidates: Sequence[Sequence[str]],
    top_k: int,
) -> list[list[Candidate]]:
    """For each question of `cache` the `top_k` most probable of its `candidates`.

    The probability of each whole sequence, its end included, over the sum of all candidates': that
    of an answer, given that it is one of them. The image is not read again. Raises ValueError for a
    question without candidates.
    """
    if not all(candidates):
        raise ValueError("a question has no candidates; give at least one answer to choose from")
    lists = [list(dict.fromkeys(texts)) for texts in candidates]
    texts = [text for one in lists for text in one]
    of = [question for question, one in enumerate(lists) for _ in one]
    encoded = tokenizer(texts, add_special_tokens=False).input_ids
    order = sorted(range(len(texts)), key=lambda place: len(encoded[place]))  # little padding
    total = torch.empty(len(texts))
    for start in range(0, len(order), AT_ONCE):
        some = order[start : start + AT_ONCE]
        rows = torch.tensor([of[place] for place in some], device=model.device)
        sequences = _sequences(model, [encoded[place] for place in some])
        total[some] = model.score(cache.select(rows), sequences).cpu()
    found, start = [], 0
    for one in lists:
        share = total[start : start + len(one)].softmax(0).tolist()
        start += len(one)
        ranked = sorted(zip(one, share, strict=True), key=lambda pair: -pair[1])
        found.append([Candidate(text, probability) for text, probability in ranked[:top_k]])
    return found


def _sequences(model: LatteVQA, answers: list[list[int]]) -> torch.Tensor:
    """Answers as `generate` would return them: from beginning to end, filled up with ends."""
    start, end = model.config.bos_token_id, model.config.eos_token_id
    width = max(map(len, answers))
    rows = [[start, *tokens, *[end] * (width + 1 - len(tokens))] for tokens in answers]
    return torch.tensor(rows, device=model.device)


def write(model: LatteVQA, tokenizer: Any, cache: StateCache) -> Iterator[str]:
    """A greedy answer as it grows: a generator, where generate() would want a thread."""
    config, written = model.config, [model.config.bos_token_id]
    while len(written) <= model.network.answer_tokens:
        token = torch.tensor([written[-1:]], device=model.device)
        out = model(token, cache=cache)
        cache = out.cache
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
