"""Fit the latents of a converted ViT to its own softmax attention on some images, in minutes.

First in closed form: a latent stands for a cluster of queries, its key logits are those of the
cluster's centre (clustered attention, Vyas et al., arXiv 2007.04825), its query logits how near a
query is to that centre, and the gate follows the best mixture of window and latents; all three are
ridge regressions on the layer's input. Then by attention transfer (Zhang et al., LoLCATs, arXiv
2410.10254): each layer's attention, given the original's input, approaches the original's. No
gradient passes between layers, and window and softmax attention are computed only once an image,
so a step costs the latents alone.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from encoders.latte import State
from encoders.tiling import Grid
from encoders.vision.macchiato_attention import MacchiatoAttention

QUERIES, ITERATIONS = 4096, 15
"""Queries that are clustered, and steps of k-means."""
RIDGE = 0.01
"""Ridge penalty over the mean eigenvalue of the inputs' covariance."""


class Example(NamedTuple):
    """One image at one layer.

    Of all tokens inputs x `[1, T, D]`, keys and values `[1, T, H, Dh]`; of its patches queries,
    attention to the window and, as the target, to everything, `[1, R * C, H, Dh]`.
    """

    x: Tensor
    k: Tensor
    v: Tensor
    q: Tensor
    near: Tensor
    target: Tensor


class Fit(NamedTuple):
    """Relative errors of one layer's attention: of the window alone, in closed form, and after."""

    window: float
    initial: float
    final: float


def fit_latents(
    vit: Any, images: Iterable[Tensor], steps: int = 150, lr: float = 3e-4, seed: int = 0
) -> list[Fit]:
    """Fit the latents of a converted `vit`, layer by layer; return the errors of each layer.

    `images` `[1, 3, H, W]` are normalised, with sides that are multiples of the patch, and larger
    than the window, or there is nothing to learn. Their inputs to all layers are held in memory.
    Only the parameters that conversion added change.
    """
    generator = torch.Generator().manual_seed(seed)
    fits = []
    for layer, inputs in _record(vit, images).items():
        with torch.no_grad():
            examples = [_example(layer, *one) for one in inputs]
            inputs.clear()
            window = _mean([_error(one, one.near) for one in examples])
            _initialize(layer, examples, generator)
            initial = _mean([_error(one, _attend(layer, one)) for one in examples])
        _transfer(layer, examples, steps, lr)
        with torch.no_grad():
            final = _mean([_error(one, _attend(layer, one)) for one in examples])
        fits.append(Fit(window, initial, final))
    return fits


@torch.no_grad()
def _record(
    vit: Any, images: Iterable[Tensor]
) -> dict[MacchiatoAttention, list[tuple[Tensor, Tensor | None, Grid]]]:
    """Inputs of each converted layer where all layers attend by softmax to everything."""
    layers = [module for module in vit.modules() if isinstance(module, MacchiatoAttention)]
    inputs: dict[Any, list[tuple[Tensor, Tensor | None, Grid]]] = {layer: [] for layer in layers}

    def record(layer: Any, args: tuple[Tensor], words: dict[str, Any], _: Tensor) -> Tensor:
        x, rope = args[0], words.get("rope")
        inputs[layer].append((x, rope, words["attn_mask"]))
        q, k, v = layer.project(x, rope)
        out: Tensor = layer.output(x, _softmax(q, k, v))
        return out

    hooks = [layer.register_forward_hook(record, with_kwargs=True) for layer in layers]
    patch = vit.patch_embed.patch_size
    try:
        for image in images:
            grid = Grid(image.shape[2] // patch[0], image.shape[3] // patch[1])
            vit.forward_features(image, attn_mask=grid)
    finally:
        for hook in hooks:
            hook.remove()
    return inputs


def _softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of every token to every token, `[B, T, H, Dh]`."""
    parts = (part.transpose(1, 2) for part in (q, k, v))
    return scaled_dot_product_attention(*parts).transpose(1, 2)  # type: ignore[arg-type]


def _example(layer: MacchiatoAttention, x: Tensor, rope: Tensor | None, grid: Grid) -> Example:
    q, k, v = layer.project(x, rope)
    near, target = layer.attend_window(q, k, v, grid), _softmax(q, k, v)
    if rope is not None:  # latents cannot rotate: they see queries and keys without positions
        q, k, _ = layer.project(x)
    patches = slice(layer.prefix, None)
    # Copies: views would hold queries, keys and values of every image.
    return Example(x, k.clone(), v.clone(), q[:, patches].clone(), near, target[:, patches].clone())


def _attend(layer: MacchiatoAttention, one: Example) -> Tensor:
    """What the converted layer makes of the patches."""
    state = State.of(layer.logits(layer.latent_key, one.x), one.v)
    return layer.mix(one.x[:, layer.prefix :], one.near, state)


def _error(one: Example, y: Tensor) -> Tensor:
    return (y - one.target).square().sum() / one.target.square().sum()


def _mean(errors: list[Tensor]) -> float:
    """The root of the mean squared error."""
    return float(torch.stack(errors).mean().sqrt())


def _initialize(
    layer: MacchiatoAttention, examples: list[Example], generator: torch.Generator
) -> None:
    """Set one layer's latents and gate in closed form."""
    x = torch.cat([one.x.flatten(0, 1) for one in examples])
    patches = torch.cat([one.x[:, layer.prefix :].flatten(0, 1) for one in examples])
    q = torch.cat([one.q.flatten(0, 1) for one in examples])
    k = torch.cat([one.k.flatten(0, 1) for one in examples])
    sample = torch.randperm(len(q), generator=generator)[:QUERIES].to(q.device)
    keys, queries = [], []
    for head in range(layer.heads):
        centres, spread = _centres(q[sample, head], layer.latents, generator)
        keys.append(k[:, head] @ centres.T * layer.head_dim**-0.5)
        queries.append((q[:, head] @ centres.T - centres.square().sum(1) / 2) / spread)
    _set(layer.latent_key, x, torch.cat(keys, 1), layer.gain)
    _set(layer.latent_query, patches, torch.cat(queries, 1), layer.gain)
    gates, weights = zip(*(_best_gate(layer, one) for one in examples), strict=True)
    _set(layer.latent_gate, patches, torch.cat(gates), layer.gain, torch.cat(weights))


def _best_gate(layer: MacchiatoAttention, one: Example) -> tuple[Tensor, Tensor]:
    """Gate logits `[N, H]` that mix window and latents best, and how much each matters."""
    state = State.of(layer.logits(layer.latent_key, one.x), one.v)
    query = layer.logits(layer.latent_query, one.x[:, layer.prefix :])
    far = state.read(query)
    apart = one.near - far
    scale = apart.square().sum(-1).clamp(min=1e-6)
    share = (((one.target - far) * apart).sum(-1) / scale).clamp(0.02, 0.98)
    weight = scale * (share * (1 - share)).square()
    gate = share.logit() + query.logsumexp(-1)
    return gate.flatten(0, 1), weight.flatten(0, 1)


def _centres(q: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Centres `[count, Dh]` of clusters of queries `[N, Dh]`, and their variance by channel."""
    start = torch.randint(len(q), (count,), generator=generator).to(q.device)
    centres = q[start]
    for _ in range(ITERATIONS):
        member = nn.functional.one_hot(torch.cdist(q, centres).argmin(1), count).to(q.dtype)
        total = member.sum(0)[:, None]
        centres = torch.where(total > 0, member.T @ q / total.clamp(min=1), centres)
    return centres, torch.cdist(q, centres).amin(1).square().mean() / q.shape[1] + 1e-6


def _set(
    layer: nn.Linear, x: Tensor, target: Tensor, gain: float, weight: Tensor | None = None
) -> None:
    """Least squares of `target` `[N, M]` on x `[N, D]`, of `weight` `[N, M]`, into `layer`."""
    x = torch.cat([x, x.new_ones(len(x), 1)], 1)
    if weight is None:
        solution = _ridge(x.T @ x, x.T @ target)
    else:
        columns = zip(target.T, weight.T, strict=True)
        solution = torch.stack(
            [_ridge(x.T @ (x * w[:, None]), x.T @ (y * w)) for y, w in columns], 1
        )
    layer.weight.copy_(solution[:-1].T / gain)
    if layer.bias is not None:  # keys have none: it would change nothing
        layer.bias.copy_(solution[-1] / gain)


def _ridge(covariance: Tensor, product: Tensor) -> Tensor:
    penalty = RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
    return torch.linalg.solve(covariance + penalty, product)


def _transfer(layer: MacchiatoAttention, examples: list[Example], steps: int, lr: float) -> None:
    """Adam on the error of one layer, one image a step, the learning rate falling to 0."""
    modules = (layer.latent_query, layer.latent_key, layer.latent_gate)
    weights = [weight for module in modules for weight in module.parameters()]
    frozen = [weight for weight in weights if not weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr)
    for weight in frozen:
        weight.requires_grad_(True)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        one = examples[step % len(examples)]
        with torch.enable_grad():
            gradients = torch.autograd.grad(_error(one, _attend(layer, one)), weights)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        optimizer.step()
        optimizer.zero_grad()
    for weight in frozen:
        weight.requires_grad_(False)
