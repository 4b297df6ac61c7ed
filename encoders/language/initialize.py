"""Initial latents of a converted model from its own attention, in closed form, no gradients.

A latent stands for a cluster of queries: its key logits are those of the cluster's centre, its
query logits how near a query is to that centre. The gate's logits follow the share of attention
that falls outside the window. All three are ridge regressions on the layer's input, so they fit
models with biases, query and key norms or grouped queries alike.
"""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from encoders.language.attention import MacchiatoAttention, rotate

Method = Literal["kmeans", "pca", "random"]

ROWS = 512
"""Tokens recorded of each sequence."""
ITERATIONS = 12
"""Steps of k-means."""
RIDGE = 1.0
"""Ridge penalty over the mean eigenvalue of the inputs' covariance."""
SOFTNESS = 4.0
"""Query logits count squared distances to centres in units of their mean over this number."""
SINK_LOGIT = -8.0
"""Key logit of a sink below the mean: the window has the sinks, and they would capture latents."""


class LayerSample:
    """Inputs of one layer and, of each token, queries, keys and attention outside the window.

    Tokens of all sequences in a row: `x` `[N, D]`, `q` `[N, H, Dh]`, `k` `[N, H, Dh]` (repeated for
    grouped queries, turned by the mean rotation between a query and keys outside the window),
    `outside` `[N, H]` in [0, 1], `position` `[N]` in its sequence.
    """

    def __init__(self) -> None:
        self.parts: list[tuple[Tensor, ...]] = []

    def add(
        self, layer: MacchiatoAttention, x: Tensor, position_embeddings: tuple[Tensor, Tensor]
    ) -> None:
        """Record the layer's input `x` `[B, T, D]`."""
        q, k, _ = layer.project(x)
        place = _sample(x.shape[1], layer.sinks, x.device)
        outside = _outside_share(layer, q, k, *position_embeddings, place)
        distance = torch.arange(layer.window, max(x.shape[1], layer.window + 1), device=x.device)
        cos, sin = (part.mean(1, keepdim=True) for part in layer.rotary[0](k, distance[None]))
        k = rotate(k, cos, -sin).repeat_interleave(layer.heads // k.shape[2], 2)
        rows = (t[:, place] for t in (x, q, k))
        position = place.expand(len(x), -1)
        self.parts.append(tuple(t.flatten(0, 1).float() for t in (*rows, outside, position)))

    def tensors(self) -> list[Tensor]:
        return [torch.cat(part) for part in zip(*self.parts, strict=True)]


def _sample(length: int, sinks: int, device: torch.device) -> Tensor:
    """Places of the tokens that are recorded: the sinks and others at even distances."""
    rest = torch.linspace(sinks, length - 1, min(ROWS, length - sinks), device=device).long()
    return torch.cat([torch.arange(sinks, device=device), rest])


def _outside_share(
    layer: MacchiatoAttention, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, place: Tensor
) -> Tensor:
    """Share of softmax attention outside window and sinks of the tokens at `place`, `[B, R, H]`."""
    q, k = rotate(q, cos, sin)[:, place], rotate(k, cos, sin)
    k = k.repeat_interleave(layer.heads // k.shape[2], 2)
    keys = torch.arange(k.shape[1], device=k.device)
    distance = place[:, None] - keys
    scores = q.transpose(1, 2).float() @ k.permute(0, 2, 3, 1).float() * layer.scaling
    weights = scores.masked_fill_(distance < 0, -torch.inf).softmax(-1)
    outside = (distance >= layer.window) & (keys >= layer.sinks)
    return (weights * outside).sum(-1).transpose(1, 2)


@torch.no_grad()
def initialize_latents(
    model: Any, batches: Iterable[Tensor], method: Method = "kmeans", seed: int = 0
) -> None:
    """Set the latents and gates of a converted model from some text, `batches` int `[B, T]`.

    The text is read with the model's softmax attention, so T must exceed window and sinks. `kmeans`
    clusters queries, `pca` takes the principal directions of queries, both ways, as centres,
    `random` leaves the latents random; gates are fitted in all three.
    Raises ValueError for an unknown method or texts that fit into window and sinks.
    """
    if method not in ("kmeans", "pca", "random"):
        raise ValueError(f"method must be kmeans, pca or random, not {method!r}")
    samples = sample_layers(model, batches)
    generator = torch.Generator().manual_seed(seed)
    for layer, sample in samples.items():
        fit_layer(layer, sample, method, generator)
        sample.parts.clear()


def sample_layers(model: Any, batches: Iterable[Tensor]) -> dict[MacchiatoAttention, LayerSample]:
    """Read `batches` with softmax attention; what each converted layer saw."""
    layers = [layer for layer in model.modules() if isinstance(layer, MacchiatoAttention)]
    samples = {layer: LayerSample() for layer in layers}

    def record(layer: Any, _: Any, words: dict[str, Any], __: Any) -> tuple[Tensor, None]:
        x, positions = words["hidden_states"], words["position_embeddings"]
        samples[layer].add(layer, x, positions)
        return layer.softmax(x, *positions), None

    hooks = [layer.register_forward_hook(record, with_kwargs=True) for layer in layers]
    try:
        for ids in batches:
            reach = layers[0].window + layers[0].sinks if layers else 0
            if layers and ids.shape[1] <= reach:
                raise ValueError(
                    f"texts of {ids.shape[1]} tokens fit into window and sinks, {reach} tokens"
                )
            model.model(input_ids=ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return samples


def fit_layer(
    layer: MacchiatoAttention, sample: LayerSample, method: Method, generator: torch.Generator
) -> None:
    """Set one layer's latents and gate from what it saw."""
    x, q, k, outside, position = sample.tensors()
    solve = _Ridge(x)
    logits = torch.zeros(len(x), layer.heads, layer.latents, device=x.device)
    if method == "random":
        logits = layer.latent_logits(x.to(layer.gate.weight.dtype))[0].float()
    else:
        keys = torch.zeros_like(logits)
        for head in range(layer.heads):
            centres, spread = _centres(
                q[:, head], outside[:, head], layer.latents, method, generator
            )
            logits[:, head] = (q[:, head] @ centres.T - centres.square().sum(1) / 2) / spread
            keys[:, head] = k[:, head] @ centres.T * layer.scaling
        keys -= keys.mean(0)
        keys[position < layer.sinks] = SINK_LOGIT
        weight = 1.0 + 63.0 * (position < layer.sinks)
        _set(layer.latent_key, _Ridge(x, weight)(keys.flatten(1)), layer.gain)
        # A constant on all latents of a token changes nothing: large ones would only round.
        logits -= logits.mean(-1, keepdim=True)
        _set(layer.latent_query, solve(logits.flatten(1)), layer.gain)
    # Against the logits before ridge regression shrinks them: a gate a little more open. Against
    # the fitted ones the initial error is larger (docs/log.md).
    share = (1 - outside).clamp(0.02, 0.9999)
    target = share.log() - (1 - share).log() + logits.logsumexp(-1)
    beyond = position >= layer.window
    _set(layer.gate, _Ridge(x[beyond])(target[beyond]), layer.gain)


def _centres(
    q: Tensor, weight: Tensor, count: int, method: Method, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`count` centres `[count, Dh]` of queries `[N, Dh]`, and the scale of squared distances."""
    weight = weight + 1e-4 * weight.mean() + 1e-12
    if method == "pca":
        mean = (weight[:, None] * q).sum(0) / weight.sum()
        _, scale, axes = torch.linalg.svd((q - mean) * weight.sqrt()[:, None], full_matrices=False)
        half = -(-count // 2)
        steps = (scale[:half] / weight.sum().sqrt())[:, None] * axes[:half]
        centres = (mean + torch.cat([steps, -steps]))[:count]
        return centres, _spread(q, centres, weight)
    start = torch.multinomial(weight.cpu(), count, generator=generator).to(q.device)
    centres = q[start]
    for _ in range(ITERATIONS):
        nearest = torch.cdist(q, centres).argmin(1)
        member = torch.zeros(len(q), count, device=q.device)
        member[torch.arange(len(q)), nearest] = weight
        total = member.sum(0)
        centres = torch.where(total[:, None] > 0, (member.T @ q) / total[:, None], centres)
    return centres, _spread(q, centres, weight)


def _spread(q: Tensor, centres: Tensor, weight: Tensor) -> Tensor:
    nearest = torch.cdist(q, centres).amin(1).square()
    return (nearest * weight).sum() / weight.sum() / SOFTNESS + 1e-6


class _Ridge:
    """Least squares on inputs `[N, D]`, of `weight` `[N]`, with a small penalty and a bias."""

    def __init__(self, x: Tensor, weight: Tensor | None = None) -> None:
        self.weight = x.new_ones(len(x)) if weight is None else weight
        self.mean = (self.weight[:, None] * x).sum(0) / self.weight.sum()
        self.x = x - self.mean
        covariance = self.x.T @ (self.weight[:, None] * self.x)
        penalty = RIDGE * covariance.diagonal().mean()
        self.factor = torch.linalg.cholesky(
            covariance + penalty * torch.eye(len(covariance), device=x.device)
        )

    def __call__(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Weights `[M, D]` and bias `[M]` for targets `[N, M]`."""
        offset = (self.weight[:, None] * target).sum(0) / self.weight.sum()
        product = self.x.T @ (self.weight[:, None] * (target - offset))
        weights = torch.cholesky_solve(product, self.factor).T
        return weights, offset - weights @ self.mean


def _set(layer: nn.Linear, fitted: tuple[Tensor, Tensor], gain: float) -> None:
    weights, bias = fitted
    layer.weight.copy_(weights / gain)
    if layer.bias is not None:
        layer.bias.copy_(bias / gain)
