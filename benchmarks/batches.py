"""What padding costs: one training step of a Latte stack on sequences of mixed lengths.

    python benchmarks/batches.py

Lengths are drawn log-uniformly, as image sizes spread. The same sequences are padded to the longest
of a random batch, padded after bucketing, bucketed with a limit of padded tokens a batch (what
`pixels_per_batch` does: long ones stand alone), and read one by one. One by one has no padding at
all and so is close to what packing with segment boundaries could reach at best: the work of a
linear-time layer does not depend on where the boundaries lie. Prints microseconds a real token of
this machine, on one thread, measured in turns.
"""

import math
import random
import time
from typing import Annotated

import torch
import typer
from torch import Tensor

from encoders.stack import Stack

Batches = list[list[int]]
"""Lengths of the sequences of each batch, in tokens."""


def lengths(count: int, shortest: int, longest: int, seed: int = 0) -> list[int]:
    """`count` lengths, log-uniform."""
    rng = random.Random(seed)
    low, high = math.log(shortest), math.log(longest)
    return [round(math.exp(rng.uniform(low, high))) for _ in range(count)]


def cut(drawn: list[int], size: int) -> Batches:
    return [drawn[start : start + size] for start in range(0, len(drawn), size)]


def limited(drawn: list[int], size: int, tokens: int) -> Batches:
    """Batches of a sorted list that hold at most `size` sequences and `tokens` padded tokens."""
    batches: Batches = [[]]
    for length in drawn:
        batch = batches[-1]
        if batch and (len(batch) == size or (len(batch) + 1) * max(length, *batch) > tokens):
            batches.append([])
        batches[-1].append(length)
    return batches


def spread(batches: Batches, tokens: int) -> Batches:
    """Some of `batches`, evenly spaced, of about `tokens` real tokens together."""
    stride = max(1, sum(map(sum, batches)) // tokens)
    return batches[stride // 2 :: stride]


def padding(batches: Batches) -> float:
    """Share of the tokens of `batches` that are padding."""
    real = sum(map(sum, batches))
    return 1 - real / sum(len(batch) * max(batch) for batch in batches)


def step(stack: Stack, dim: int, batch: list[int]) -> None:
    """Forward and backward of a padded batch; the loss looks at real tokens only."""
    generator = torch.Generator().manual_seed(len(batch))
    x = torch.randn(len(batch), max(batch), dim, generator=generator)
    mask: Tensor | None = torch.arange(max(batch)) < torch.tensor(batch)[:, None]
    if min(batch) == max(batch):
        mask = None  # nothing is padded: the stack need not look
    out = stack(x, mask)
    (out if mask is None else out[mask]).square().mean().backward()


def token_us(stack: Stack, dim: int, batches: Batches) -> float:
    """Microseconds of a training step for each real token."""
    start = time.perf_counter()
    for batch in batches:
        step(stack, dim, batch)
    return 1e6 * (time.perf_counter() - start) / sum(map(sum, batches))


def main(
    count: Annotated[int, typer.Option(help="Sequences of the data set.")] = 1024,
    size: Annotated[int, typer.Option(help="Sequences of a batch, at most.")] = 16,
    limit: Annotated[int, typer.Option(help="Padded tokens of a limited batch.")] = 2048,
    sample: Annotated[int, typer.Option(help="Real tokens that are timed, about.")] = 20_000,
    rounds: int = 2,
    dim: int = 128,
    depth: int = 2,
    heads: int = 4,
    latents: int = 256,
    mixer: str = "latte",
    ranges: Annotated[str, typer.Option(help="Shortest-longest, tokens.")] = "16-256,64-4096",
) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    words = {} if mixer == "attention" else {"latents": latents}
    stack = Stack(dim, depth, heads, mixer=mixer, **words)
    print(f"{mixer}, width {dim}, {depth} blocks; {count} sequences, batches of at most {size}\n")
    print("| tokens | batches | padding | us a token | against bucketed |")
    print("| --- | --- | --- | --- | --- |")
    for text in ranges.split(","):
        shortest, longest = (int(part) for part in text.split("-"))
        drawn = lengths(count, shortest, longest)
        ways = {
            "padded, random": cut(drawn, size),
            "padded, bucketed": cut(sorted(drawn), size),
            f"bucketed, {limit} tokens": limited(sorted(drawn), size, limit),
            "one by one": cut(drawn, 1),
        }
        timed = {name: spread(batches, sample) for name, batches in ways.items()}
        step(stack, dim, drawn[:1])  # the first step also allocates
        # In turns, and the best of each: other work on the machine comes and goes.
        taken = dict.fromkeys(ways, math.inf)
        for _ in range(rounds):
            for name, batches in timed.items():
                taken[name] = min(taken[name], token_us(stack, dim, batches))
        for name, batches in ways.items():
            cells = [f"{shortest} to {longest}", name, f"{padding(batches):.1%}"]
            cells += [f"{taken[name]:.0f}", f"{taken[name] / taken['padded, bucketed']:.2f}x"]
            print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    typer.run(main)
