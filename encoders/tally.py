"""Counting: gates on the image's tokens, summed where attention would average.

A mean over n tokens divides a mark on three of them by n; a sum keeps it. What the sums are is told
as in "Learning to count objects in natural images for VQA" (Zhang, Hare and Prügel-Bennett 2018):
a number stands between the two whole ones beside it.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, smooth_l1_loss

from encoders.finder import finding_loss
from encoders.runs import UNKNOWN

MOST = 24
"""Sums above this are told as this."""
GATES = 8
_CLOSED = -4.0
"""Where gates start: of a hundred tokens two are counted."""


class Tally(nn.Module):
    """Tells tokens what is asked, counts them once they have been read, and tells the counts.

    The first gate is the one that learns from boxes: it opens at the middle of each thing that the
    question is about. The others count what the answers make them count.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.asked = nn.Linear(dim, 2 * dim)
        self.gates = nn.Linear(dim, GATES)
        self.counts = nn.Linear(GATES * (MOST + 1), 2 * dim)
        self.words = nn.Linear(dim, 2 * dim)
        self.told = nn.Linear(2 * dim, dim)
        nn.init.constant_(self.gates.bias, _CLOSED)

    def ask(self, tokens: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """`tokens` `[B, N, D]`, each with what the question's `words` `[B, Tq, D]` (`mask`
        `[B, Tq]`) ask, by which channels are scaled and moved: what is asked for in a colour and
        a shape is a product (FiLM, Perez et al., arXiv 1709.07871)."""
        scale, shift = self.asked(together(words, mask)).unsqueeze(1).chunk(2, -1)
        out: Tensor = tokens * (1 + scale) + shift
        return out

    def forward(self, read: Tensor) -> Tensor:
        """Logits `[B, N, GATES]` of the gates of tokens that were `read` `[B, N, D]`."""
        logits: Tensor = self.gates(read)
        return logits

    def tell(self, logits: Tensor, real: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """What the gates of the `real` `[B, N]` tokens add up to, for what the `words` ask:
        `[B, D]`."""
        counts = self.counts(spread(sums(logits, real)).flatten(1).to(words.dtype))
        out: Tensor = self.told(gelu(counts + self.words(together(words, mask))))
        return out


def sums(logits: Tensor, real: Tensor) -> Tensor:
    """How many of the `real` `[B, N]` tokens each gate is open at: fp32 `[B, gates]`."""
    return (logits.float().sigmoid() * real.unsqueeze(-1)).sum(1)


def spread(numbers: Tensor) -> Tensor:
    """`numbers` `[...]` >= 0 as shares of the whole numbers 0 to MOST: `[..., MOST + 1]`.

    Of 2.25 three quarters go to 2 and one to 3; a whole number is one-hot.
    """
    whole = torch.arange(MOST + 1, device=numbers.device, dtype=numbers.dtype)
    gap = (numbers.clamp(max=MOST).unsqueeze(-1) - whole).abs()
    return (1 - gap).clamp(min=0)


def counting_loss(logits: Tensor, marks: Tensor, numbers: Tensor, real: Tensor) -> Tensor:
    """How far the first gate, `logits` `[B, N]`, is from what is known to be counted.

    Where `marks` `[B, N]` are known (encoders/runs.py) token by token; where only the number is
    (`numbers` `[B]`, NaN where it is not), by the gap between it and the sum. Both at once would
    not do: as long as things are missed, a gap opens gates where there is nothing.
    """
    loss = finding_loss(logits, marks, real)
    known = ~numbers.isnan() & (marks == UNKNOWN).all(1)
    if known.any():
        found = sums(logits.unsqueeze(-1), real).squeeze(-1)
        loss = loss + smooth_l1_loss(found[known], numbers[known])
    return loss


def together(words: Tensor, mask: Tensor) -> Tensor:
    """The words as one, with as much variance as one has, whatever their number: `[B, D]`."""
    total = (words * mask.unsqueeze(-1)).sum(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1).to(words.dtype).sqrt()
