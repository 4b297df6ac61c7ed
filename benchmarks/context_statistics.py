"""Numbers of the report of benchmarks/context.py from its measurements."""

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

import numpy as np
from context_models import MODELS, Row
from context_perplexity import BLOCK

TRAINED_LENGTH = 8192
"""Positions that the original was trained on: its perplexity there is the reference."""
RESAMPLES = 10_000
Z = 1.959964
Blocks = dict[tuple[str, int], tuple[float, int]]


def summarize(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Figures by kind; of a model measured with several weights, only the last."""
    rows = _of_last_weights(rows)
    tasks = {
        task: [row for row in rows if row["task"] == task]
        for task in ("perplexity", "prefill", "decode", "passkey")
    }
    return {
        "perplexity": _perplexities(tasks["perplexity"]),
        "over_models": _ratios_of_models(tasks["perplexity"]),
        "over_lengths": _ratios_of_lengths(tasks["perplexity"]),
        "prefill": [_without(row, "task", "weights") for row in tasks["prefill"]],
        "decode": _decoding(tasks["decode"]),
        "passkey": _passkeys(tasks["passkey"]),
    }


def _of_last_weights(rows: Sequence[Row]) -> list[Row]:
    last = {row["model"]: row["weights"] for row in rows}
    return [row for row in rows if row["weights"] == last[row["model"]]]


def _without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def _groups(rows: Iterable[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _perplexities(rows: Sequence[Row]) -> list[Row]:
    found = []
    for (kind, model, length), group in _groups(rows, "kind", "model", "length").items():
        tokens = sum(row["end"] - row["first"] for row in group)
        nats = sum(sum(row["block_nats"]) for row in group)
        figure = {"kind": kind, "model": model, "length": length, "tokens": tokens}
        documents = len({row["document"] for row in group})
        found.append(figure | {"documents": documents, "perplexity": math.exp(nats / tokens)})
    return found


def _blocks(rows: Iterable[Row]) -> Blocks:
    """Nats and tokens of each block of scored tokens, by document and first token."""
    return {
        (row["document"], first): (nats, min(BLOCK, row["end"] - first))
        for row in rows
        for first, nats in zip(
            range(row["first"], row["end"], BLOCK), row["block_nats"], strict=True
        )
    }


def perplexity_ratio(rows: Iterable[Row], baseline: Iterable[Row]) -> Row | None:
    """Perplexity of `rows` over that of `baseline` on the tokens of both.

    The 95 % interval is over resampled blocks; None where the two have no block in common.
    """
    mine, theirs = _blocks(rows), _blocks(baseline)
    common = [key for key in mine if key in theirs and mine[key][1] == theirs[key][1]]
    if not common:
        return None
    nats = np.array([mine[key][0] - theirs[key][0] for key in common])
    tokens = np.array([mine[key][1] for key in common])
    picks = np.random.default_rng(0).integers(len(common), size=(RESAMPLES, len(common)))
    resampled = nats[picks].sum(1) / tokens[picks].sum(1)
    low, high = np.exp(np.percentile(resampled, [2.5, 97.5]))
    ratio = float(np.exp(nats.sum() / tokens.sum()))
    return {"ratio": ratio, "low": float(low), "high": float(high), "blocks": len(common)}


def _ratios_of_models(rows: Sequence[Row]) -> list[Row]:
    """The trained model over each other one, on the same tokens at the same length."""
    groups = _groups((r for r in rows if r["kind"] == "same tokens"), "model", "length")
    found = []
    for (model, length), group in groups.items():
        trained = groups.get(("trained", length), [])
        ratio = perplexity_ratio(trained, group)
        if model != "trained" and ratio:
            found.append({"model": "trained", "baseline": model, "length": length} | ratio)
    return found


def _ratios_of_lengths(rows: Sequence[Row]) -> list[Row]:
    """Each model's perplexity of the same tokens over its own at `TRAINED_LENGTH`.

    Of a model not measured there, over that at its longest length below.
    """
    groups = _groups((r for r in rows if r["kind"] == "same tokens"), "model", "length")
    found = []
    for (model, length), group in groups.items():
        lengths = sorted(n for m, n in groups if m == model)
        baseline = max((n for n in lengths if n <= TRAINED_LENGTH), default=lengths[0])
        ratio = perplexity_ratio(group, groups[model, baseline])
        if length != baseline and ratio:
            found.append({"model": model, "length": length, "baseline": baseline} | ratio)
    return found


def _decoding(rows: Sequence[Row]) -> list[Row]:
    """Median milliseconds a step, and over the shortest length of the same process."""
    found = []
    for row in rows:
        shortest, *_ = row["step_ms"].values()
        for length, times in row["step_ms"].items():
            turns = zip(times, shortest, strict=True)
            figure = {"model": row["model"], "threads": row["threads"], "length": int(length)}
            figure |= {"ms": median(times), "steps": len(times)}
            figure |= {"over_shortest": median(ms / base for ms, base in turns)}
            found.append(figure | {"cache_bytes": row["cache_bytes"][length]})
    return found


def _passkeys(rows: Sequence[Row]) -> list[Row]:
    found = []
    for (model, length), group in _groups(rows, "model", "length").items():
        right = sum(row["right"] for row in group)
        low, high = wilson(right, len(group))
        figure = {"model": model, "length": length, "right": right, "trials": len(group)}
        found.append(figure | {"low": low, "high": high})
    return found


def wilson(right: int, trials: int) -> tuple[float, float]:
    """95 % Wilson interval of a share."""
    share, z2 = right / trials, Z * Z / trials
    centre = (share + z2 / 2) / (1 + z2)
    half = Z * math.sqrt(share * (1 - share) / trials + z2 / trials / 4) / (1 + z2)
    return max(0.0, centre - half), min(1.0, centre + half)


def model_order(figures: Iterable[Row]) -> list[str]:
    """Models of `figures` as `MODELS` has them."""
    names = {figure["model"] for figure in figures}
    return [name for name in MODELS if name in names]
