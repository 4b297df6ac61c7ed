"""Runs: of tokens that follow each other, which hold the answer.

An answer is mostly printed in one run: a letter amid it that looks unlikely belongs to it, and a
likely one elsewhere does not. A run has the weight exp(sum of its tokens' logits, and of what
speaks for beginning with its first and for ending with its last): a semi-Markov field (Sarawagi and
Cohen 2004) of one segment. All runs together are weighed in linear time.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

UNKNOWN = -1
"""Mark of a token of which it is not known whether it holds the answer."""
AGAIN = -2
"""Mark of the first token of another run that shows the same answer."""
ON = -3
"""Mark of the tokens that go on with such a run."""
HOLDS = 1
"""Mark of a token that holds a part of the answer, it is not known which; one that shows the
vocabulary's token i has the mark i + 1 + HOLDS, and one that holds nothing 0."""
_PADDED = -100.0
"""Logit of what is no token: no run goes over it, and sums stay exact."""
_NEVER = -1e4
_DENSE = 0.6
"""Share of the tokens of a run that hold something, at least."""


def likeliest_run(logits: Tensor, edges: Tensor, mask: Tensor) -> Tensor:
    """Bool `[B, N]`: the run of the greatest weight in each row, at least one token.

    `logits` `[B, N]`, `edges` `[B, N, 2]`: what speaks for a run that begins with a token, and for
    one that ends with it. Kadane's algorithm, all rows at once.
    """
    begins, ends = _sums(logits.detach(), edges.detach(), mask)
    best, first = begins.cummax(1)
    last = (ends + best).argmax(1, keepdim=True)
    place = torch.arange(logits.shape[1], device=logits.device)
    return (place >= first.gather(1, last)) & (place <= last) & mask


def run_loss(logits: Tensor, edges: Tensor, marks: Tensor, mask: Tensor) -> Tensor:
    """How unlikely the runs are that `marks` `[B, N]` tell, of all runs; the others as above.

    The mean over the rows of which a run is known: those whose first and last token that hold
    something have few others between them. Runs that show the answer AGAIN are as good.
    """
    held = mask & (marks >= HOLDS)
    place = torch.arange(logits.shape[1], device=logits.device)
    first = torch.where(held, place, logits.shape[1] - 1).amin(1, keepdim=True)
    last = torch.where(held, place, 0).amax(1, keepdim=True)
    known = held.any(1) & (held.sum(1) > _DENSE * (last - first + 1).squeeze(1))
    if not known.any():
        return (logits.sum() + edges.sum()) * 0
    begins, ends = _sums(logits, edges, mask)
    every = (ends + begins.logcumsumexp(1)).logsumexp(1)
    true = ends.gather(1, last) + begins.gather(1, first)
    goes_on = pad(marks[:, 1:] == ON, (0, 1), value=False)
    closes = mask & ((marks == AGAIN) | (marks == ON)) & ~goes_on
    opened = torch.where(marks == AGAIN, place, 0).cummax(1).values
    others = (ends + begins.gather(1, opened)).masked_fill(~closes, _NEVER)
    true = torch.cat([true, others], 1).logsumexp(1)
    return (every - true)[known].mean()


def _sums(logits: Tensor, edges: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Fp32 `[B, N]` each: a run from i to j weighs the first's i-th and the second's j-th."""
    total = logits.float().masked_fill(~mask, _PADDED).cumsum(1)
    begins, ends = edges.float().masked_fill(~mask.unsqueeze(-1), 0.0).unbind(-1)
    return begins - pad(total, (1, 0))[:, :-1], ends + total
