"""Converted models in generate(), with every kind of cache."""

import json
from typing import Any

import pytest
import torch
from tiny_language_models import converted, ids_of, open_gates, original
from torch import Tensor
from transformers import DynamicCache, StaticCache
from transformers.generation.streamers import BaseStreamer

from encoders.language.cache import RecurrentStateLayer, cache_bytes

NEW = 10


@pytest.fixture(scope="module")
def model() -> Any:
    return endless(open_gates(converted()))


@pytest.fixture(scope="module")
def mixed() -> Any:
    """Its first layer keeps softmax."""
    return endless(open_gates(converted(softmax_layers=(0,))))


def endless(model: Any) -> Any:
    """Without an end token: all answers are equally long."""
    model.generation_config.eos_token_id = None
    return model


def generate(model: Any, ids: Tensor, **options: Any) -> Tensor:
    tokens: Tensor = model.generate(ids, **({"max_new_tokens": NEW, "do_sample": False} | options))
    return tokens


def greedy(model: Any, ids: Tensor) -> Tensor:
    """The most probable token again and again, from the whole text each time."""
    with torch.no_grad():
        for _ in range(NEW):
            best = model(ids, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat([ids, best], 1)
    return ids


@pytest.fixture(params=("model", "mixed"))
def either(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("length", (1, 30))
def test_generate_greedy_is_the_argmax_loop(either: Any, length: int) -> None:
    ids = ids_of(length)
    expected = greedy(either, ids)
    assert generate(either, ids).equal(expected)
    assert generate(either, ids, use_cache=False).equal(expected)


def test_generate_prefill_in_chunks(either: Any) -> None:
    ids = ids_of(30)
    assert generate(either, ids, prefill_chunk_size=7).equal(generate(either, ids))


def test_generate_beams_with_a_cache_equal_those_without(either: Any) -> None:
    beams = {"num_beams": 3, "num_return_sequences": 2, "output_scores": True}
    with_cache, without = (
        either.generate(
            ids_of(20),
            max_new_tokens=NEW,
            do_sample=False,
            use_cache=use_cache,
            return_dict_in_generate=True,
            **beams,
        )
        for use_cache in (True, False)
    )
    assert with_cache.sequences.shape == (4, 20 + NEW)
    assert with_cache.sequences.equal(without.sequences)
    torch.testing.assert_close(with_cache.sequences_scores, without.sequences_scores)
    assert not with_cache.sequences[0].equal(with_cache.sequences[1])


def test_generate_samples_are_reproducible(either: Any) -> None:
    drawn = []
    for seed, use_cache in ((0, True), (0, True), (0, False), (1, True)):
        torch.manual_seed(seed)
        drawn.append(
            generate(either, ids_of(9), do_sample=True, temperature=3.0, use_cache=use_cache)
        )
    assert drawn[0].equal(drawn[1]) and drawn[0].equal(drawn[2])
    assert not drawn[0].equal(drawn[3])


def test_generate_returns_several_samples_of_each_prompt(either: Any) -> None:
    torch.manual_seed(0)
    ids = ids_of(9)
    drawn = generate(either, ids, do_sample=True, temperature=3.0, num_return_sequences=3)
    assert drawn.shape == (6, 9 + NEW) and drawn[:, :9].equal(ids.repeat_interleave(3, 0))
    assert len({tuple(row) for row in drawn.tolist()}) == 6


class Recorder(BaseStreamer):
    def __init__(self) -> None:
        self.tokens: list[int] = []

    def put(self, value: Tensor) -> None:
        self.tokens += value.flatten().tolist()

    def end(self) -> None:
        self.tokens.append(-1)


def test_generate_streams_the_same_tokens(either: Any) -> None:
    recorder, ids = Recorder(), ids_of(20, 1)
    tokens = generate(either, ids, streamer=recorder)
    assert recorder.tokens == [*tokens[0].tolist(), -1]


@pytest.mark.parametrize("beams", (1, 3))
def test_generate_left_padded_batch_equals_single_rows(either: Any, beams: int) -> None:
    lengths = (25, 9, 1)
    ids, mask = torch.zeros(3, 25, dtype=torch.long), torch.zeros(3, 25, dtype=torch.long)
    rows = [ids_of(length, 1, seed=length) for length in lengths]
    for index, row in enumerate(rows):
        ids[index, 25 - row.shape[1] :], mask[index, 25 - row.shape[1] :] = row[0], 1
    got = generate(either, ids, attention_mask=mask, num_beams=beams)
    for index, row in enumerate(rows):
        alone = generate(either, row, num_beams=beams)
        assert got[index, 25:].equal(alone[0, row.shape[1] :])


@pytest.mark.parametrize("configured", (True, False))
def test_generate_continues_a_cache_of_the_user(either: Any, configured: bool) -> None:
    ids = ids_of(30)
    cache = DynamicCache(config=either.config) if configured else DynamicCache()
    with torch.no_grad():
        either(ids[:, :20], cache=cache)
    assert generate(either, ids, cache=cache).equal(generate(either, ids))
    assert cache.get_seq_length() == 30 + NEW - 1


@pytest.mark.parametrize("family", ("mistral-sliding", "qwen3"))
def test_generate_with_a_configured_cache_of_other_families(family: str) -> None:
    other = endless(open_gates(converted(family, softmax_layers=(1,))))
    ids = ids_of(30)
    expected = greedy(other, ids)
    assert generate(other, ids).equal(expected)
    assert generate(other, ids, cache=DynamicCache(config=other.config)).equal(expected)


@torch.no_grad()
def test_cache_reset_starts_anew(either: Any) -> None:
    cache, ids = DynamicCache(), ids_of(20)
    expected = either(ids, cache=cache).logits
    cache.reset()
    assert cache.get_seq_length() == 0
    assert either(ids, cache=cache).logits.equal(expected)


@torch.no_grad()
def test_cache_rows_can_be_selected_and_repeated(model: Any) -> None:
    ids, more = ids_of(20), ids_of(5, 4, seed=8)
    rows = torch.tensor([1, 1, 0, 0])
    expected = model(torch.cat([ids[rows], more], 1)).logits[:, 20:]
    for change in ("reorder_cache", "batch_select_indices"):
        cache = DynamicCache()
        model(ids, cache=cache)
        getattr(cache, change)(rows)
        torch.testing.assert_close(model(more, cache=cache).logits, expected, rtol=0, atol=1e-4)
    cache = DynamicCache()
    model(ids.flip(0), cache=cache)
    cache.batch_repeat_interleave(2)
    torch.testing.assert_close(model(more, cache=cache).logits, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_cache_bytes_counts_states_and_keys(mixed: Any) -> None:
    """Layer 0 grows by keys and values of 2 heads of 8 numbers, layer 1 is constant."""
    sizes = []
    for length in (50, 500):
        cache = DynamicCache()
        assert cache_bytes(cache) == 0
        mixed(ids_of(length, 1), cache=cache)
        sizes.append(cache_bytes(cache))
        assert isinstance(cache.layers[1], RecurrentStateLayer)
    assert sizes[1] - sizes[0] == 450 * 2 * 2 * 8 * 4


@torch.no_grad()
def test_cache_of_fixed_length_is_refused(model: Any) -> None:
    cache = StaticCache(config=model.config, max_cache_len=50)
    with pytest.raises(ValueError, match="needs an empty DynamicCache, got StaticLayer") as raised:
        model(ids_of(9), cache=cache)
    assert "\n" not in str(raised.value)


@torch.no_grad()
def test_cache_filled_by_another_model_is_refused(model: Any) -> None:
    cache = DynamicCache()
    original()(ids_of(9), cache=cache)
    with pytest.raises(ValueError, match="got DynamicLayer of 9 tokens in layer 0"):
        model(ids_of(9), cache=cache)


def test_cache_layer_refuses_keys_and_values() -> None:
    with pytest.raises(NotImplementedError, match="a state, not keys and values"):
        RecurrentStateLayer().update(torch.zeros(1), torch.zeros(1))


def test_generate_refuses_an_assistant(model: Any) -> None:
    """A state cannot go back to before a rejected token."""
    with pytest.raises(ValueError, match="not supported with stateful models"):
        generate(model, ids_of(9, 1), prompt_lookup_num_tokens=3)


def test_cache_refuses_to_be_cropped(model: Any) -> None:
    cache = DynamicCache()
    model(ids_of(9), cache=cache)
    with pytest.raises(ValueError, match="cannot be cropped"):
        cache.crop(4)
    with pytest.raises(ValueError, match="cannot be cropped"):
        generate(original(), ids_of(9, 1), assistant_model=model)


def test_config_survives_json(mixed: Any) -> None:
    config = type(mixed.config).from_dict(json.loads(mixed.config.to_json_string()))
    assert config.model_type == "latte_llama" and config.architectures == ["LatteLlamaForCausalLM"]
    assert config.latte == mixed.config.latte
    assert config.latte == {
        **{"window": 7, "latents": 5, "sinks": 2, "gain": 8.0, "softmax_layers": [0]}
    }
