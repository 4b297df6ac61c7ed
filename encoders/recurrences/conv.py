"""A short causal convolution, channel by channel (as in Griffin, arXiv 2402.19427, section 2.4)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.latte.state import check_mask
from encoders.packing import pack, rows


class Recurrence(nn.Module):
    """Every token plus a learned combination of itself and the width - 1 real tokens before it.

    The state is those width - 1 inputs [B, width - 1, D], zeros where there were none. Residual,
    so that the start is near identity and weight decay pulls towards it, not towards zero.
    """

    def __init__(self, dim: int, width: int = 4) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1 token, got {width}")
        self.weight = nn.Parameter(torch.empty(dim, width))  # the last tap is the token itself
        nn.init.normal_(self.weight, std=0.1 * width**-0.5)  # as in Griffin's code

    def empty(
        self, batch: int, dtype: torch.dtype, device: torch.device | str | None = None
    ) -> Tensor:
        dim, width = self.weight.shape
        return torch.zeros(batch, width - 1, dim, dtype=dtype, device=device)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Raises ValueError if the mask or the state does not fit x."""
        check_mask(mask, x.shape[:2])
        empty = self.empty(x.shape[0], x.dtype, x.device)
        if state is not None and state.shape != empty.shape:
            raise ValueError(f"the state must be {list(empty.shape)}, got {list(state.shape)}")
        past = empty if state is None else state.to(x.dtype)
        if mask is None:
            inputs = torch.cat([past, x], 1)
            # A copy: a view would keep all inputs alive as long as the state.
            return x + self._convolve(inputs), inputs[:, x.shape[1] :].clone()
        x, packing = x.masked_fill(~mask[..., None], 0), pack(mask)
        inputs = torch.cat([past, packing.take(x)], 1)
        h = x + packing.restore(self._convolve(inputs))
        last = packing.counts.unsqueeze(1) + torch.arange(past.shape[1], device=x.device)
        return h, rows(inputs, last)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h, state = self(x.unsqueeze(1), None, state)
        return h.squeeze(1), state

    def _convolve(self, inputs: Tensor) -> Tensor:
        """[B, width - 1 + T, D] -> [B, T, D]."""
        # As an image of one row: the layout [B, T, D] is then channels-last, for which
        # convolutions have fast kernels, and needs no copy.
        image, kernel = inputs.transpose(1, 2).unsqueeze(2), self.weight[:, None, None, :]
        y = F.conv2d(image, kernel, groups=self.weight.shape[0])
        return y.squeeze(2).transpose(1, 2).to(inputs.dtype)
