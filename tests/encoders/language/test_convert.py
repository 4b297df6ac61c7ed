"""A converted language model against the original, and against written-out T x T weights."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_language_models import (
    FAMILIES,
    VOCAB,
    assert_same_gradients,
    converted,
    ids_of,
    naive_copy,
    open_gates,
    original,
)
from torch import Tensor
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from encoders.language import convert, latte_layers
from encoders.language.cache import cache_bytes

close = torch.testing.assert_close
families = pytest.mark.parametrize("family", FAMILIES)


@families
@pytest.mark.parametrize(("window", "sinks"), ((1, 0), (1, 4), (7, 2), (12, 0), (9, 4)))
@torch.no_grad()
def test_convert_equals_original_up_to_window_and_sinks(
    family: str, window: int, sinks: int
) -> None:
    """Where the original has a sliding window itself, up to that."""
    before = original(family)
    after = convert(deepcopy(before), window, 5, sinks)
    length = min(window + sinks, before.config.to_dict().get("sliding_window") or 1000)
    ids = ids_of(length)
    close(after(ids).logits, before(ids).logits, rtol=0, atol=1e-4)
    longer = ids_of(window + sinks + 4)
    if window == before.config.to_dict().get("sliding_window"):
        close(after(longer).logits, before(longer).logits, rtol=0, atol=1e-4)
        return
    assert (after(longer).logits - before(longer).logits)[:, -1].abs().max() > 1e-2


@families
@pytest.mark.parametrize("length", (1, 64, 100))
def test_convert_with_shut_gates_equals_masked_softmax(family: str, length: int) -> None:
    """The original itself, given a mask of window and sinks, where distances are not clipped."""
    model = converted(family, window=7, sinks=0)
    before = original(family)
    place = torch.arange(length)
    distance = place[:, None] - place
    mask = torch.where((distance >= 0) & (distance < 7), 0.0, -1e9)
    with torch.no_grad():
        expected = before(ids_of(length), attention_mask=mask.expand(2, 1, -1, -1)).logits
        close(model(ids_of(length)).logits, expected, rtol=0, atol=1e-3)


@families
@pytest.mark.parametrize(("window", "sinks"), ((7, 0), (1, 2), (7, 4)))
def test_convert_with_open_gates_equals_naive_with_gradients(
    family: str, window: int, sinks: int
) -> None:
    model = open_gates(converted(family, window, sinks=sinks))
    expected = naive_copy(model)
    ids = ids_of(65)
    got, wanted = model(ids).logits, expected(ids).logits
    close(got, wanted, rtol=1e-4, atol=1e-3)
    cotangent = torch.randn(got.shape, generator=torch.Generator().manual_seed(2))
    for logits in (got, wanted):
        (logits * cotangent).sum().backward()
    assert_same_gradients(model, expected, 1e-3)
    assert model.model.layers[0].self_attn.latent_key.weight.grad.abs().max() > 1e-3


def test_convert_open_gates_give_latents_about_half() -> None:
    """The other tests speak of latents only if these have a share."""
    model, shares = open_gates(converted()), []

    def record(layer: Any, inputs: Any, words: dict[str, Tensor]) -> None:
        query, _ = layer.latent_logits(words["hidden_states"])
        gate = layer._logits(layer.gate, words["hidden_states"])
        shares.append((gate - query.logsumexp(-1)).sigmoid())

    for layer in latte_layers(model):
        layer.register_forward_pre_hook(record, with_kwargs=True)
    with torch.no_grad():
        model(ids_of(100))
    assert all(0.3 < share.mean() < 0.7 for share in shares)


def in_chunks(model: Any, ids: Tensor, cuts: list[int]) -> Tensor:
    cache, outputs = None, []
    for start, end in zip([0, *cuts], [*cuts, ids.shape[1]], strict=True):
        out = model(ids[:, start:end], cache=cache, use_cache=True)
        cache, outputs = out.cache, [*outputs, out.logits]
    return torch.cat(outputs, 1)


@families
@torch.no_grad()
def test_convert_in_chunks_and_step_by_step_equals_whole(family: str) -> None:
    model, ids = open_gates(converted(family)), ids_of(80)
    expected = model(ids, use_cache=False).logits
    for cuts in (list(range(1, 30)), [1, 2, 40, 79], [64], [3]):
        close(in_chunks(model, ids, cuts), expected, rtol=0, atol=5e-4)


def padded(kind: str) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Ids and mask of rows of 40, 23, 5 and 1 tokens, padded somewhere, and the rows alone."""
    lengths = [40, 23, 5, 1]
    rows = [ids_of(length, 1, seed=length)[0] for length in lengths]
    ids, mask = torch.zeros(4, 40, dtype=torch.long), torch.zeros(4, 40, dtype=torch.long)
    for index, row in enumerate(rows):
        place = torch.arange(len(row))
        if kind == "left":
            place += 40 - len(row)
        elif kind == "middle":
            place[len(row) // 2 :] += 40 - len(row)
        ids[index, place], mask[index, place] = row, 1
    return ids, mask, rows


@families
@pytest.mark.parametrize("kind", ("left", "right", "middle"))
@torch.no_grad()
def test_convert_padded_batch_equals_single_rows(family: str, kind: str) -> None:
    model = open_gates(converted(family))
    ids, mask, rows = padded(kind)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    got = model(ids, attention_mask=mask, position_ids=positions).logits.log_softmax(-1)
    for index, row in enumerate(rows):
        expected = model(row[None]).logits[0].log_softmax(-1)
        close(got[index][mask[index].bool()].exp(), expected.exp(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ("left", "right"))
@torch.no_grad()
def test_convert_padding_needs_no_positions(kind: str) -> None:
    """Rotary positions are relative: padding on either side shifts them all."""
    model = open_gates(converted())
    ids, mask, rows = padded(kind)
    got = model(ids, attention_mask=mask.bool()).logits.softmax(-1)
    for index, row in enumerate(rows):
        expected = model(row[None]).logits[0].softmax(-1)
        close(got[index][mask[index].bool()], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ("left", "right", "middle"))
@torch.no_grad()
def test_convert_padded_batch_continues_as_single_rows(kind: str) -> None:
    """Prefill in two chunks, then three steps, of which the second row skips one."""
    model = open_gates(converted())
    ids, mask, rows = padded(kind)
    more = ids_of(3, 4, seed=9)
    more_mask = torch.ones(4, 3, dtype=torch.long)
    more_mask[1, 1] = 0
    ids, mask = torch.cat([ids, more], 1), torch.cat([mask, more_mask], 1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache, outputs = DynamicCache(), []
    for start, end in ((0, 17), (17, 40), (40, 41), (41, 42), (42, 43)):
        out = model(
            ids[:, start:end],
            attention_mask=mask[:, :end],
            position_ids=positions[:, start:end],
            cache=cache,
        )
        outputs.append(out.logits.softmax(-1))
    got = torch.cat(outputs, 1)
    assert cache.get_seq_length() == 43
    for index in range(len(rows)):
        real = mask[index].bool()
        expected = model(ids[index, real][None]).logits[0].softmax(-1)
        close(got[index, real], expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_convert_row_of_padding_is_finite_and_changes_no_other() -> None:
    model, ids = open_gates(converted()), ids_of(30)
    mask = torch.tensor([[1], [0]]).expand(2, 30)
    got = model(ids, attention_mask=mask).logits
    assert got.isfinite().all()
    close(got[0], model(ids[:1]).logits[0], rtol=0, atol=1e-4)


@families
@torch.no_grad()
def test_convert_state_size_is_constant(family: str) -> None:
    model = open_gates(converted(family))
    sizes, shapes = set(), set()
    cache = None
    for _ in range(10):
        out = model(ids_of(50), cache=cache, use_cache=True)
        cache = out.cache
        sizes.add(cache_bytes(cache))
        shapes.add(tuple(tuple(part.shape) for part in cache.layers[1].state))
    assert cache is not None and cache.get_seq_length() == 500
    assert len(sizes) == len(shapes) == 1
    assert sizes.pop() < 2 * 2 * 4 * (4 * 5 * 17 + 2 * 2 * 8 * 16 + 100) * 2


# ------------------------------------------------------------------ layers that keep softmax


@families
@torch.no_grad()
def test_convert_softmax_layers_keep_softmax(family: str) -> None:
    """With every layer kept, the model is the original at any length, with a cache and padding."""
    before = original(family)
    after = convert(deepcopy(before), 7, softmax_layers=(0, 1))
    assert not latte_layers(after)
    ids = ids_of(50)
    close(after(ids).logits, before(ids).logits, rtol=0, atol=1e-4)
    for cuts in ([49], [5, 6, 30], list(range(35, 50))):
        close(in_chunks(after, ids, cuts), before(ids).logits, rtol=0, atol=1e-4)
    for kind in ("left", "right", "middle"):
        ids, mask, rows = padded(kind)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        for cuts in ([], [20], [39]):
            cache, outputs = DynamicCache(config=after.config), []
            for start, end in zip([0, *cuts], [*cuts, 40], strict=True):
                out = after(
                    ids[:, start:end],
                    attention_mask=mask[:, :end],
                    position_ids=positions[:, start:end],
                    cache=cache,
                )
                outputs.append(out.logits)
            got = torch.cat(outputs, 1)
            assert got.isfinite().all()
            if "sliding_window" in family or before.config.to_dict().get("sliding_window"):
                continue  # padding in the middle is inside the original's sliding window too
            for index, row in enumerate(rows):
                real = mask[index].bool()
                close(got[index, real], before(row[None]).logits[0], rtol=0, atol=2e-4)


@pytest.mark.parametrize("family", ("llama", "mistral-sliding"))
@pytest.mark.parametrize("kept", (0, 1))
@torch.no_grad()
def test_convert_mixed_layers_in_chunks_equal_whole(kept: int, family: str) -> None:
    model = open_gates(converted(family, softmax_layers=(kept,)))
    assert [layer.layer_idx for layer in latte_layers(model)] == [1 - kept]
    ids = ids_of(60)
    expected = model(ids, use_cache=False).logits
    for cuts in (list(range(1, 20)), [20, 21], [59]):
        close(in_chunks(model, ids, cuts), expected, rtol=0, atol=5e-4)


@torch.no_grad()
def test_convert_mixed_layers_equal_naive() -> None:
    model = open_gates(converted(softmax_layers=(1,)))
    close(model(ids_of(60)).logits, naive_copy(model)(ids_of(60)).logits, rtol=1e-4, atol=1e-3)


# ------------------------------------------------------------------ refusals


def test_convert_refuses_an_unknown_family() -> None:
    other = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=9, n_positions=9))
    with pytest.raises(ValueError) as raised:
        convert(other)
    sentence = str(raised.value)
    assert sentence.startswith("cannot convert GPT2LMHeadModel") and "\n" not in sentence
    for known in ("Llama", "Mistral", "Qwen2", "Qwen3"):
        assert f"{known}ForCausalLM" in sentence


def test_convert_refuses_a_converted_model() -> None:
    with pytest.raises(ValueError, match="LatteLlamaForCausalLM is converted already"):
        convert(converted())


@pytest.mark.parametrize(
    ("options", "sentence"),
    (
        ({"window": 0}, "window must be at least 1"),
        ({"window": 2.5}, "must be whole numbers"),
        ({"latents": 10**8}, "latents 1 to 4096 a head"),
        ({"gain": float("nan")}, "gain must be a finite number"),
        ({"gain": float("inf")}, "gain must be a finite number"),
        ({"softmax_layers": 2}, r"softmax_layers \[2\] do not exist"),
        ({"latents": 0}, "latents 0"),
        ({"sinks": -1}, "sinks -1"),
        ({"gain": 0.0}, "number above 0"),
        ({"softmax_layers": (0, 2)}, r"softmax_layers \[2\] do not exist: the model has 2 layers"),
        ({"softmax_layers": (-1,)}, r"softmax_layers \[-1\] do not exist"),
    ),
)
def test_convert_refuses_bad_options_and_leaves_the_model(
    options: dict[str, Any], sentence: str
) -> None:
    model = original()
    expected = model(ids_of(20)).logits
    with pytest.raises(ValueError, match=sentence):
        convert(model, **options)
    assert model.config.model_type == "llama" and model(ids_of(20)).logits.equal(expected)


def test_convert_refuses_quantised_weights() -> None:
    model = original()
    weight = model.model.layers[0].self_attn.q_proj.weight
    quantised = torch.nn.Parameter(weight.to(torch.int8), requires_grad=False)
    model.model.layers[0].self_attn.q_proj.weight = quantised
    with pytest.raises(ValueError, match="quantised: convert it without quantisation"):
        convert(model)


def test_converted_model_keeps_its_own_attention() -> None:
    model = converted()
    with pytest.raises(ValueError, match="cannot be set to 'sdpa'"):
        model.set_attn_implementation("sdpa")
    expected = model(ids_of(20)).logits
    model.set_attn_implementation("latte")
    close(model(ids_of(20)).logits, expected)


def test_converted_model_has_no_name_of_the_original(tmp_path: Path) -> None:
    """Adapters that name the original would be loaded onto it."""
    original().save_pretrained(tmp_path)
    model = convert(LlamaForCausalLM.from_pretrained(tmp_path), 7)
    assert not model.name_or_path and not model.config.name_or_path


@torch.no_grad()
def test_converted_model_can_be_exported() -> None:
    model, ids = open_gates(converted()), ids_of(20, batch=1)
    program = torch.export.export(model, (), {"input_ids": ids, "use_cache": False}, strict=False)
    close(program.module()(input_ids=ids, use_cache=False).logits, model(ids).logits)


def test_packed_sequences_and_custom_masks_are_refused() -> None:
    model, ids = converted(), ids_of(12)
    places = torch.arange(12).expand(2, -1)
    close(model(ids, position_ids=places).logits, model(ids).logits)
    with pytest.raises(ValueError, match="packed into a row"):
        model(ids, position_ids=places % 6, use_cache=False)
    with pytest.raises(ValueError, match=r"marks padding, \[B, T\], got \[2, 1, 12, 12\]"):
        model(ids, attention_mask=torch.zeros(2, 1, 12, 12))


@pytest.mark.parametrize(
    ("family", "own"),
    (
        ("mistral-sliding", {}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 1}),
        ("llama-tied", {}),
    ),
)
@torch.no_grad()
def test_softmax_is_the_original_layer_with_its_own_window(
    family: str, own: dict[str, Any]
) -> None:
    before, ids = original(family, **own), ids_of(40)
    after = convert(deepcopy(before), 7)
    for layer in latte_layers(after):
        layer.forward = lambda hidden_states, position_embeddings, layer=layer, **_: (
            layer.softmax(hidden_states, *position_embeddings),
            None,
        )
    close(after(ids).logits, before(ids).logits, rtol=0, atol=1e-4)


def test_convert_refuses_a_window_beyond_the_sliding_window() -> None:
    with pytest.raises(ValueError, match="window 13 is larger than .* sliding window, 12"):
        convert(original("mistral-sliding"), 13)
    assert convert(original("mistral-sliding"), 12).config.sliding_window == 12
    assert VOCAB == 67
