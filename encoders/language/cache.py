"""Recurrent states of converted layers inside transformers' own cache.

transformers' layer for linear attention with a sliding window keeps padding in its window and has
no place for attention sinks; this one holds whatever state the attention layer returns.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer


class RecurrentStateLayer(CacheLayerMixin):
    """One layer's state, a NamedTuple of tensors with the batch first, of bounded size."""

    supports_early_init = False

    def __init__(self) -> None:
        super().__init__()
        self.state: Any = None
        self.length = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the state."""
        return 0 if self.state is None else sum(part.nbytes for part in self.state)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to allocate: the first forward pass makes the state."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Raise: converted attention stores its state with `store_state`."""
        raise NotImplementedError(
            "a converted layer has a state, not keys and values of all tokens"
        )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1

    def crop(self, max_length: int) -> None:
        """Raise: what a state has read cannot be taken out of it."""
        raise ValueError(
            "a converted layer has a state, which cannot be cropped to fewer tokens: copy the "
            "cache before reading further (converted models cannot assist generation)"
        )

    def reset(self) -> None:
        self.state, self.length = None, 0

    def offload(self) -> None:
        self._map(lambda part: part.to("cpu", non_blocking=True))

    def prefetch(self) -> None:
        """Nothing to do: states are small and move with the next forward pass."""

    def reorder_cache(self, beam_idx: Tensor) -> None:
        self.batch_select_indices(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        self._map(lambda part: part.index_select(0, indices.to(part.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        self._map(lambda part: part.repeat_interleave(repeats, 0))

    def _map(self, function: Any) -> None:
        if self.state is not None:
            self.state = type(self.state)(*map(function, self.state))


def layer_state(cache: Cache | None, index: int) -> Any:
    """The state of layer `index`, None before the first tokens.

    Raises ValueError for a cache of fixed length or one filled by another model.
    """
    if cache is None:
        return None
    return _layer(cache, index).state


def store_state(cache: Cache | None, index: int, state: Any, tokens: int) -> None:
    """Keep the state of layer `index` after `tokens` more tokens."""
    if cache is not None:
        layer = _layer(cache, index)
        layer.state = state
        layer.length += tokens


def _layer(cache: Cache, index: int) -> RecurrentStateLayer:
    """Layer `index` of any DynamicCache, made a `RecurrentStateLayer` while it is still empty."""
    while len(cache.layers) <= index:
        cache.layers.append(RecurrentStateLayer())
    layer = cache.layers[index]
    if isinstance(layer, RecurrentStateLayer):
        return layer
    dynamic = isinstance(layer, DynamicLayer | DynamicSlidingWindowLayer)
    if not dynamic or layer.get_seq_length():
        raise ValueError(
            f"a converted model needs an empty DynamicCache, got {type(layer).__name__} "
            f"of {layer.get_seq_length()} tokens in layer {index}"
        )
    cache.layers[index] = RecurrentStateLayer()
    return cache.layers[index]


def cache_bytes(cache: Cache) -> int:
    """Bytes of all tensors in a cache, converted layers and ordinary ones alike."""
    total = 0
    for layer in cache.layers:
        if isinstance(layer, RecurrentStateLayer):
            total += layer.nbytes
        else:
            total += sum(
                t.nbytes for t in (layer.keys, layer.values) if isinstance(t, torch.Tensor)
            )
    return total
