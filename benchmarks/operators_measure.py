"""The contestants of benchmarks/operators.py and how they are timed and weighed."""

import ctypes
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from encoders import latte
from encoders.stack import Stack

BATCH, HEADS, LATENTS, WIDTH = 1, 8, 32, 64
WAYS = FORWARD, BOTH = "forward", "forward + backward"
Row = dict[str, Any]


class Contestant(NamedTuple):
    """An operator (q, k, v) -> y; its time multiplies by `growth` when the tokens double."""

    run: Callable[[Tensor, Tensor, Tensor], Tensor]
    layout: str
    growth: int
    longest: int = 1 << 62


def sequential_scan(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal Latte as the authors' code computes it, token after token; layouts of `latte.causal`.

    Carries sums of exp(k) v and of exp(k), both relative to the largest logit so far.
    """
    p, top = q.softmax(-1), k.detach().cummax(1).values  # the largest logit cancels in the quotient
    total, norm, before, y = v.new_zeros(()), v.new_zeros(()), top[:, 0], []
    for t in range(q.shape[1]):
        keep, take = (before - top[:, t]).exp(), (k[:, t] - top[:, t]).exp()
        norm = norm * keep + take  # [B, H, Lh]
        total = total * keep[..., None] + take[..., None] * v[:, t, :, None]  # [B, H, Lh, Dh]
        y.append(((p[:, t] / norm).unsqueeze(-2) @ total).squeeze(-2))
        before = top[:, t]
    return torch.stack(y, 1)


CONTESTANTS = {
    "Latte bidirectional": Contestant(latte.bidirectional, "latte", 2),
    "Latte causal": Contestant(lambda q, k, v: latte.causal(q, k, v)[0], "latte", 2),
    "SDPA full": Contestant(scaled_dot_product_attention, "sdpa", 4),
    "SDPA causal": Contestant(
        lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True), "sdpa", 4
    ),
    # Longer only repeats the same step, and for the gradient autograd keeps every state.
    "sequential scan": Contestant(sequential_scan, "latte", 2, longest=4096),
}


class Place(NamedTuple):
    """Where and in which dtype to measure."""

    device: torch.device
    dtype: torch.dtype
    threads: int

    def normal(self, *shape: int, grad: bool = False) -> Tensor:
        return torch.randn(*shape, device=self.device, dtype=self.dtype, requires_grad=grad)

    def seconds(self, work: Callable[[], object]) -> float:
        self._wait()
        start = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - start

    def peak_bytes(self) -> int:
        """The most memory that the process, or its part on the GPU, has held so far.

        VmHWM and not getrusage's ru_maxrss, which a child process inherits from its parent.
        """
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def inputs(layout: str, tokens: int, place: Place) -> tuple[Tensor, ...]:
    """q, k, v and the gradient of y: [B, T, H, Lh or Dh] for Latte, [B, H, T, Dh] for SDPA."""
    if layout == "sdpa":
        wide = narrow = (BATCH, HEADS, tokens, WIDTH)
    else:
        wide, narrow = (BATCH, tokens, HEADS, WIDTH), (BATCH, tokens, HEADS, LATENTS)
    q, k, v = (place.normal(*shape, grad=True) for shape in (narrow, narrow, wide))
    return q, k, v, place.normal(*wide)


def run(name: str, way: str, given: Sequence[Tensor]) -> object:
    """One pass of a contestant over `inputs`."""
    q, k, v, gradient = given
    if way == FORWARD:
        with torch.no_grad():
            return CONTESTANTS[name].run(q, k, v)
    return torch.autograd.grad(CONTESTANTS[name].run(q, k, v), (q, k, v), gradient)


def round_robin(
    works: Mapping[Any, Callable[[], object]], place: Place, most: int
) -> dict[Any, list[float]]:
    """Seconds of each work, at most `most` times, all in turns in one run.

    In random order, so that none always finds the caches as the same other one left them. The
    first run warms up and is not counted, unless it takes seconds: then warming up is lost in it.
    """
    seconds: dict[Any, list[float]] = {key: [] for key in works}
    order = list(works)
    while order:
        random.shuffle(order)
        for key in order:
            seconds[key].append(place.seconds(works[key]))
        order = [key for key in order if not _enough(seconds[key], most)]
    return {key: each if each[0] > 1 else each[1:] for key, each in seconds.items()}


def _enough(seconds: list[float], most: int) -> bool:
    least = 3 if seconds[0] > 1 else 6
    return len(seconds) > most or (len(seconds) >= least and sum(seconds) > 1)


def summary(seconds: list[float]) -> Row:
    return {
        "median_ms": 1000 * median(seconds),
        "min_ms": 1000 * min(seconds),
        "runs": len(seconds),
    }


def keep_freed_memory() -> None:
    """Has glibc keep what a run frees for the next one, where there is a glibc.

    Blocks over 32 MiB would otherwise go back to the system and be faulted in again page by page,
    which took longer here (17 ms for 32 MiB) than what is to be measured.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            libc.mallopt(option, 1 << 30)


def times(grid: Sequence[int], limit: float, place: Place, most: int) -> list[Row]:
    """Times of all contestants, both ways, at the T of `grid` where a run takes <= limit seconds.

    How long it will take is told from the T before.
    """
    rows, expected = [], dict.fromkeys(((n, w) for n in CONTESTANTS for w in WAYS), 0.0)
    for tokens in grid:
        expected = {
            key: seconds
            for key, seconds in expected.items()
            if seconds <= limit and tokens <= CONTESTANTS[key[0]].longest
        }
        if not expected:
            break
        print(f"T = {tokens}", file=sys.stderr)
        layouts = {CONTESTANTS[name].layout for name, _ in expected}
        given = {layout: inputs(layout, tokens, place) for layout in sorted(layouts)}
        works = {
            (name, way): partial(run, name, way, given[CONTESTANTS[name].layout])
            for name, way in expected
        }
        for key, seconds in round_robin(works, place, most).items():
            rows.append(
                {"contestant": key[0], "pass": key[1], "tokens": tokens, **summary(seconds)}
            )
            expected[key] = median(seconds) * CONTESTANTS[key[0]].growth
    return rows


def rates(squares: Sequence[int], copied: int, place: Place) -> dict[str, float]:
    """What the machine can do: flops/s of the best n x n matrix product, bytes/s of a copy.

    A copy of `copied` bytes moves twice as many: they are read and written.
    """
    best = 0.0
    for n in squares:
        a, b = place.normal(n, n), place.normal(n, n)
        best = max(best, 2 * n**3 / min(place.seconds(partial(torch.mm, a, b)) for _ in range(5)))
    source = torch.ones(copied, dtype=torch.uint8, device=place.device).view(place.dtype)
    target = torch.empty_like(source).copy_(source)
    copy = min(place.seconds(partial(target.copy_, source)) for _ in range(10))
    return {"matmul_flops": best, "copy_bytes": 2 * copied / copy}


def peaks(chosen: Sequence[tuple[str, str, int]], place: Place) -> list[Row]:
    """Peak memory beyond the inputs of (contestant, pass, T), each in a process of its own."""
    rows = []
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for name, way, tokens in chosen:
            grown = pool.submit(peak, name, way, tokens, place).result()
            rows.append({"contestant": name, "pass": way, "tokens": tokens, "bytes": grown})
    return rows


def peak(name: str, way: str, tokens: int, place: Place) -> int:
    """By how many bytes one run raises the peak memory of this process, its inputs being made."""
    torch.set_num_threads(place.threads)
    layout = CONTESTANTS[name].layout
    run(name, way, inputs(layout, 64, place))  # libraries and threads take their memory now
    given = inputs(layout, tokens, place)
    before = place.peak_bytes()
    run(name, way, given)
    return place.peak_bytes() - before


@torch.no_grad()
def decoding(states: Sequence[int], caches: Sequence[int], steps: int, place: Place) -> list[Row]:
    """A token more after `states` tokens read by Latte or `caches` tokens cached for SDPA."""
    works = {("Latte step", read): _latte_step(read, place) for read in states}
    works |= {("SDPA cached", read): _sdpa_step(read, place) for read in caches}
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in works}
    for _ in range(10):  # in turns of many steps, for a decoder also finds its own data in cache
        for key, step in works.items():
            step()
            seconds[key] += [place.seconds(step) for _ in range(steps // 10)]
    return [
        {"contestant": name, "tokens": read, **summary(each)}
        for (name, read), each in seconds.items()
    ]


def _latte_step(read: int, place: Place) -> Callable[[], object]:
    narrow, wide = (BATCH, HEADS, LATENTS), (BATCH, HEADS, WIDTH)
    state = latte.State.empty(BATCH, HEADS, LATENTS, WIDTH, device=place.device)
    for start in range(0, read, 16384):  # in pieces: the state of 256k tokens needs no memory
        _, k, v, _ = inputs("latte", min(16384, read - start), place)
        state = state.merge(latte.State.of(k, v))
    q, k, v = place.normal(*narrow), place.normal(*narrow), place.normal(*wide)

    def step() -> Tensor:
        nonlocal state
        y, state = latte.step(q, k, v, state)
        return y

    return step


def _sdpa_step(read: int, place: Place) -> Callable[[], object]:
    keys, values = (place.normal(BATCH, HEADS, read, WIDTH) for _ in range(2))
    q, k, v = (place.normal(BATCH, HEADS, 1, WIDTH) for _ in range(3))

    def step() -> Tensor:
        keys[:, :, -1:], values[:, :, -1:] = k, v
        return scaled_dot_product_attention(q, keys, values)

    return step


@torch.no_grad()
def block(tokens: int, place: Place, most: int) -> list[Row]:
    """A whole encoder block (width 512, 256 latents) with its parameters in fp32 and in bf16."""
    works = {}
    for dtype in (torch.float32, torch.bfloat16):
        stack = Stack(512, 1, HEADS, latents=HEADS * LATENTS).to(place.device, dtype)
        x = place._replace(dtype=dtype).normal(BATCH, tokens, 512)
        works[str(dtype).removeprefix("torch.")] = partial(stack, x)
    measured = round_robin(works, place, most)
    return [{"dtype": dtype, "tokens": tokens, **summary(s)} for dtype, s in measured.items()]
