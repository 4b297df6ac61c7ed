"""Token mixers: one file = one mixer = its class `Mixer`; a name is the name of the file.

Every mixer keeps one contract, and its state, of class `mixer.state`, is a NamedTuple of tensors
whose first axis is the batch:

* `mixer(x, mask=None, places=None, grids=None) -> y`: bidirectional, `x` and `y` `[B, T, D]`,
  `mask` bool `[B, T]`, True = real; rows begin with patch `grids` (encoders/patch_grids.py);
* `mixer.causal(x, mask=None, state=None, places=None) -> (y, state)`: token t sees the state and
  tokens <= t;
* `mixer.step(x, state) -> (y, state)`: one token, `x` and `y` `[B, D]`;
* `mixer.prefix(x, mask=None, places=None, state=None) -> state`: the state after reading `x`,
  onwards from `state`, without outputs;
* `mixer.read(x, state, places) -> y`: where `mixer.reads` is true, the bidirectional output of some
  tokens from the state of all of them: a long sequence can then be read piece by piece;
* `mixer.relevance(x, mask, places, state, gradient) -> r` `[B, T, H]`: `state` being that of `x`,
  and `gradient` the same with a number's derivatives with respect to it, of each token and head the
  attention weight times the number's derivative with respect to it, summed over all readers;
* `mixer.value`, a layer, makes the values, `mixer.heads` side by side: r is value * derivative of
  the value.

`places` `[B, T]`, or `[B, T, 2]` = (row, column), are the tokens' positions; not given, real tokens
are counted, onwards from the state.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn


def available() -> list[str]:
    """Names of the mixers in this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def create(name: str, dim: int, heads: int, **words: Any) -> nn.Module:
    """The mixer in the file of that name. Raises ValueError, with the list, for an unknown name."""
    if name not in available():
        raise ValueError(f"unknown mixer {name!r}; there are: {', '.join(available())}")
    mixer: nn.Module = import_module(f"{__name__}.{name}").Mixer(dim, heads, **words)
    return mixer
