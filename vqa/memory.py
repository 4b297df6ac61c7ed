"""Peak memory of the process while one question about one image is answered: the formula.

Every term is a tensor (or several) that lives at the peak; docs/budget.md explains each and shows
predicted beside measured peaks.
"""

import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.mixers import attention
from encoders.pixels import BAND
from encoders.stack import CHUNK
from encoders.vision import glyphs
from vqa.images import resample
from vqa.model import LatteVQA
from vqa.work import Work

FIRST_USE = 32 * 2**20
"""Code and buffers that the libraries load at the first answer of a process."""

HEAP = 1.5
"""Memory of a batch of tiles over its living tensors. glibc returns large blocks only; of the
smaller ones that lie between living ones it keeps none to about half a batch's (docs/budget.md)."""


PRINT = 24
"""Numbers a pixel of a page while encoders/vision/glyphs.py reads it: measured, 14 to 24."""


@dataclass(frozen=True)
class Source:
    """The picture: its size in pixels, and how many bytes a pixel its decoder holds."""

    height: int
    width: int
    held: int


def resident() -> int:
    """Bytes of memory that the process has now, or had at most where the system tells only that."""
    return _status("VmRSS")


def peak() -> int:
    """Bytes of memory that the process had at most.

    Not `ru_maxrss` on Linux: a child process starts with that of its parent.
    """
    return _status("VmHWM")


def _status(word: str) -> int:
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith(word))
        return int(line.split()[1]) * 2**10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 2**10


def needed(model: LatteVQA, work: Work, source: Source, beams: int = 10, kept: int = 0) -> int:
    """Bytes at the peak beside what the process has already: those of the largest phase."""
    return FIRST_USE + max(phases(model, work, source, beams, kept).values())


def phases(
    model: LatteVQA, work: Work, source: Source, beams: int = 10, kept: int = 0
) -> dict[str, int]:
    """Bytes that each phase of an answer needs."""
    size, tokens, stack = model.dtype.itemsize, work.tokens, model.encoder
    picture = source.height * source.width * source.held + _blocks(source, work)
    whole = sequence(model, tokens)
    whole += min(whole, kept)  # the words are put into a copy
    states = _states(model, tokens, size)
    chunk = _chunk(stack, min(tokens, CHUNK), size)
    return {
        "overview": picture + _overview(work),
        "tiles": picture + whole + _tiles(model.vision, work, size),
        "encoder": picture + whole + chunk + _all_tokens(stack, tokens, size),
        "decoder": picture + whole + 2 * states + chunk,  # a longer copy beside the old one
        # Of each beam: before a word, after it, in its new order, and those that generate() holds.
        "answer": picture + states * (4 * beams + 1),
    }


def sequence(model: LatteVQA, tokens: int) -> int:
    """Bytes of a sequence of `tokens`: row and column of each in fp32, and the mask, are 9."""
    return tokens * (model.dtype.itemsize * model.network.dim + 9)


def _blocks(source: Source, work: Work) -> int:
    """What vqa/images/resample.py holds of a picture that is read smaller: finished blocks, the
    rows between its two passes, and a strip of the source on its way."""
    if (source.height, source.width) == (work.height, work.width):
        return 0
    blocks = min(resample.HELD * resample.SIDE**2, work.height * work.width)
    between = min(resample.TALL, source.height) * min(resample.SIDE, work.width)
    strip = min(resample.STRIP, source.height * source.width)
    return 3 * blocks + 3 * between + 15 * strip


def _overview(work: Work) -> int:
    """encoders/pixels.py averages bands of rows in fp32: the next one is read beside the last."""
    if not work.overview:
        return 0
    rows = max(1, BAND // work.width)
    band = min(rows, work.height) * work.width
    return (27 if rows < work.height else 15) * band


def _tiles(vision: Any, work: Work, size: int) -> int:
    """One batch of tiles: stacked, in the patch embedding, or in the blocks of the encoder."""
    if isinstance(vision, glyphs.Encoder):
        return work.batch_pixels * size * PRINT + 3 * size * vision.most
    pixels = work.batch_pixels * size
    if getattr(vision, "whole", False):
        return _whole_image(vision, work, size)
    stacking = 9 * pixels  # the last batch, the tiles of this one, and these as one tensor
    steps = [stacking, 6 * pixels + _embedding(vision, pixels)]
    latte = not hasattr(vision, "vit")
    if not latte:
        steps.append(6 * pixels + _vit(vision.vit, work.batch_pixels // vision.patch**2 * size))
    most = int(HEAP * max(steps))
    if latte:
        width, tokens = vision.width, work.tokens * size
        whole = tokens * (width + vision.dim)  # read in its own width, then mapped part by part
        most = whole + max(most, _chunk(vision.stack, min(work.tokens, CHUNK), size))
    return most


def _whole_image(vision: Any, work: Work, size: int) -> int:
    """An image in one pass (encoders/vision/convert_vit.py): its pixels as numbers, and once more
    while they are stacked; then, beside them, the patch embedding or a block. A block holds of each
    token input, norm, queries, keys, values, attention, output and two sums, and of a chunk of them
    the two sides of the MLP."""
    pixels, vit = 3 * work.batch_pixels * size, vision.vit
    hidden = vit.blocks[0].mlp.fc1.out_features
    block = 9 * work.slots * vit.embed_dim + 2 * min(work.slots, CHUNK) * hidden
    return max(2 * pixels, pixels + max(_embedding(vision, pixels // 3), block * size))


def _embedding(vision: Any, pixels: int) -> int:
    """The first convolution's output thrice: itself, normed, and through the activation."""
    convs = getattr(getattr(vision, "stem", None) or vision.vit.patch_embed, "convs", None)
    return 3 * pixels * convs[0].out_channels // convs[0].stride[0] ** 2 if convs else 0


def _vit(vit: Any, patches: int) -> int:
    """A block: input, norm, queries, keys, values and those turned; or the MLP's two sides."""
    width, hidden = vit.embed_dim, vit.blocks[0].mlp.fc1.out_features
    return patches * max(9 * width, 2 * width + 2 * hidden)


def _chunk(stack: Any, tokens: int, size: int) -> int:
    """What a block holds of one chunk: in the grid convolution, telling, reading, or the MLP."""
    block = stack.blocks[0]
    width, hidden = block.mlp[0].in_features, block.mlp[0].out_features
    logits = block.mixer.query.out_features
    most = max(5 * width, 2 * width + 2 * logits, 4 * width + logits, width + 2 * hidden)
    return tokens * size * most


def _states(model: LatteVQA, tokens: int, size: int) -> int:
    """The decoder's keys and values of all tokens; Latte's states are a few hundred kB."""
    network = model.network
    if network.writes != "attention":
        return 0
    return network.decoder_depth * tokens * (2 * size * network.dim + 1)


def _all_tokens(stack: Any, tokens: int, size: int) -> int:
    """What one layer's mixer holds of all tokens at once; Latte's nothing."""
    block = stack.blocks[0]
    width, logits = block.mlp[0].in_features, block.mixer.query.out_features
    if not block.mixer.reads:  # macchiato, recurrences: every tensor of the layer, about
        return tokens * size * (14 * width + 5 * logits)
    keeps = isinstance(block.mixer, attention.Mixer)
    return 4 * tokens * size * width if keeps else 0  # keys and values, while they grow
