"""Causal Latte on a GPU: torch, our Triton kernels and flash-linear-attention side by side.

    python benchmarks/scan_gpu.py

Prints forward and forward + backward milliseconds and the peak memory of each. Not run yet: no
GPU was at hand when it was written.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from triton.testing import do_bench

from encoders.latte import State, fla, triton_scan
from encoders.latte.causal import _scan

HEADS, BATCH = 4, 2
WIDTHS = ((16, 48), (64, 64), (64, 128))  # latents and channels of a head
TOKENS = (256, 1024, 4096, 16384, 65536)


def paths(
    q: Tensor, k: Tensor, v: Tensor, start: State
) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Name and forward pass of every way there is."""

    def p() -> Tensor:
        return q.float().softmax(-1)

    yield "torch", lambda: _scan(q.float(), k.float(), v.float(), *start)[0]
    if triton_scan.available(k, v):
        yield "triton", lambda: triton_scan.scan(p(), k.float(), v, start)[0]
    if fla.available(v):
        yield "fla", lambda: fla.scan(p(), k.float(), v, start)[0]


def row(run: Callable[[], Tensor], inputs: list[Tensor]) -> str:
    def both() -> None:
        torch.autograd.grad(run().float().sum(), inputs)

    with torch.no_grad():
        forward = do_bench(run)
    both()
    torch.cuda.reset_peak_memory_stats()
    both()
    peak = torch.cuda.max_memory_allocated() / 2**20
    return f"{forward:9.3f} {do_bench(both):9.3f} ms {peak:9.0f} MiB"


def main() -> None:
    for dtype in (torch.bfloat16, torch.float32):
        for latents, width in WIDTHS:
            for tokens in TOKENS:
                inputs = [
                    torch.randn(
                        BATCH, tokens, HEADS, w, device="cuda", dtype=dtype, requires_grad=True
                    )
                    for w in (latents, latents, width)
                ]
                start = State.empty(BATCH, HEADS, latents, width, device="cuda")
                for name, run in paths(*inputs, start):
                    print(dtype, latents, width, tokens, f"{name:7}", row(run, inputs), flush=True)


if __name__ == "__main__":
    main()
