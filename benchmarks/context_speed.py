"""Seconds and memory of prefill, and milliseconds of a next token after it."""

import copy
import ctypes
import gc
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from context_models import CHUNK, MeasurementLog, ModelSpec, Row, new_cache, prefill

from encoders.language.cache import cache_bytes
from vqa import memory

PREFILL_LENGTHS = (512, 1024, 2048, 4096, 8192, 16384, 32768)
DECODE_LENGTHS = (1024, 4096, 16384, 32768)
KINDS = ("whole", "chunks", "decode")
STEPS, WARM_UP_STEPS = 20, 3
WARM_UP_TOKENS = 64


def in_fresh_process(function: Callable[..., Row], *args: Any) -> Row:
    """The result of `function` in a process of its own, whose memory nothing else has used."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def reset_peak() -> int:
    """Start the peak of resident memory anew (Linux); the bytes resident now."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps what loading freed
        if trim is not None:
            trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    return memory.resident()


def time_prefill(spec: ModelSpec, ids: list[int], chunk: int, threads: int) -> Row:
    """One prefill of `ids`: seconds, peak memory beside the weights, bytes of the cache."""
    torch.set_num_threads(threads)
    model, tokens = spec.load(), torch.tensor(ids)
    prefill(model, tokens[:WARM_UP_TOKENS], new_cache(model))
    cache, before = new_cache(model), reset_peak()
    wall, cpu = perf_counter(), process_time()
    prefill(model, tokens, cache, chunk)
    return {
        "seconds": round(perf_counter() - wall, 3),
        "cpu_seconds": round(process_time() - cpu, 3),
        "peak_bytes": memory.peak() - before,
        "cache_bytes": cache_bytes(cache),
    }


def time_decode(spec: ModelSpec, ids: list[int], lengths: Sequence[int], threads: int) -> Row:
    """CPU milliseconds of `STEPS` greedy steps after each of `lengths` tokens of `ids`.

    The lengths take turns in one process, so that the machine's noise is the same for all.
    """
    torch.set_num_threads(threads)
    model, tokens = spec.load(), torch.tensor(ids)
    cache, done, states = new_cache(model), 0, {}
    for length in sorted(lengths):
        logits = prefill(model, tokens[done:length], cache)
        states[length], done = [copy.deepcopy(cache), logits], length
    sizes = {length: cache_bytes(state) for length, (state, _) in states.items()}
    times: dict[int, list[float]] = {length: [] for length in states}
    for step in range(WARM_UP_STEPS + STEPS):
        for length, state in states.items():
            start = process_time()
            state[1] = prefill(model, state[1].argmax()[None], state[0])
            if step >= WARM_UP_STEPS:
                times[length].append(round(1000 * (process_time() - start), 3))
    return {
        "step_ms": {str(length): each for length, each in times.items()},
        "cache_bytes": {str(length): size for length, size in sizes.items()},
    }


def measure_speed(
    specs: Sequence[ModelSpec],
    ids: list[int],
    lengths: Sequence[int] | None,
    kinds: Sequence[str],
    threads: int,
    log: MeasurementLog,
) -> None:
    """Append a row a prefill, or a decoding at all lengths in turns, of those `log` has not.

    Raises ValueError for a text shorter than the longest of the lengths.
    """
    longest = max(lengths or PREFILL_LENGTHS)
    if len(ids) < longest:
        raise ValueError(f"the first text has {len(ids)} tokens, fewer than {longest}")
    for spec in specs:
        head = {"model": spec.name, "weights": spec.fingerprint(), "threads": threads}
        for kind in kinds:
            if kind == "decode":
                _measure_decode(spec, ids, lengths or DECODE_LENGTHS, head, log)
                continue
            for length in lengths or PREFILL_LENGTHS:
                key = head | {"task": "prefill", "kind": kind, "length": length}
                if not log.has(key):
                    chunk = length if kind == "whole" else CHUNK
                    row = in_fresh_process(time_prefill, spec, ids[:length], chunk, threads)
                    log.append(key | row)


def _measure_decode(
    spec: ModelSpec, ids: list[int], lengths: Sequence[int], head: Row, log: MeasurementLog
) -> None:
    key = head | {"task": "decode", "lengths": " ".join(map(str, sorted(lengths)))}
    if not log.has(key):
        threads = head["threads"]
        log.append(key | in_fresh_process(time_decode, spec, ids[: max(lengths)], lengths, threads))
