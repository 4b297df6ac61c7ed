"""Find, then read: which tokens hold the answer, and those alone, in their order.

A latent has its place to look at fixed before the text is seen; letters in the order in which they
are to be written are handed to the decoder one by one instead (encoders/pointer.py).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    pad,
    scaled_dot_product_attention,
)

from encoders.position import sine
from encoders.runs import HOLDS, UNKNOWN, likeliest_run
from encoders.vision.sheet import ImageTokens

_WINDOW = 5
"""Found tokens that are handed together: the one whose turn it is, and its neighbours."""


class Found(NamedTuple):
    """`memory`: the tokens that were found, n in a row, then the question's words; of the found
    `names` `[B, n, V]`, logits of what each shows, `sure` `[B, n]`, those of its holding a part of
    the answer, and `which` `[B, n]` they were; of all tokens `logits` `[B, N]`, the `edges`
    `[B, N, 2]` of runs (encoders/runs.py), and `mask` `[B, N]`, which of them are real."""

    memory: ImageTokens
    names: Tensor
    sure: Tensor
    which: Tensor
    logits: Tensor
    edges: Tensor
    mask: Tensor


class Finder(nn.Module):
    """Asks tokens, marks them, names them, and picks those that are marked."""

    def __init__(self, dim: int, heads: int, vocabulary: int) -> None:
        super().__init__()
        self.heads = heads
        self.spelt = nn.LayerNorm(dim, eps=1e-6)
        self.alike = nn.Linear(dim, dim)
        self.words = nn.LayerNorm(dim, eps=1e-6)
        self.value = nn.Linear(dim, dim)
        self.told = nn.Linear(dim, dim)
        self.none = nn.Parameter(torch.zeros(2, 1, 1, dim))  # of the question: key and value
        self.mark = nn.Linear(dim, 1)
        self.edge = nn.Linear(dim, 2)
        self.name = nn.Linear(dim, vocabulary)
        self.again = nn.Linear(dim, dim)
        self.hand = nn.Conv1d(dim, dim, _WINDOW, padding=_WINDOW // 2)
        self.copies = nn.Linear(dim, 1)
        nn.init.constant_(self.copies.bias, 1.0)  # most of an answer is copied

    def ask(
        self, tokens: Tensor, letters: Tensor, words: Tensor, spelt: Tensor, mask: Tensor
    ) -> Tensor:
        """`tokens` `[B, N, D]`, each with what it has in common with some of the question's `words`
        `[B, Tq, D]` (`mask` `[B, Tq]`), or with none.

        `letters` `[B, N, D]` and `spelt` `[B, Tq, D]`: how tokens and words are spelt, which is
        compared. Attention over the words alone: linear in the tokens.
        """
        batch = len(tokens)
        real = pad(mask, (1, 0), value=True)[:, None, None]
        none = self.none.to(tokens.dtype).expand(-1, batch, -1, -1)
        key = torch.cat([none[0], self.alike(self.spelt(spelt))], 1)
        value = torch.cat([none[1], self.value(self.words(words))], 1)
        query = self.alike(self.spelt(letters))
        query, key, value = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (query, key, value)
        )
        read = scaled_dot_product_attention(query, key, value, real)
        out: Tensor = tokens + self.told(read.transpose(1, 2).flatten(2))
        return out

    def forward(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[B, N]` of whether each token holds a part of the answer, and edges `[B, N, 2]`:
        what speaks for its beginning and its ending there; `read` `[B, N, D]`."""
        logits: Tensor = self.mark(read).squeeze(-1)
        return logits, self.edge(read)

    def chosen(
        self, logits: Tensor, edges: Tensor, mask: Tensor, marks: Tensor | None = None
    ) -> Tensor:
        """Bool `[B, N]`: the tokens that hold something by `marks`; where none are known, those of
        the likeliest run."""
        likely = likeliest_run(logits, edges, mask)
        if marks is not None:
            likely = torch.where(marks == UNKNOWN, likely, marks >= HOLDS)
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
        """What is told of each picked token and those beside it, and at last nothing: `[B, n + 1,
        D]`."""
        real = mask.unsqueeze(-1)
        near = self.hand((picked * real).transpose(1, 2)).transpose(1, 2)
        return pad(near * real, (0, 0, 0, 1))


def finding_loss(logits: Tensor, marks: Tensor, mask: Tensor) -> Tensor:
    """How far `logits` are from `marks`: of each row the sum over its tokens for each that holds
    something, and the mean over the rows that have some.

    All `[B, N]`; tokens of an UNKNOWN mark, those that show the answer AGAIN, and those that are
    none, are left out.
    """
    real = mask & (marks >= 0)
    held = real & (marks >= HOLDS)
    each = binary_cross_entropy_with_logits(logits.float(), held.float(), reduction="none")
    rows = (each * real).sum(1) / held.sum(1).clamp(min=1)
    known = real.any(1)
    return (rows * known).sum() / known.sum().clamp(min=1)


def naming_loss(names: Tensor, marks: Tensor) -> Tensor:
    """The mean cross-entropy of `names` `[B, n, V]` where `marks` `[B, n]` tell what is shown."""
    told = marks > HOLDS
    if not told.any():
        return names.sum() * 0
    return cross_entropy(names[told].float(), marks[told] - 1 - HOLDS)
