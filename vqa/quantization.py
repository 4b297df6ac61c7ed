"""Weights in 4 to 8 bits, in groups with a scale each, to ship a model in little space.

Of each group of 32 weights of a row one fp16 scale s is stored, and of each weight an integer q of
n bits: w = s * q, with q from -2^(n-1) to 2^(n-1) - 1, stored as q + 2^(n-1). A row's codes are the
low four bits of all its weights, two a byte, then, for n above 4, the other bits of all of them
likewise, one, two or four at a time; the first weight stands in a byte's lowest bits. That is n +
0.5 bits a weight. A model computes in fp32 on the weights that it loads; nothing else is
approximated. The scale is the one of some that gives the least squared error (as in llama.cpp's
Q4_0, which takes the largest weight over -8).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

GROUP = 32
"""Weights that share a scale; a matrix whose rows are no multiple of it stays in fp16."""
SMALLEST = 4096
"""Weights of the smallest matrix that is quantized; of a convolution's weights those of each output
are a row."""
FIELDS = {4: (4,), 5: (4, 1), 6: (4, 2), 8: (4, 4)}
"""How the bits of a weight are split into numbers that fill bytes, the low ones first."""
CODES, SCALES = ".codes", ".scales"
"""What the names of a quantized weight's tensors end in."""


def weight_bits(decoder: int) -> dict[str, int]:
    """Bits of a model's weights by the prefix of their names, given those of the decoder's layers.

    Embedding and image encoder get 6 or more: see docs/log.md, 2026-12-01.
    """
    others = max(6, decoder)
    return {"decoder.model.embed_tokens.": others, "decoder.": decoder, "": others}


_LARGEST = (1.33, 1.29, 1.25, 1.21, 1.18, 1.14, 1.11, 1.08, 1.05, 1.03, 1.0, 0.975, 0.95)
"""Codes of the largest weight of a group that are tried, over the largest code: above 1 it is cut
off."""
_AT_ONCE = 2**20


def quantize(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Codes uint8 `[..., n * bits / 8]` and fp16 scales `[..., n / 32]` of `weight` `[..., n]`.

    Raises ValueError for other `bits` than those of FIELDS.
    """
    if bits not in FIELDS:
        raise ValueError(f"weights are stored in {', '.join(map(str, FIELDS))} bits, not {bits}")
    scales = best_scales(weight, bits)
    half = 2 ** (bits - 1)
    codes = (_integers(_groups(weight), scales.float().view(-1, 1), half) + half).to(torch.uint8)
    codes, packed, low = codes.view(weight.shape), [], 0
    for width in FIELDS[bits]:
        packed.append(_pack((codes >> low) & (2**width - 1), width))
        low += width
    return torch.cat(packed, -1), scales


def best_scales(weight: Tensor, bits: int) -> Tensor:
    """The fp16 scales `[..., n / 32]` of `weight` `[..., n]` of the least squared error."""
    parts = _groups(weight).split(_AT_ONCE // GROUP)
    scales = torch.cat([_search(part, 2 ** (bits - 1)) for part in parts])
    return scales.view(*weight.shape[:-1], -1)


def round_to_scales(weight: Tensor, scales: Tensor, bits: int) -> Tensor:
    """The fp32 weight that its codes of these `scales` stand for, without making them."""
    scale = scales.float().view(-1, 1)
    return (_integers(_groups(weight), scale, 2 ** (bits - 1)) * scale).view(weight.shape)


def dequantize(codes: Tensor, scales: Tensor) -> Tensor:
    """The fp32 weight of what `quantize` returned."""
    columns = scales.shape[-1] * GROUP
    bits = codes.shape[-1] * 8 // columns
    numbers, start, low = torch.zeros((), dtype=torch.uint8), 0, 0
    for width in FIELDS[bits]:
        end = start + columns * width // 8
        numbers = numbers | (_unpack(codes[..., start:end], width) << low)
        start, low = end, low + width
    grouped = (numbers.float() - 2 ** (bits - 1)).unflatten(-1, (-1, GROUP))
    return grouped.mul_(scales.float().unsqueeze(-1)).flatten(-2)


def _pack(numbers: Tensor, width: int) -> Tensor:
    """Several numbers of `width` bits in each byte, along the last axis."""
    each = numbers.unflatten(-1, (-1, 8 // width))
    out = each[..., 0]
    for place in range(1, 8 // width):
        out = out | (each[..., place] << (place * width))
    return out


def _unpack(packed: Tensor, width: int) -> Tensor:
    """The numbers that `_pack` packed."""
    each = [(packed >> place) & (2**width - 1) for place in range(0, 8, width)]
    return torch.stack(each, -1).flatten(-2)


def quantize_weights(weights: Mapping[str, Tensor], bits: Mapping[str, int]) -> dict[str, Tensor]:
    """All `weights`, matrices as codes and scales, others in fp16.

    `bits` by the beginning of names, "" for all others.
    """
    found = {}
    for name, weight in weights.items():
        if (few := bits_of(name, weight, bits)) is not None:
            found[name + CODES], found[name + SCALES] = quantize(weight.flatten(1), few)
        else:
            found[name] = weight.half() if weight.is_floating_point() else weight
    return found


def bits_of(name: str, weight: Tensor, bits: Mapping[str, int]) -> int | None:
    """How many bits a weight gets of `bits` by the beginning of names, None if it is left whole."""
    matrix = weight.dim() > 1 and weight.is_floating_point()
    if not matrix or weight.numel() < SMALLEST or weight[0].numel() % GROUP:
        return None
    return next(n for start, n in bits.items() if name.startswith(start))


def dequantize_weights(
    weights: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]
) -> dict[str, Tensor]:
    """`weights` with codes and scales in place of which the weights stand, of these `shapes`.

    A weight of another number of elements, or without a shape, is left a matrix.
    Raises ValueError for codes without scales.
    """
    found = {}
    for name, weight in weights.items():
        if name.endswith(CODES):
            whole = name.removesuffix(CODES)
            if whole + SCALES not in weights:
                raise ValueError(f"the weight {whole} has codes and no scales")
            matrix = dequantize(weight, weights[whole + SCALES])
            shape = shapes.get(whole, matrix.shape)
            found[whole] = matrix.view(shape) if matrix.numel() == shape.numel() else matrix
        elif not name.endswith(SCALES):
            found[name] = weight
    return found


def _groups(weight: Tensor) -> Tensor:
    return weight.detach().float().reshape(-1, GROUP)


def _integers(groups: Tensor, scales: Tensor, half: int) -> Tensor:
    """The nearest integers, in fp32, of `groups` `[n, GROUP]` over their `scales` `[n, 1]`."""
    inverse = torch.where(scales == 0, 0.0, 1 / scales)
    return (groups * inverse).round_().clamp_(-half, half - 1)


def _search(groups: Tensor, half: int) -> Tensor:
    """The fp16 scale `[n]` of least squared error of each of `groups` `[n, GROUP]`."""
    largest = groups.gather(1, groups.abs().argmax(1, keepdim=True))
    scales, error = largest, torch.full_like(largest, torch.inf)
    for share in _LARGEST:
        # Below 1 whole codes alone: then a weight of codes and scales is its own best.
        code = half * share if share >= 1 else round(half * share)
        scale = (largest / -code).half().float()
        missed = (groups - _integers(groups, scale, half) * scale).square().sum(1, keepdim=True)
        scales = torch.where(missed < error, scale, scales)
        error = torch.minimum(missed, error)
    return scales[:, 0].half()
