"""Causal recurrences of fixed size, which tell a token what came just before it.

Queries and keys that are read from a recurrence of the tokens, not from each alone, know order and
recency, which Latte's running means do not. One file = one recurrence = its class `Recurrence`;
a name is the name of the file. Every recurrence keeps one contract, and its state is one tensor of
constant size whose first axis is the batch:

* `recurrence(x, mask=None, state=None) -> (h, state)`: x and h [B, T, D], mask bool [B, T], True =
  real, pads anywhere; token t sees the state and the real tokens <= t, and h at a pad is
  finite and otherwise unspecified;
* `recurrence.step(x, state) -> (h, state)`: one token, x and h [B, D];
* `recurrence.empty(batch, dtype, device) -> state`: the state before the first token.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn


def available() -> list[str]:
    """Names of the recurrences in this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def create(name: str, dim: int, **words: Any) -> nn.Module:
    """The recurrence in the file of that name. Raises ValueError, with the list, for others."""
    if name not in available():
        raise ValueError(f"unknown recurrence {name!r}; there are: {', '.join(available())}")
    recurrence: nn.Module = import_module(f"{__name__}.{name}").Recurrence(dim, **words)
    return recurrence
