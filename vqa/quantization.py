"""Weights in 4 or 8 bits, in groups with a scale each, to ship a model in little space.

Of each group of 32 weights of a row one fp16 scale s is kept, and of each weight an integer q:
w = s * q, with q from -8 to 7 or -128 to 127 (stored as q + 8, two a byte, the even columns in the
low half, or as int8). That is 4.5 or 8.5 bits a weight. A model computes in fp32 on what it reads
back; nothing is approximated but the weights. The scale is the one of some that gives the least
squared error (as in llama.cpp's Q4_0, which takes the largest weight over -8).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

GROUP = 32
"""Weights that share a scale; a matrix whose rows are no multiple of it stays in fp16."""
SMALLEST = 4096
"""Weights of the smallest matrix that is quantized."""
CODES, SCALES = ".codes", ".scales"
"""What the names of a quantized weight's tensors end in."""
_SHRINK = torch.linspace(0.75, 1.05, 13)
"""Scales that are tried, over the one with which no weight is cut off."""
_AT_ONCE = 2**20


def quantize(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Codes and fp16 scales of `weight` `[..., n]`, n a multiple of GROUP.

    Codes are uint8 `[..., n / 2]` of 4 bits and int8 `[..., n]` of 8. Raises ValueError for other
    `bits`.
    """
    if bits not in (4, 8):
        raise ValueError(f"weights are kept in 4 or 8 bits, not {bits}")
    groups = weight.detach().float().reshape(-1, GROUP)
    parts = [_best(part, 2 ** (bits - 1)) for part in groups.split(_AT_ONCE // GROUP)]
    codes, scales = (torch.cat(part) for part in zip(*parts, strict=True))
    scales = scales.view(*weight.shape[:-1], -1)
    codes = codes.view(weight.shape)
    if bits == 8:
        return codes.to(torch.int8), scales
    shifted = (codes + 8).to(torch.uint8)
    return shifted[..., ::2] | (shifted[..., 1::2] << 4), scales


def dequantize(codes: Tensor, scales: Tensor) -> Tensor:
    """The fp32 weight of what `quantize` returned."""
    numbers = codes
    if codes.dtype == torch.uint8:
        numbers = torch.stack([codes & 15, codes >> 4], -1).flatten(-2).to(torch.int8) - 8
    grouped = numbers.float().unflatten(-1, (-1, GROUP))
    return (grouped * scales.float().unsqueeze(-1)).flatten(-2)


def quantize_weights(weights: Mapping[str, Tensor], bits: Mapping[str, int]) -> dict[str, Tensor]:
    """All `weights`, matrices as codes and scales, others in fp16.

    `bits` by the beginning of names, "" for all others.
    """
    found = {}
    for name, weight in weights.items():
        matrix = weight.dim() == 2 and weight.is_floating_point()
        if matrix and weight.numel() >= SMALLEST and not weight.shape[-1] % GROUP:
            few = next(n for start, n in bits.items() if name.startswith(start))
            found[name + CODES], found[name + SCALES] = quantize(weight, few)
        else:
            found[name] = weight.half() if weight.is_floating_point() else weight
    return found


def dequantize_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`weights` with codes and scales in place of which the weights stand.

    Raises ValueError for codes without scales.
    """
    found = {}
    for name, weight in weights.items():
        if name.endswith(CODES):
            whole = name.removesuffix(CODES)
            if whole + SCALES not in weights:
                raise ValueError(f"the weight {whole} has codes and no scales")
            found[whole] = dequantize(weight, weights[whole + SCALES])
        elif not name.endswith(SCALES):
            found[name] = weight
    return found


def _best(groups: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The codes, in fp32, and fp16 scales of least squared error of `groups` `[n, GROUP]`."""
    largest = groups.gather(1, groups.abs().argmax(1, keepdim=True))
    codes, scales, error = groups, largest[:, 0], torch.full_like(largest, torch.inf)
    for shrink in _SHRINK:
        scale = (shrink * largest / -most).half().float()
        tried = torch.where(scale == 0, 0.0, groups / scale).round().clamp(-most, most - 1)
        missed = (groups - tried * scale).square().sum(1, keepdim=True)
        better = missed < error
        codes = torch.where(better, tried, codes)
        scales = torch.where(better[:, 0], scale[:, 0], scales)
        error = torch.where(better, missed, error)
    return codes, scales.half()
