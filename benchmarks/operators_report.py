"""What the numbers of benchmarks/operators.py say: targets and tables, as pure functions."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

Results = dict[str, Any]


class Target(NamedTuple):
    """A goal; `measured` is None where the run did not reach that far, inf for "never"."""

    name: str
    sense: str
    goal: float
    measured: float | None

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        at_least = self.sense == ">="
        return self.measured >= self.goal if at_least else self.measured <= self.goal

    def as_row(self) -> dict[str, Any]:
        finite = self.measured is not None and math.isfinite(self.measured)
        return self._asdict() | {"measured": self.measured if finite else None, "met": self.met}


def targets(results: Results) -> list[Target]:
    """The project's targets, for 2 CPU cores and fp32, judged by medians."""
    both, bidirectional, causal = "forward + backward", "Latte bidirectional", "Latte causal"
    step = {row["tokens"]: row["median_ms"] for row in _of(results["decoding"], "Latte step")}
    block = {r["dtype"]: r["median_ms"] for r in results["block"] if r["tokens"] == 4096}
    native = "with" if results["machine"]["bf16_arithmetic"] else "without"
    measured = (
        ("bidirectional / SDPA at T = 16,384, times as fast", ">=", 100,
         speedups(results, bidirectional, "SDPA full").get(16384)),
        ("bidirectional faster than SDPA from T", "<=", 128,
         faster_from(speedups(results, bidirectional, "SDPA full"))),
        ("causal / causal SDPA at T = 16,384, times as fast", ">=", 25,
         speedups(results, causal, "SDPA causal").get(16384)),
        ("causal faster than causal SDPA from T", "<=", 512,
         faster_from(speedups(results, causal, "SDPA causal"))),
        ("causal / causal SDPA at T = 16,384, forward + backward, times as fast", ">=", 15,
         speedups(results, causal, "SDPA causal", both).get(16384)),
        ("causal time / bidirectional time, T = 4k to 64k, largest", "<=", 3,
         max(_span(speedups(results, bidirectional, causal), 4096, 65536), default=None)),
        ("bidirectional, share of the roofline, T = 16k to 64k, smallest", ">=", 0.6,
         min(_span(rooflines(results, bidirectional), 16384, 65536), default=None)),
        ("bidirectional time a token, T = 4k to 256k, largest / smallest", "<=", 1.15,
         _spread(results["times"], bidirectional, "median_ms")),
        ("bidirectional memory a token, T = 4k to 256k, largest / smallest", "<=", 1.15,
         _spread(results["peaks"], bidirectional, "bytes")),
        ("causal time a token, T = 4k to 256k, largest / smallest", "<=", 1.15,
         _spread(results["times"], causal, "median_ms")),
        ("causal memory a token, T = 4k to 256k, largest / smallest", "<=", 1.15,
         _spread(results["peaks"], causal, "bytes")),
        ("Latte step after 256k tokens / after 1k, time", "<=", 1.05,
         _ratio(step.get(262144), step.get(1024))),
        (f"bf16 / fp32, encoder block, CPU {native} bf16 arithmetic, times as fast", ">=", 2,
         _ratio(block.get("float32"), block.get("bfloat16"))),
    )  # fmt: skip
    return [Target(*each) for each in measured]


def speedups(results: Results, fast: str, slow: str, way: str = "forward") -> dict[int, float]:
    """How many times as fast `fast` is, at each T where both were run."""
    times = [row for row in results["times"] if row["pass"] == way]
    ours = {row["tokens"]: row["median_ms"] for row in _of(times, fast)}
    return {
        row["tokens"]: row["median_ms"] / ours[row["tokens"]]
        for row in _of(times, slow)
        if row["tokens"] in ours
    }


def faster_from(speedup: dict[int, float]) -> float | None:
    """The first T from which on it is always above 1; inf if there is none."""
    if not speedup:
        return None
    slower = max((tokens for tokens, times in speedup.items() if times <= 1), default=0)
    return min((tokens for tokens in speedup if tokens > slower), default=math.inf)


def rooflines(results: Results, name: str) -> dict[int, float]:
    """Forward, at each T: the least time that this machine needs over the time measured.

    The least time is that of the matrix products (half of them for causal SDPA) at the rate of
    the largest one, or of moving q, k, v and y once at the rate of a copy, whichever is longer.
    Latte, causal or not, counts 4 T L Dh flops, with L the latents of all heads.
    """
    rows = [row for row in _of(results["times"], name) if row["pass"] == "forward"]
    return {
        row["tokens"]: _least_ms(results, name, row["tokens"]) / row["median_ms"] for row in rows
    }


def shares(results: Results) -> list[Results]:
    """`rooflines` of all contestants as rows."""
    return [
        {"contestant": name, "tokens": tokens, "share": share}
        for name in dict.fromkeys(row["contestant"] for row in results["times"])
        for tokens, share in rooflines(results, name).items()
    ]


def _least_ms(results: Results, name: str, tokens: int) -> float:
    size, rates = results["sizes"], results["rates"]
    if name.startswith("SDPA"):
        partners, columns = tokens, 4 * size["width"]
    else:
        partners, columns = size["latents"], 2 * (size["latents"] + size["width"])
    vectors = size["batch"] * size["heads"] * tokens
    flops = 4 * vectors * partners * size["width"] / (2 if name == "SDPA causal" else 1)
    moved = vectors * columns * size["bytes"]
    return 1000 * max(flops / rates["matmul_flops"], moved / rates["copy_bytes"])


def tables(results: Results) -> str:
    """All numbers as Markdown tables."""
    rates, machine, times = results["rates"], results["machine"], results["times"]
    names = list(dict.fromkeys(row["contestant"] for row in times))
    parts = [
        ", ".join(f"{key} {value}" for key, value in machine.items()),
        f"matrix product {rates['matmul_flops'] / 1e9:.1f} GFLOP/s, "
        f"copy {rates['copy_bytes'] / 1e9:.1f} GB/s (read + write)",
    ]
    for way in ("forward", "forward + backward"):
        rows = [row for row in times if row["pass"] == way]
        parts += [f"{way}, median ms", _by_tokens(rows, names, "median_ms")]
        parts += [f"{way}, least ms", _by_tokens(rows, names, "min_ms")]
    parts += ["forward, share of the roofline", _by_tokens(shares(results), names, "share")]
    for way in ("forward", "forward + backward"):
        rows = [row | {"MB": row["bytes"] / 1e6} for row in results["peaks"] if row["pass"] == way]
        parts += [f"{way}, peak memory beyond the inputs, MB", _by_tokens(rows, names, "MB")]
    names = ["Latte step", "SDPA cached"]
    parts += ["one token more, median ms", _by_tokens(results["decoding"], names, "median_ms")]
    block = [[r["dtype"], short(r["median_ms"]), short(r["min_ms"])] for r in results["block"]]
    parts += ["encoder block", markdown(["parameters", "median ms", "min ms"], block)]
    goals = [_goal(target) for target in targets(results)]
    parts += ["targets (2 CPU cores, float32)", markdown(["", "target", "measured", ""], goals)]
    return "\n\n".join(parts)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "| " + " | ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def short(value: float | None) -> str:
    """Three digits, "-" for what was not measured."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _goal(target: Target) -> list[str]:
    verdict = {True: "met", False: "MISSED", None: "not measured"}[target.met]
    measured = "never" if target.measured == math.inf else short(target.measured)
    return [target.name, f"{target.sense} {target.goal:g}", measured, verdict]


def _by_tokens(rows: Sequence[Results], names: Sequence[str], value: str) -> str:
    cells = {(row["contestant"], row["tokens"]): row[value] for row in rows}
    grid = sorted({tokens for _, tokens in cells})
    lines = [[f"{t:,}", *(short(cells.get((name, t))) for name in names)] for t in grid]
    return markdown(["T", *names], lines)


def _of(rows: Iterable[Results], name: str) -> list[Results]:
    return [row for row in rows if row["contestant"] == name]


def _span(values: dict[int, float], first: int, last: int) -> list[float]:
    """The values at T = first to last; none unless both ends were measured."""
    if not {first, last} <= values.keys():
        return []
    return [value for tokens, value in values.items() if first <= tokens <= last]


def _spread(rows: Iterable[Results], name: str, value: str) -> float | None:
    """Largest over smallest `value` a token of the forward pass, T = 4k to 256k."""
    forward = [row for row in _of(rows, name) if row["pass"] == "forward"]
    span = _span({r["tokens"]: r[value] / r["tokens"] for r in forward}, 4096, 262144)
    return max(span) / min(span) if span else None


def _ratio(upper: float | None, lower: float | None) -> float | None:
    return None if upper is None or lower is None else upper / lower
