"""Find, then read: which tokens hold the answer, and those alone, in their order.

A latent has its place to look at fixed before the text is seen; letters in the order in which they
are to be written can be looked for by their number instead.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, pad

from encoders.position import sine

UNKNOWN = -1
"""Mark of a token of which it is not known whether it holds the answer."""


class Finder(nn.Module):
    """Marks tokens, and picks those that are marked."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mark = nn.Linear(dim, 1)
        self.again = nn.Linear(dim, dim)
        self.hand = nn.Linear(dim, dim)

    def forward(self, read: Tensor) -> Tensor:
        """Logits `[B, N]` of whether each token holds a part of the answer; `read` `[B, N, D]`."""
        logits: Tensor = self.mark(read).squeeze(-1)
        return logits

    def chosen(self, logits: Tensor, mask: Tensor, marks: Tensor | None = None) -> Tensor:
        """Bool `[B, N]`: the tokens marked in `marks` (1, 0 or UNKNOWN), by default the likely."""
        likely = logits > 0
        if marks is not None:
            likely = torch.where(marks == UNKNOWN, likely, marks == 1)
        return likely & mask

    def pick(self, read: Tensor, shown: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The chosen tokens, numbered: tokens `[B, n, D]`, mask and which they were `[B, n]`.

        `shown`: the tokens before they were read together, for what they are is to be told again.
        """
        most = max(1, int(chosen.sum(1).max()))
        which = chosen.int().argsort(dim=1, descending=True, stable=True)[:, :most]
        index = which.unsqueeze(-1).expand(-1, -1, read.shape[-1])
        tokens = read.gather(1, index) + self.again(shown.gather(1, index))
        number = sine(torch.arange(most, device=read.device), read.shape[-1])
        return tokens + number.to(tokens.dtype), chosen.gather(1, which), which

    def handed(self, picked: Tensor, mask: Tensor) -> Tensor:
        """What is told of each picked token, in order, and at last nothing: `[B, n + 1, D]`."""
        return pad(self.hand(picked) * mask.unsqueeze(-1), (0, 0, 0, 1))


def finding_loss(logits: Tensor, marks: Tensor, mask: Tensor) -> Tensor:
    """How far `logits` are from `marks`; tokens that hold the answer and others count alike in sum.

    All `[B, N]`; tokens of an UNKNOWN mark, and those that are none, are left out.
    """
    each = binary_cross_entropy_with_logits(logits.float(), (marks == 1).float(), reduction="none")
    total = logits.new_zeros((), dtype=torch.float32)
    for mark in (0, 1):
        of_these = (marks == mark) & mask
        total = total + (each * of_these).sum() / of_these.sum().clamp(min=1)
    return total
