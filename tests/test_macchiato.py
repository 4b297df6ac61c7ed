"""Latte-Macchiato as a layer: against its formula, on grids, and against the reference arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from encoders import mixers
from encoders.latte import naive
from encoders.mixers.macchiato import Mixer
from encoders.position import count_places, rotate
from encoders.tiling import Grid

FILES = sorted((Path(__file__).parent / "data" / "latte").glob("macchiato_*.npz"))
close = torch.testing.assert_close


def make(**words: object) -> Mixer:
    torch.manual_seed(0)
    mixer = mixers.create("macchiato", 16, 2, latents=6, **words).double()
    assert isinstance(mixer, Mixer)
    return mixer


def draw(batch: int, tokens: int) -> Tensor:
    generator = torch.Generator().manual_seed(tokens)
    return torch.randn(batch, tokens, 16, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@torch.no_grad()
def test_the_layer_is_the_reference(path: Path) -> None:
    with np.load(path) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    heads, width = int(arrays["H"]), arrays["X"].shape[-1]
    mixer = mixers.create(
        "macchiato",
        width,
        heads,
        latents=heads * int(arrays["Lh"]),
        window=int(arrays["window"]),
        rotary=bool(arrays["theta"].numel()),
        gain=1,
    ).double()
    logits = arrays["Wq"].unflatten(1, (heads, -1))
    weights = {
        **{"gate": logits[..., 0], "query": logits[..., 1:].flatten(1), "key": arrays["Wk"]},
        **{"near_query": arrays["Wq0"], "near_key": arrays["Wk0"]},
        **{"value": arrays["Wv"], "out": arrays["o_proj"]},
    }
    mixer.load_state_dict({f"{name}.weight": weight.T for name, weight in weights.items()})
    x = arrays["X"]
    close(mixer.causal(x)[0], arrays["y"], rtol=0, atol=1e-10)  # type: ignore[operator]
    half = x.shape[1] // 2
    if half:
        state = mixer.prefix(x[:, :half])  # type: ignore[operator]
        for place in range(half, x.shape[1]):
            y, state = mixer.step(x[:, place], state)  # type: ignore[operator]
            close(y, arrays["y"][:, place], rtol=0, atol=1e-10)


def judge(mixer: Mixer, x: Tensor, near: Tensor, places: Tensor) -> Tensor:
    """One softmax over gate and latents; `near` [T, T] says which tokens the gate may read."""

    def split(layer: torch.nn.Module) -> Tensor:
        return layer(x).unflatten(-1, (2, -1))  # type: ignore[no-any-return]

    q, k, v = split(mixer.query), split(mixer.key), split(mixer.value)
    q, k = mixer.gain * q, mixer.gain * k
    p = torch.cat([mixer.gain * split(mixer.gate), q], -1).softmax(-1)
    near_q, near_k = (rotate(split(m), places) for m in (mixer.near_query, mixer.near_key))
    local = torch.einsum("bthd,bshd->bhts", near_q, near_k) / 8**0.5
    local = local.masked_fill(~near, -torch.inf).softmax(-1)
    # naive.bidirectional_weights softmaxes q itself: give it the latents' logits, weigh them.
    far = naive.bidirectional_weights(q, k)
    gate = p[..., 0].transpose(1, 2)[..., None]
    mixed = torch.einsum("bhts,bshd->bthd", gate * local + (1 - gate) * far, v)
    return mixer.out(mixed.flatten(2))  # type: ignore[no-any-return]


def agree(mixer: Mixer, fast: Tensor, expected: Tensor, x: Tensor) -> None:
    close(fast, expected, rtol=0, atol=1e-10)
    leaves = [x, *mixer.parameters()]
    cotangent = draw(*expected.shape[:2])
    for got, wanted in zip(
        torch.autograd.grad(fast, leaves, cotangent),
        torch.autograd.grad(expected, leaves, cotangent),
        strict=True,
    ):
        close(got, wanted, rtol=0, atol=1e-10)


def test_bidirectional_is_its_formula_with_gradients() -> None:
    mixer, x = make(window=4), draw(1, 70).requires_grad_()
    place = torch.arange(70)
    near = (place - place[:, None]).abs() < 4
    agree(mixer, mixer(x), judge(mixer, x, near, count_places(x, None)), x)


@pytest.mark.parametrize("text", (0, 5))
def test_on_a_grid_near_is_a_square_of_patches(text: int) -> None:
    grids, tokens = (Grid(9, 11), Grid(2, 3)), 9 * 11 + 6 + text
    mixer, x = make(window=2, radius=2), draw(1, tokens).requires_grad_()
    near = torch.zeros(tokens, tokens, dtype=torch.bool)
    start = 0
    places = []
    for grid in grids:
        row, column = torch.meshgrid(
            torch.arange(grid.rows), torch.arange(grid.columns), indexing="ij"
        )
        at = torch.stack([row.flatten(), column.flatten()], -1)
        square = (at - at[:, None]).abs().amax(-1) <= 2
        near[start : start + grid.size, start : start + grid.size] = square
        places.append(at)
        start += grid.size
    place = torch.arange(text)
    near[start:, start:] = (place - place[:, None]).abs() < 2
    places.append((50 + place)[:, None].expand(-1, 2))
    where = torch.cat(places)[None].double()
    agree(mixer, mixer(x, None, where, [grids]), judge(mixer, x, near, where), x)


def test_a_mixed_batch_of_grids_is_each_alone() -> None:
    mixer = make(window=3, radius=1)
    shapes: list[tuple[Grid, ...]] = [(Grid(3, 4),), (), (Grid(2, 2), Grid(1, 3)), (Grid(3, 4),)]
    lengths = [14, 5, 9, 20]
    x, mask = draw(4, 20), torch.arange(20) < torch.tensor(lengths)[:, None]
    y = mixer(x, mask, None, shapes)
    for row, (grids, length) in enumerate(zip(shapes, lengths, strict=True)):
        alone = mixer(x[row : row + 1, :length], None, None, [grids])
        close(y[row, :length], alone[0], rtol=0, atol=1e-12)


@torch.no_grad()
def test_an_open_gate_starts_as_softmax_attention_in_the_window() -> None:
    opened, shut, x = make(window=30, open_gate=True), make(window=30), draw(1, 200)
    shut.load_state_dict(opened.state_dict())
    place = torch.arange(200)
    near = (place <= place[:, None]) & (place > place[:, None] - 30)
    parts = (opened.near_query(x), opened.near_key(x), opened.value(x))
    q, k, v = (part.unflatten(2, (2, 8)) for part in parts)
    q, k = (rotate(part, count_places(x, None)).transpose(1, 2) for part in (q, k))
    y = scaled_dot_product_attention(q, k, v.transpose(1, 2), near)
    window = opened.out(y.transpose(1, 2).flatten(2))
    wrong, far = ((mixer.causal(x)[0] - window).norm() for mixer in (opened, shut))
    assert wrong < 0.15 * window.norm() < 0.5 * far


@pytest.mark.parametrize("words", ({"window": 0}, {"radius": -1}))
def test_windows_without_a_token_are_refused(words: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        mixers.create("macchiato", 16, 2, **words)
