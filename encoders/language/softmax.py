"""The pretrained model's own causal softmax attention, given a padding mask."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def softmax_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention function for transformers, of layers that keep softmax attention.

    `query` `[B, H, T, Dh]`, `key` and `value` `[B, Hkv, past + T, Dh]`, `attention_mask` bool
    `[B, past + T]`, True = real token; returns `[B, T, H, Dh]`. `sliding_window` is the model's
    own.
    """
    length, total = query.shape[2], key.shape[2]
    sliding = sliding_window is not None and total > sliding_window
    if attention_mask is None and length == total and not sliding:
        mask = None
    else:
        order = torch.arange(total, device=query.device)
        distance = order[total - length :, None] - order
        mask = distance >= 0
        if sliding_window is not None:
            mask = mask & (distance < sliding_window)
        if attention_mask is not None:
            own = torch.eye(length, total, device=query.device, dtype=torch.bool).roll(
                total - length, 1
            )  # padding attends to itself: kernels differ in a softmax over nothing
            mask = (mask & attention_mask[:, None, None, -total:]) | own
    y = scaled_dot_product_attention(
        query,
        key,
        value,
        mask,
        dropout,
        mask is None and length > 1,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return y.transpose(1, 2).contiguous(), None
