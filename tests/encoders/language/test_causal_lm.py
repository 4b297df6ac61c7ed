"""CausalLM: causal, the same in one pass and step by step, equal in size over mixers."""

from typing import Any

import pytest
import torch

from encoders.language.causal_lm import CausalLM, parameter_count

VOCAB = 11
MIXERS: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax": ("attention", {"rotary": True}),
    "latte": ("latte", {"latents": 8}),
    "vapor": ("latte", {"latents": 8, "vapor": True}),
    "macchiato": ("macchiato", {"latents": 8, "window": 5}),
}


@pytest.fixture(params=MIXERS.values(), ids=MIXERS)
def model(request: pytest.FixtureRequest) -> CausalLM:
    torch.manual_seed(0)
    mixer, mixer_args = request.param
    return CausalLM(VOCAB, 16, 2, 2, mixer, **mixer_args).double().eval()


def ids_of(length: int) -> torch.Tensor:
    return torch.randint(VOCAB, (2, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("length", [2, 65])
def test_causal_lm_ignores_later_tokens(model: CausalLM, length: int) -> None:
    ids = ids_of(length)
    place = length // 2
    changed = ids.clone()
    changed[:, place] = (ids[:, place] + 1) % VOCAB
    before, after = model(ids), model(changed)
    torch.testing.assert_close(before[:, :place], after[:, :place], rtol=0, atol=1e-12)
    assert (before[:, place] != after[:, place]).any(-1).all()
    assert (before[:, -1] != after[:, -1]).any(-1).all()


@pytest.mark.parametrize(("length", "split"), [(1, 0), (64, 1), (70, 65)])
def test_causal_lm_prefill_equals_step_by_step(model: CausalLM, length: int, split: int) -> None:
    ids = ids_of(length)
    expected = model(ids)
    logits, states = model.prefill(ids[:, : split or 1])
    rows = [logits[:, -1]]
    for token in ids[:, split or 1 :].unbind(1):
        row, states = model.step(token, states)
        rows.append(row)
    torch.testing.assert_close(torch.stack(rows, 1), expected[:, (split or 1) - 1 :])


def test_causal_lm_prefill_continues_from_states(model: CausalLM) -> None:
    ids = ids_of(70)
    _, states = model.prefill(ids[:, :33])
    torch.testing.assert_close(model.prefill(ids[:, 33:], states)[0], model(ids)[:, 33:])


def test_causal_lm_knows_the_order_of_tokens(model: CausalLM) -> None:
    """A bag of words would answer alike: some positions reach every mixer."""
    ids = torch.tensor([[1, 2, 3, 4], [2, 1, 3, 4]])
    first, second = model(ids)[:, -1]
    assert (first - second).abs().max() > 1e-6


def test_causal_lm_adds_sine_positions_only_to_mixers_without_positions() -> None:
    sine = {
        name: CausalLM(VOCAB, 16, 1, 2, mixer, **mixer_args).sine_positions
        for name, (mixer, mixer_args) in MIXERS.items()
    }
    assert sine == {"softmax": False, "latte": True, "vapor": False, "macchiato": False}


def test_causal_lm_starts_near_a_uniform_distribution(model: CausalLM) -> None:
    loss = -model(ids_of(64)).log_softmax(-1).mean()
    assert abs(loss.item() - torch.tensor(float(VOCAB)).log().item()) < 1.5


def test_parameter_count_is_without_the_embedding() -> None:
    model = CausalLM(1000, 16, 1, 2, "latte", latents=8)
    block = 2 * 16 * 16 + 2 * 16 * 8 + 16 * 64 + 64 + 64 * 16 + 16 + 4 * 16
    assert parameter_count(model) == block + 2 * 16
