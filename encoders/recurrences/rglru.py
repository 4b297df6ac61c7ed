"""The real-gated linear recurrent unit of Griffin (De et al., arXiv 2402.19427, section 2.4)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.latte.state import accumulator, check_mask
from encoders.linear_recurrence import linear_recurrence

SHARPNESS = 8.0
"""c of the paper: how far the recurrence gate can move the logarithm of a decay."""

DECAYS = (0.9, 0.999)
"""Range of the decay a^c at the start of training, where the recurrence gate is fully open."""


class Recurrence(nn.Module):
    """h_t = a_t h_{t-1} + sqrt(1 - a_t^2) (i_t x_t), with a_t = exp(-c softplus(L) r_t).

    Both gates, r_t for the recurrence and i_t for the input, are sigmoids of x_t. Their matrices
    are block-diagonal with `heads` blocks, as in Griffin's code: full ones (heads = 1) would be as
    large as the layer's own projections. The state is h [B, D], float32 or float64.
    Raises ValueError if heads do not divide the width.
    """

    def __init__(self, dim: int, heads: int = 4) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} must divide by heads {heads}")
        width = dim // heads
        self.gates = nn.Parameter(torch.empty(2, heads, width, width))  # of recurrence, of input
        self.bias = nn.Parameter(torch.zeros(2, dim))
        self.rate = nn.Parameter(torch.empty(dim))  # Lambda of the paper
        nn.init.normal_(self.gates, std=width**-0.5)  # LeCun normal
        with torch.no_grad():
            decay = torch.empty(dim).uniform_(*DECAYS)
            self.rate.copy_((-decay.log() / SHARPNESS).expm1().log())  # inverse of softplus

    def empty(
        self, batch: int, dtype: torch.dtype, device: torch.device | str | None = None
    ) -> Tensor:
        wide = torch.promote_types(dtype, torch.float32)
        return torch.zeros(batch, self.rate.shape[0], dtype=wide, device=device)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Raises ValueError if the mask or the state does not fit x."""
        check_mask(mask, x.shape[:2])
        if state is None:
            state = self.empty(x.shape[0], x.dtype, x.device)
        if mask is not None:
            x = x.masked_fill(~mask[..., None], 0)  # a pad adds nothing ..
        log_decay, drive = self._terms(x)
        if mask is not None:
            log_decay = log_decay.masked_fill(~mask[..., None], 0)  # .. and takes nothing away
        h = linear_recurrence(log_decay.exp(), drive, state)
        return h.to(x.dtype), h[:, -1].clone()  # a view would keep all of h alive

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h, state = self(x.unsqueeze(1), None, state)
        return h.squeeze(1), state

    def _terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log a_t and sqrt(1 - a_t^2) (i_t x_t), both [B, T, D] in float32 or float64."""
        dtype = accumulator(x)
        blocks = x.unflatten(-1, (self.gates.shape[1], -1))
        recurrence, entry = (
            (torch.einsum("bthi,hij->bthj", blocks, gate).flatten(-2).to(dtype) + bias).sigmoid()
            for gate, bias in zip(self.gates, self.bias, strict=True)
        )
        log_decay = recurrence * (-SHARPNESS * F.softplus(self.rate.to(dtype)))
        # 1 - a^2 without cancellation where a is near 1; kept off 0, where the slope of the root
        # is infinite.
        rest = (-(2 * log_decay).expm1()).clamp(min=torch.finfo(dtype).tiny)
        return log_decay, rest.sqrt() * entry * x.to(dtype)
