"""What Latte costs beside softmax attention (SDPA) and the authors' sequential scan.

    python benchmarks/operators.py        # 2 cores: about 8 minutes, on an otherwise idle machine
    python benchmarks/operators.py --device cuda --dtype bfloat16

One run measures all of it in turns: milliseconds and peak memory against the length T, the share
of what the machine's own matrix products and memory allow, a decoding step, a block in bf16.
Prints Markdown tables; writes operators_DEVICE.json and .svg to benchmarks/results.
"""

import argparse
import json
import os
import platform
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import torch
from operators_measure import (
    BATCH,
    CONTESTANTS,
    HEADS,
    LATENTS,
    WIDTH,
    Place,
    block,
    decoding,
    keep_freed_memory,
    peaks,
    rates,
    times,
)
from operators_plot import picture
from operators_report import Results, shares, tables, targets


class Plan(NamedTuple):
    """What to measure: everything is a number of tokens, unless said otherwise."""

    grid: tuple[int, ...]
    memory: tuple[int, ...]
    states: tuple[int, ...]
    caches: tuple[int, ...]
    block: int
    squares: tuple[int, ...]  # sizes of matrix products
    copied: int  # bytes
    steps: int  # of decoding
    most: int  # runs of one contestant at one T
    weighed: tuple[str, ...] = tuple(CONTESTANTS)  # in memory


FULL = Plan(
    grid=tuple(2**n for n in range(6, 19)),
    memory=(4096, 16384, 65536, 262144),
    states=(1024, 262144),
    caches=(1024, 16384, 65536),
    block=4096,
    squares=(512, 1024, 2048, 4096),
    copied=2**28,
    steps=500,
    most=50,
)
QUICK = Plan(
    grid=(64, 128),
    memory=(128,),
    states=(64, 256),
    caches=(64,),
    block=64,
    squares=(256,),
    copied=2**22,
    steps=20,
    most=3,
    weighed=("Latte causal",),
)


def machine(place: Place) -> Results:
    cuda = place.device.type == "cuda"
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    amx_or_avx = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return {
        "cpu": next(names, platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "threads": place.threads,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "dtype": str(place.dtype).removeprefix("torch."),
        "bf16_arithmetic": torch.cuda.is_bf16_supported() if cuda else amx_or_avx,
        "torch": torch.__version__,
        "date": datetime.now().astimezone().isoformat(timespec="minutes"),
    }


def measure(plan: Plan, place: Place, limit: float) -> Results:
    """Everything that is measured; `operators_report` says what it means."""
    torch.manual_seed(0)
    keep_freed_memory()
    before = rates(plan.squares, plan.copied, place)
    timed = times(plan.grid, limit, place, plan.most)
    after = rates(plan.squares, plan.copied, place)
    weighed = [
        (row["contestant"], row["pass"], row["tokens"])
        for row in timed
        if row["tokens"] in plan.memory and row["contestant"] in plan.weighed
    ]
    return {
        "machine": machine(place),
        "sizes": {
            "batch": BATCH,
            "heads": HEADS,
            "latents": LATENTS,
            "width": WIDTH,
            "bytes": place.dtype.itemsize,
        },
        "rates": {key: max(before[key], after[key]) for key in before},
        "times": timed,
        "peaks": peaks(weighed, place),
        "decoding": decoding(plan.states, plan.caches, plan.steps, place),
        "block": block(plan.block, place, plan.most),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--limit-seconds", type=float, default=20, help='a run that would take longer is a "-"'
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    place = Place(torch.device(options.device), getattr(torch, options.dtype), options.threads)
    results = measure(QUICK if options.quick else FULL, place, options.limit_seconds)
    results["shares"] = shares(results)
    results["targets"] = [target.as_row() for target in targets(results)]

    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / f"operators_{place.device.type}"
    stem.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    stem.with_suffix(".svg").write_text(picture(results))
    print(tables(results))


if __name__ == "__main__":
    main()
