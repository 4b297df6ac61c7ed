"""Answers by transformers' own search, judged by loops that try everything."""

from itertools import product
from typing import Any

import pytest
import torch
from networks import BOS, EOS, IMAGES, MASK, QUESTION, WAYS, make, read
from torch import Tensor
from transformers.generation import BaseStreamer

from vqa.cache import StateCache
from vqa.model import LatteVQA

close = torch.testing.assert_close


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def model(request: pytest.FixtureRequest) -> LatteVQA:
    """Each combination of mixer, place of the question and kind of memory."""
    return make(*request.param)


@pytest.fixture(scope="module", params=("encoder", "decoder"))
def reader(request: pytest.FixtureRequest) -> LatteVQA:
    return make(question=request.param)


def same_states(one: StateCache, other: StateCache) -> None:
    for mine, theirs in zip(one.states, other.states, strict=True):
        for part, twin in zip(mine, theirs, strict=True):
            assert torch.equal(part, twin)


@torch.no_grad()
def test_greedy_is_the_manual_loop(model: LatteVQA) -> None:
    cache = read(model)
    got = model.generate(cache, max_new_tokens=6, do_sample=False)
    tokens, done = torch.full((3, 1), BOS), torch.zeros(3, dtype=torch.bool)
    for _ in range(got.shape[1] - 1):
        best = model(tokens, cache=cache).logits[:, -1].argmax(-1)
        best = best.masked_fill(done, 0)
        done |= best == EOS
        tokens = torch.cat([tokens, best[:, None]], 1)
    assert torch.equal(got, tokens)
    assert got.shape[1] == 7 or done.all()


@pytest.mark.parametrize("words", ({}, {"num_beams": 3}), ids=("greedy", "beams"))
def test_asking_twice_gives_the_same_and_leaves_the_cache(
    model: LatteVQA, words: dict[str, Any]
) -> None:
    cache = read(model)
    first = model.generate(cache, max_new_tokens=5, **words)
    assert torch.equal(model.generate(cache, max_new_tokens=5, **words), first)
    same_states(cache, read(model))
    assert cache.get_seq_length() == 0


@pytest.mark.parametrize("beams", (2, 5))
def test_beam_scores_are_the_scores_of_the_answers(model: LatteVQA, beams: int) -> None:
    cache, words = read(model), {"return_dict_in_generate": True, "output_scores": True}
    out = model.generate(
        cache,
        num_beams=beams,
        num_return_sequences=2,
        length_penalty=0.0,
        max_new_tokens=5,
        do_sample=False,
        **words,
    )
    rows = torch.arange(3).repeat_interleave(2)
    expected = model.score(cache.select(rows), out.sequences)
    close(out.sequences_scores, expected, rtol=0, atol=1e-4)
    first, second = out.sequences_scores.view(3, 2).unbind(1)
    assert (first >= second).all()


def test_beams_in_plenty_find_the_best_of_all_answers() -> None:
    found_by_luck = []
    for seed in range(3):
        model = make(vocabulary=5, seed=seed)
        question = QUESTION.clamp(max=4)
        with torch.no_grad():
            cache = model.read(IMAGES, question, MASK)
        every = torch.tensor([(BOS, *tail) for tail in product(range(5), repeat=3)])
        words: dict[str, Any] = {"max_new_tokens": 3, "length_penalty": 0.0, "do_sample": False}
        for row in range(3):
            one = cache.select(torch.tensor([row]))
            scores = model.score(one.select(torch.zeros(125, dtype=torch.long)), every)
            got = model.generate(one, num_beams=25, **words)
            close(model.score(one, got)[0], scores.max(), rtol=0, atol=1e-5)
            greedy = model.generate(one, **words)
            found_by_luck.append(bool(model.score(one, greedy)[0] > scores.max() - 1e-4))
    assert not all(found_by_luck)  # else the search had nothing to find


def test_sampling_is_reproducible_under_a_seed(reader: LatteVQA) -> None:
    cache, words = read(reader), {"do_sample": True, "max_new_tokens": 8, "top_k": 0}
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        runs.append(reader.generate(cache, num_return_sequences=4, **words))
    assert len(runs[0]) == 12
    assert torch.equal(runs[0], runs[1])
    assert runs[0].shape != runs[2].shape or not torch.equal(runs[0], runs[2])


class Listener(BaseStreamer):
    def __init__(self) -> None:
        self.heard: list[int] = []
        self.ended = False

    def put(self, value: Tensor) -> None:
        self.heard += value.flatten().tolist()

    def end(self) -> None:
        self.ended = True


def test_a_streamer_hears_the_tokens(reader: LatteVQA) -> None:
    cache, listener = read(reader).select(torch.tensor([1])), Listener()
    (tokens,) = reader.generate(cache, max_new_tokens=6, streamer=listener, do_sample=False)
    assert listener.heard == tokens.tolist() and listener.ended
