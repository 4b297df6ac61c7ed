"""Initial latents: nearer to softmax than chance, gates that follow the attention outside."""

from typing import Any

import pytest
import torch
from tiny_language_models import converted, ids_of, open_gates, original
from torch import Tensor

from encoders.language import latte_layers
from encoders.language.initialize import (
    RIDGE,
    _centres,
    _Ridge,
    initialize_latents,
    sample_layers,
)
from vqa.training.conversion import LATENT_NAMES, transfer_errors

METHODS = ("kmeans", "pca", "random")
methods = pytest.mark.parametrize("method", METHODS)
HELD_OUT = ids_of(100, 4, seed=99)


def texts(count: int = 6) -> list[Tensor]:
    return [ids_of(100, 4, seed=seed) for seed in range(count)]


def initialized(method: Any, seed: int = 0, family: str = "llama") -> Any:
    torch.manual_seed(5)
    model = converted(family, sinks=1)
    initialize_latents(model, texts(), method, seed)
    return model


def new_weights(model: Any) -> dict[str, Tensor]:
    return {
        f"{index}.{name}.{kind}": weight
        for index, layer in enumerate(latte_layers(model))
        for name in LATENT_NAMES
        for kind, weight in getattr(layer, name).named_parameters()
    }


@torch.no_grad()
def mean_error(model: Any) -> float:
    return float(torch.stack(transfer_errors(model, HELD_OUT, HELD_OUT)).mean())


@methods
@pytest.mark.parametrize("family", ("llama", "qwen2", "qwen3"))
def test_initialize_latents_beats_the_window_alone(method: Any, family: str) -> None:
    """On texts that it has not had; random latents gain by their gates alone."""
    alone = mean_error(converted(family, sinks=1))  # gates shut
    assert mean_error(initialized(method, family=family)) < 0.8 * alone


@torch.no_grad()
@methods
def test_initialize_latents_gates_follow_the_attention_outside(method: Any) -> None:
    """Beyond the window the latents' mean share is about what softmax gives to tokens outside."""
    model = initialized(method)
    shares: list[Tensor] = []

    def record(layer: Any, _: Any, words: dict[str, Tensor]) -> None:
        query, _ = layer.latent_logits(words["hidden_states"])
        gate = layer._logits(layer.gate, words["hidden_states"])
        shares.append(1 - (gate - query.logsumexp(-1)).sigmoid())

    layers = latte_layers(model)
    hooks = [layer.register_forward_pre_hook(record, with_kwargs=True) for layer in layers]
    samples = sample_layers(model, [HELD_OUT])
    for hook in hooks:
        hook.remove()
    for sample, share in zip(samples.values(), shares, strict=True):
        *_, outside, position = sample.tensors()
        beyond = position >= 7
        wanted, got = outside[beyond], share.flatten(0, 1)[beyond]
        assert abs(wanted.mean() - got.mean()) < 0.15


@torch.no_grad()
def test_sample_layers_outside_share_is_that_of_softmax() -> None:
    """Attention outside window and sinks, from the original's own weights."""
    model = converted(sinks=1)
    layer, sample = next(iter(sample_layers(model, [ids_of(40, 1)]).items()))
    _, _, _, outside, position = sample.tensors()
    before = original()
    before.set_attn_implementation("eager")
    weights = before(ids_of(40, 1), output_attentions=True).attentions[0][0]
    place = torch.arange(40)
    far = (place[:, None] - place >= layer.window) & (place >= 1)
    expected = (weights * far).sum(-1).T
    torch.testing.assert_close(outside, expected[position.long()], rtol=1e-3, atol=1e-5)


@methods
def test_initialize_latents_changes_new_weights_alone(method: Any) -> None:
    before, after = converted(sinks=1), initialized(method)
    mine = {id(weight) for weight in new_weights(after).values()}
    old = dict(before.named_parameters())
    for name, weight in after.named_parameters():
        if id(weight) not in mine:
            assert weight.equal(old[name]), name
        assert weight.isfinite().all() and weight.requires_grad


@methods
def test_initialize_latents_is_deterministic_by_seed(method: Any) -> None:
    first, again = (new_weights(initialized(method)) for _ in range(2))
    assert all(weight.equal(again[name]) for name, weight in first.items())
    other = new_weights(initialized(method, seed=1))
    same = all(weight.equal(other[name]) for name, weight in first.items())
    assert same == (method != "kmeans")  # the others draw nothing


def test_centres_of_kmeans_find_the_clusters_of_queries() -> None:
    generator = torch.Generator().manual_seed(0)
    means = 10 * torch.eye(4, 8)
    queries = means.repeat_interleave(50, 0) + 0.1 * torch.randn(200, 8, generator=generator)
    centres, spread = _centres(queries, torch.ones(200), 24, "kmeans", generator)
    assert torch.cdist(means, centres).amin(1).max() < 0.5
    assert torch.cdist(centres, means).amin(1).max() < 1
    assert spread < 0.1


def test_centres_of_kmeans_follow_the_weight_of_queries() -> None:
    """Queries whose attention stays inside the window get no latents."""
    generator = torch.Generator().manual_seed(0)
    means = 10 * torch.eye(2, 8)
    queries = means.repeat_interleave(50, 0) + 0.1 * torch.randn(100, 8, generator=generator)
    weight = torch.tensor([1.0, 0.0]).repeat_interleave(50)
    centres, _ = _centres(queries, weight, 8, "kmeans", generator)
    assert torch.cdist(centres, means).argmin(1).eq(0).all()


def test_centres_of_pca_lie_on_both_sides_of_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([5.0, 2.0, 0.1, 0.1])
    queries = 3 + scale * torch.randn(4000, 4, generator=generator)
    centres, _ = _centres(queries, torch.ones(4000), 4, "pca", generator)
    offsets = centres - queries.mean(0)
    torch.testing.assert_close(offsets[:2], -offsets[2:], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(offsets[:2].abs().diagonal(), scale[:2], rtol=0.1, atol=0)
    assert len(_centres(queries, torch.ones(4000), 3, "pca", generator)[0]) == 3


def test_ridge_shrinks_a_linear_map_by_its_penalty() -> None:
    """Inputs of equal variance: weights are those of least squares over 1 + RIDGE."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 3, generator=generator)
    wanted, bias = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]]), torch.tensor([4.0, -1.0])
    weights, offset = _Ridge(x)(x @ wanted.T + bias)
    torch.testing.assert_close(weights, wanted / (1 + RIDGE), rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(offset, bias, rtol=0, atol=5e-2)


def test_initialize_latents_refuses_an_unknown_method() -> None:
    with pytest.raises(ValueError, match="must be kmeans, pca or random, not 'best'"):
        initialize_latents(converted(), texts(), "best")  # type: ignore[arg-type]


def test_initialize_latents_refuses_short_texts_and_leaves_no_hooks() -> None:
    model = open_gates(converted(window=7, sinks=2))
    with torch.no_grad():
        expected = model(ids_of(30)).logits
        with pytest.raises(ValueError, match="texts of 9 tokens fit into window and sinks"):
            initialize_latents(model, [ids_of(30), ids_of(9)])
        assert model(ids_of(30)).logits.equal(expected)
