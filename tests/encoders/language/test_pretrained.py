"""A converted language model as decoder: memory in latents, words scanned, one step at a time."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from encoders.language import convert
from encoders.language.pretrained import PretrainedDecoder, PretrainedEmbedding
from encoders.latte import State
from encoders.stack import States

DIM, WINDOW = 12, 8


def language_model(**options: Any) -> Any:
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **options,
    )
    torch.manual_seed(0)
    return convert(LlamaForCausalLM(config), window=WINDOW, latents=3, sinks=2)


def make_decoder(**options: Any) -> PretrainedDecoder:
    decoder = PretrainedDecoder(language_model(**options).config.to_dict(), DIM)
    for layer in decoder.attentions:  # gates half open, or memory would not be seen
        nn.init.normal_(layer.gate.weight, std=0.1)
        nn.init.zeros_(layer.gate.bias)
    nn.init.normal_(decoder.connector.weight)
    return decoder.eval()


@pytest.fixture(scope="module")
def decoder() -> PretrainedDecoder:
    return make_decoder()


def memory(rows: int = 1, length: int = 20, seed: int = 0) -> Tensor:
    return torch.randn(rows, length, DIM, generator=torch.Generator().manual_seed(seed))


def words(decoder: PretrainedDecoder, rows: int = 1, length: int = 30, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return decoder.embed(torch.randint(3, 40, (rows, length), generator=generator))


def assert_states_close(one: States, other: States) -> None:
    for mine, theirs in zip(one, other, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_prefix_is_the_merge_of_its_parts_in_any_order(decoder: PretrainedDecoder) -> None:
    tokens = memory()
    whole = decoder.prefix(tokens)
    assert_states_close(decoder.prefix(tokens[:, torch.randperm(20)]), whole)
    first, second = decoder.prefix(tokens[:, :7]), decoder.prefix(tokens[:, 7:])
    for a, b, expected in zip(first, second, whole, strict=True):
        merged = State(a.u, a.z).merge(State(b.u, b.z))
        torch.testing.assert_close(merged.u, expected.u, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(merged.z, expected.z, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_prefix_of_masked_memory_equals_none(decoder: PretrainedDecoder) -> None:
    x = words(decoder)
    nothing = decoder.prefix(memory(), torch.zeros(1, 20, dtype=torch.bool))
    torch.testing.assert_close(decoder.scan(x, None, nothing)[0], decoder.scan(x)[0])
    tokens, mask = memory(), torch.ones(1, 20, dtype=torch.bool)
    mask[:, 5:9] = False
    assert_states_close(decoder.prefix(tokens, mask), decoder.prefix(tokens[mask].unsqueeze(0)))


@torch.no_grad()
def test_scan_depends_on_memory_through_the_latents(decoder: PretrainedDecoder) -> None:
    x = words(decoder)
    outputs = [decoder.scan(x, None, decoder.prefix(memory(seed=s)))[0] for s in (0, 1)]
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("split", (1, 2, 7, 8, 9, 29))
def test_scan_equals_scan_in_parts_and_step_by_step(decoder: PretrainedDecoder, split: int) -> None:
    x, start = words(decoder), decoder.prefix(memory())
    whole, end = decoder.scan(x, None, start)
    first, states = decoder.scan(x[:, :split], None, start)
    second, states = decoder.scan(x[:, split:], None, states)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-4, atol=1e-5)
    assert_states_close(states, end)
    states, tokens = start, []
    for t in range(x.shape[1]):
        token, states = decoder.step(x[:, t], states)
        tokens.append(token)
    torch.testing.assert_close(torch.stack(tokens, 1), whole, rtol=1e-4, atol=1e-5)
    assert_states_close(states, end)


@torch.no_grad()
def test_scan_of_a_padded_batch_equals_single_rows(decoder: PretrainedDecoder) -> None:
    x, tokens = words(decoder, 2), memory(2)
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[0, 11:] = False  # the question of one row is shorter: padding before the answer
    batch, states = decoder.scan(x, mask, decoder.prefix(tokens))
    answer = words(decoder, 2, 4, seed=3)
    after = decoder.scan(answer, None, states)[0]
    for row, length in ((0, 11), (1, 30)):
        alone, own = decoder.scan(
            x[row : row + 1, :length], None, decoder.prefix(tokens[row][None])
        )
        torch.testing.assert_close(batch[row, :length], alone[0], rtol=1e-4, atol=1e-5)
        expected = decoder.scan(answer[row : row + 1], None, own)[0][0]
        torch.testing.assert_close(after[row], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_scan_without_memory_is_the_language_model() -> None:
    model = language_model()
    decoder = PretrainedDecoder(model.config.to_dict(), DIM).eval()
    decoder.model.load_state_dict(model.model.state_dict())
    assert decoder.head is not None
    decoder.head.load_state_dict(model.lm_head.state_dict())
    ids = torch.randint(3, 40, (2, 25))
    hidden, _ = decoder.scan(decoder.embed(ids))
    expected = model.eval()(ids).logits
    torch.testing.assert_close(decoder.logits(hidden), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_states_keep_their_size_from_the_window_on(decoder: PretrainedDecoder) -> None:
    sizes = set()
    for length in (10, 50, 300):
        _, states = decoder.scan(words(decoder, 1, length), None, decoder.prefix(memory(1, length)))
        sizes.add(tuple(part.shape for state in states for part in state))
        assert [type(state) for state in states] == decoder.state_types
    assert len(sizes) == 1


def test_gradients_reach_connector_latents_and_projections() -> None:
    decoder = make_decoder()
    hidden, _ = decoder.scan(words(decoder), None, decoder.prefix(memory()))
    hidden.square().sum().backward()
    for name, weight in decoder.named_parameters():
        assert weight.grad is not None or name.startswith("head"), name
    assert decoder.connector.weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_relevance_is_weight_times_derivative() -> None:
    """Judge: scale the weight of one memory token in one head, differentiate numerically."""
    decoder = make_decoder().double()
    tokens, x = memory(1, 6).double(), words(decoder, 1, 5)
    states = decoder.prefix(tokens)
    leaves = [state._replace(u=state.u.detach().requires_grad_()) for state in states]
    loss = decoder.scan(x, None, leaves)[0].square().sum()
    slopes = torch.autograd.grad(loss, [leaf.u for leaf in leaves])
    gradients = [leaf._replace(u=slope) for leaf, slope in zip(leaves, slopes, strict=True)]
    mask = torch.ones(1, 6, dtype=torch.bool)
    found = decoder.relevance(tokens, mask, torch.zeros(1, 6), states, gradients)
    expected = torch.zeros(1, 6, dtype=torch.float64)
    for layer, attention, slope in zip(
        decoder.model.layers, decoder.attentions, slopes, strict=True
    ):
        key, value = decoder._latent(layer, attention, tokens)
        weights = key.softmax(1)  # over the memory, [1, S, H, Lh]
        each = torch.einsum("bshl,bshd,bhld->bsh", weights, value, slope)
        expected += each.clamp(min=0).sum(-1)
    torch.testing.assert_close(found.double(), expected.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("tied", (True, False))
def test_embedding_shares_the_decoders_weights(tied: bool) -> None:
    decoder = make_decoder(tie_word_embeddings=tied)
    embedding = PretrainedEmbedding(decoder)
    assert not list(embedding.parameters())
    assert embedding(torch.tensor([[3]])).shape == (1, 1, 24)
    assert embedding.logits(torch.zeros(1, 1, 24)).shape == (1, 1, 40)
    pair = nn.ModuleList([decoder, embedding])
    other: Any = copy.deepcopy(pair)
    assert other[1].decoder[0] is other[0]


def test_other_models_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="'llama' is no converted language model.*latte_llama"):
        PretrainedDecoder(LlamaConfig().to_dict(), DIM)
    config = language_model().config.to_dict()
    config["latte"]["softmax_layers"] = [0]
    with pytest.raises(ValueError, match="softmax_layers"):
        PretrainedDecoder(config, DIM)


def test_load_refuses_weights_of_another_shape(tmp_path: Any) -> None:
    language_model().save_pretrained(tmp_path)
    config = language_model(tie_word_embeddings=True).config.to_dict() | {"vocab_size": 41}
    with pytest.raises(ValueError, match="does not fit this decoder"):
        PretrainedDecoder(config, DIM).load(str(tmp_path))
