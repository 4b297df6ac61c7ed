"""How much of what was found is written: an alignment of letters found and letters written.

Letters are written in the order in which they were found; some were not found, and some of those
found are none. So the next one to write is told by a forward recursion over both (as that of a
transducer, Graves, arXiv 1211.3711), with the names of what was found as its evidence.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

SKIPPED = -5.0
"""Log-weight of a found letter that is not written."""
MISSED = -8.0
"""Log-weight of a written letter that was not found."""
_SURE = 1e-3
"""Share of a name's probability that is spread over all names, for none is certain."""
_NEVER = -1e4
_LEAST = 1e-12


class Pointer(NamedTuple):
    """`names` `[B, n, V]`: log-probability of what each found token shows; `reached` `[B, n + 1]`:
    log-probability of how many of them are written."""

    names: Tensor
    reached: Tensor


def begin(logits: Tensor, mask: Tensor) -> Pointer:
    """Nothing is written yet; `logits` `[B, n, V]` of the found tokens' names, `mask` `[B, n]`."""
    chance = logits.detach().float().softmax(-1)
    names = ((1 - _SURE) * chance + _SURE / chance.shape[-1]).log()
    names = names.masked_fill(~mask.unsqueeze(-1), _NEVER)
    batch, count = mask.shape
    start = pad(names.new_zeros(batch, 1), (0, count), value=_NEVER)
    return Pointer(names, _skip(start, _beyond(names)))


def follow(pointer: Pointer, written: Tensor, letter: Tensor) -> tuple[Tensor, Pointer]:
    """Whose turn it is after each of the tokens `written` `[B, T]`: `[B, T, n + 1]`.

    `letter` bool `[B, T]`: which of them stand for a letter; others, as blanks, move nothing.
    """
    names, reached = pointer
    index = written.unsqueeze(1).expand(-1, names.shape[1], -1)
    match = names.gather(2, index)  # [B, n, T]
    beyond, turns = _beyond(names), []
    for step in range(written.shape[1]):
        taken = pad(reached[:, :-1] + match[:, :, step], (1, 0), value=_NEVER)
        moved = _skip(torch.logaddexp(reached + MISSED, taken), beyond)
        reached = torch.where(letter[:, step, None], moved, reached)
        turns.append(reached.exp())
    return torch.stack(turns, 1), Pointer(names, reached)


def copied(logits: Tensor, gate: Tensor, turns: Tensor, names: Tensor, end: int) -> Tensor:
    """Log-probabilities `[B, T, V]` of the next token: written freely, or copied of what was found.

    `logits` `[B, T, V]` of what is written freely; `gate` `[B, T, 1]`, logits of copying; `turns`
    `[B, T, n + 1]` as `follow` gives them; `names` `[B, n, V]`. Where the turn is that of none, the
    answer ends with the token `end` (pointer-generator, See et al., arXiv 1704.04368).
    """
    free = logits.float().log_softmax(-1)
    said = turns[..., :-1] @ names.exp()
    # In a row with fewer tokens than others, the turn of none comes before the last.
    none = pad(names[..., 0] <= _NEVER, (0, 1), value=True).unsqueeze(1)
    ends = (turns * none).sum(-1, keepdim=True).to(said.dtype)
    said = said.index_add(-1, torch.tensor([end], device=said.device), ends)
    gate = gate.float()
    copy = (said + _LEAST).log() + logsigmoid(gate)
    return torch.logaddexp(copy, free + logsigmoid(-gate))


def _beyond(names: Tensor) -> Tensor:
    """The numbers that are more than were found: bool `[B, n + 1]`."""
    return pad(names[..., 0] <= _NEVER, (1, 0), value=False)


def _skip(reached: Tensor, beyond: Tensor) -> Tensor:
    """`reached`, and what is reached from there over letters that are not written; sums to 1."""
    cost = SKIPPED * torch.arange(reached.shape[1], device=reached.device)
    over = torch.logcumsumexp(reached - cost, 1) + cost
    return over.masked_fill(beyond, _NEVER).log_softmax(1)
