"""Rotary positions, and VAPOR in one and two dimensions against its formula."""

import pytest
import torch
from torch import Tensor

from encoders import mixers
from encoders.latte import naive
from encoders.mixers.latte import Mixer
from encoders.position import count_places, next_place, rotate

close = torch.testing.assert_close


def draw(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def matrix(by: Tensor, width: int) -> Tensor:
    """The rotation of a head by one place, (p,) or (row, column), written out: [Dh, Dh]."""
    blocks = []
    for pair in range(width // 2):
        angle = by[pair % len(by)] * 10_000 ** (-2 * pair / width)
        cos, sin = angle.cos(), angle.sin()
        blocks.append(torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])]))
    return torch.block_diag(*blocks)


@pytest.mark.parametrize("coordinates", (1, 2))
def test_rotation_is_its_matrix(coordinates: int) -> None:
    x, places = draw(2, 3, 2, 8), draw(2, 3, coordinates) * 50
    got = rotate(x, places.squeeze(-1))
    for b in range(2):
        for t in range(3):
            expected = x[b, t] @ matrix(places[b, t], 8).T
            close(got[b, t], expected, rtol=0, atol=1e-12)


def test_equal_coordinates_are_one() -> None:
    x, place = draw(2, 5, 2, 8), torch.arange(5.0).expand(2, -1)
    close(rotate(x, place.unsqueeze(-1).expand(-1, -1, 2)), rotate(x, place), rtol=0, atol=0)


def test_products_depend_on_the_difference_of_places() -> None:
    q, k, place = draw(1, 1, 1, 8), draw(1, 1, 1, 8), torch.tensor([[[3.0, 7.0]]])

    def product(shift: float) -> Tensor:
        return (rotate(q, place + shift) * rotate(k, torch.zeros(1, 1, 2) + shift)).sum()

    close(product(0), product(1000), rtol=0, atol=1e-9)
    assert (product(0) - (q * k).sum()).abs() > 0.01


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_rotation_keeps_the_dtype(dtype: torch.dtype) -> None:
    x, place = draw(1, 4, 2, 8).to(dtype), torch.full((1, 4), 5000.0)
    assert rotate(x, place).dtype == dtype
    close(rotate(x, place).double(), rotate(x.double(), place), rtol=0.01, atol=0.02)


def test_widths_without_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="even width.*got 5"):
        rotate(draw(1, 2, 1, 5), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="divisible by 4.*got 6"):
        rotate(draw(1, 2, 1, 6), torch.zeros(1, 2, 2))


def test_places_count_real_tokens_onwards() -> None:
    mask = torch.tensor([[True, False, True], [False, True, True]])
    start = torch.tensor([5.0, 0.0])
    places = count_places(draw(2, 3, 1), mask, start)
    assert places[mask].tolist() == [5, 6, 0, 1]
    assert next_place(places, mask, start).tolist() == [7, 2]
    assert next_place(places, torch.zeros_like(mask), start).tolist() == [5, 0]
    grid = torch.tensor([[[0.0, 9.0], [3.0, 1.5], [99.0, 99.0]]])
    assert next_place(grid, torch.tensor([[True, True, False]])).tolist() == [10]


@pytest.mark.parametrize("way", ("bidirectional", "causal"))
@pytest.mark.parametrize("coordinates", (1, 2))
def test_vapor_is_its_formula_with_gradients(way: str, coordinates: int) -> None:
    """y_t = W_o concat_h sum_s p(s|t) R(t - s) v_s, in the places of a patch grid and of text."""
    torch.manual_seed(0)
    mixer = mixers.create("latte", 16, 2, latents=6, vapor=True, gain=1).double()
    assert isinstance(mixer, Mixer)
    x, places = draw(1, 7, 16).requires_grad_(), (draw(1, 7, coordinates) * 9).round()

    def judge() -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (2, -1)) for layer in (mixer.query, mixer.key, mixer.value)
        )
        weights = getattr(naive, f"{way}_weights")(q, k)[0]  # [H, T, T]
        rows = []
        for t in range(7):
            turned = torch.stack(
                [v[0, s] @ matrix(places[0, t] - places[0, s], 8).T for s in range(7)]
            )
            rows.append(torch.einsum("hs,shd->hd", weights[:, t], turned).flatten())
        return mixer.out(torch.stack(rows))[None]  # type: ignore[no-any-return]

    def fast() -> Tensor:
        where = places.squeeze(-1) if coordinates == 1 else places
        return (
            mixer(x, None, where)
            if way == "bidirectional"
            else mixer.causal(x, None, None, where)[0]
        )

    leaves, cotangent = [x, *mixer.parameters()], draw(1, 7, 16)
    close(fast(), judge(), rtol=0, atol=1e-10)
    for got, expected in zip(
        torch.autograd.grad(fast(), leaves, cotangent),
        torch.autograd.grad(judge(), leaves, cotangent),
        strict=True,
    ):
        close(got, expected, rtol=0, atol=1e-10)


def test_vapor_in_a_grid_tells_rows_from_columns() -> None:
    torch.manual_seed(0)
    mixer = mixers.create("latte", 16, 2, latents=6, vapor=True).double()
    x, across = draw(1, 2, 16), torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
    assert not torch.allclose(mixer(x, None, across), mixer(x, None, across.flip(-1)))
    close(mixer(x, None, across), mixer(x, None, across + 40), rtol=0, atol=1e-10)  # relative
