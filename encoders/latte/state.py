"""What Latte remembers of the tokens it has read: one weighted mean of the values per latent.

The state is kept normalised: u = sum_s softmax_s(k[s]) v[s] and z = logsumexp_s k[s]. It is a
convex average, so it never grows, and every exponent taken of it is a difference <= 0.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from encoders.latte.streams import read_out, summarise

# Logit of a token that does not exist. Finite, so that the difference of two of them is 0 and
# not NaN; far enough down that any real logit wipes it out exactly.
EMPTY = -1e30


class State(NamedTuple):
    """The tokens read so far, in a size that does not depend on how many they were.

    u is the mean of their values as each latent weighs them [B, H, Lh, Dh], z the logsumexp of
    their key logits [B, H, Lh]; both float32, or float64 for float64 inputs.
    """

    u: Tensor
    z: Tensor

    @classmethod
    def empty(
        cls,
        batch: int,
        heads: int,
        latents: int,
        width: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> State:
        """The state before the first token; latents and width (Dh) are those of one head."""
        u = torch.zeros(batch, heads, latents, width, dtype=dtype, device=device)
        return cls(u, torch.full_like(u[..., 0], EMPTY))

    @classmethod
    def of(cls, k: Tensor, v: Tensor, mask: Tensor | None = None) -> State:
        """The state after reading k [B, T, H, Lh], v [B, T, H, Dh], all tokens at once."""
        check(k, k, v, mask)
        wide = accumulator(k, v)
        with exact(v):
            values = v.to(product_dtype(v.dtype, wide))
            u, z = summarise(key_logits(k, wide, mask), values)
        return cls(drop_empty(u, mask), z)

    def merge(self, other: State) -> State:
        """The state after reading what both have read, in any order; either may be empty.

        Raises ValueError if the states differ in shape.
        """
        if self.u.shape != other.u.shape or self.z.shape != other.z.shape:
            raise ValueError(f"cannot merge states of {self._sizes()} and {other._sizes()}")
        z = torch.logaddexp(self.z, other.z)
        mine, theirs = (self.z - z).exp(), (other.z - z).exp()
        return State(mine[..., None] * self.u + theirs[..., None] * other.u, z)

    def read(self, q: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """What tokens with logits q [B, T, H, Lh] see of the state: [B, T, H, Dh].

        In `dtype`, q's if not given. Raises ValueError if q does not fit the state.
        """
        batch, heads, latents = self.z.shape
        if q.dim() != 4 or (q.shape[0], *q.shape[2:]) != (batch, heads, latents):
            raise ValueError(f"q is {list(q.shape)}, but the state is {self._sizes()}")
        dtype = dtype or q.dtype
        wide = accumulator(q, self.u)
        with exact(q):
            y = read_out(q.to(wide), self.u.to(wide), product_dtype(dtype, wide))
            return y.to(dtype)

    def _sizes(self) -> str:
        return f"u {list(self.u.shape)}, z {list(self.z.shape)}"


def drop_empty(u: Tensor, mask: Tensor | None) -> Tensor:
    """u with zeros for rows without any real token, where the softmax is uniform over pads."""
    return u if mask is None else u.masked_fill(~mask.any(1)[:, None, None, None], 0)


def key_logits(k: Tensor, dtype: torch.dtype, mask: Tensor | None) -> Tensor:
    """k in `dtype`, with the logits of pads at EMPTY."""
    k = k.to(dtype)
    return k if mask is None else k.masked_fill(~mask[..., None, None], EMPTY)


def accumulator(*tensors: Tensor) -> torch.dtype:
    """The dtype of exponentials and states: float64 if anything is, else float32."""
    wide = any(tensor.dtype == torch.float64 for tensor in tensors)
    return torch.float64 if wide else torch.float32


def product_dtype(values: torch.dtype, wide: torch.dtype) -> torch.dtype:
    """The dtype of the large matrix products: bfloat16 for bfloat16 values, else the wide one.

    float16 lacks the range: over many tokens the weights, about 1/T, would underflow.
    """
    return values if values == torch.bfloat16 else wide


def exact(tensor: Tensor) -> AbstractContextManager[object]:
    """Keeps autocast from lowering the products below the dtypes chosen here."""
    kind = tensor.device.type
    if kind == "meta" or not torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


def check(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
    """Raises ValueError unless q, k [B, T, H, Lh], v [B, T, H, Dh] and mask [B, T] agree."""
    if q.dim() != 4 or q.shape != k.shape or v.dim() != 4 or q.shape[:3] != v.shape[:3]:
        shapes = f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)}"
        raise ValueError(f"q and k must be [B, T, H, Lh] and v [B, T, H, Dh], got {shapes}")
    if q.shape[1] == 0:
        raise ValueError(f"at least one token is needed, got k {list(k.shape)}")
    check_mask(mask, v.shape[:2])


def check_mask(mask: Tensor | None, shape: torch.Size) -> None:
    """Raises ValueError unless the mask is bool and of that shape."""
    if mask is not None and (mask.dtype != torch.bool or mask.shape != shape):
        got = f"{mask.dtype} {list(mask.shape)}"
        raise ValueError(f"the mask must be torch.bool {list(shape)} (True = real), got {got}")


def check_state(state: State, k: Tensor, v: Tensor) -> None:
    """Raises ValueError unless the state was made for tokens like k [B, ..] and v [B, ..]."""
    z = (k.shape[0], *k.shape[-2:])
    if state.z.shape != z or state.u.shape != (*z, v.shape[-1]):
        shapes = f"k {list(k.shape)}, v {list(v.shape)}"
        raise ValueError(f"the state is {state._sizes()}, but the tokens are {shapes}")
