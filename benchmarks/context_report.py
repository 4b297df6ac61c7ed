"""Markdown tables, JSON and picture of the measurements of benchmarks/context.py."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from context_models import Row
from context_plot import draw_context
from context_statistics import model_order, summarize


def write_report(rows: Sequence[Row], path: Path) -> str:
    """Write .json and .svg beside the jsonl `path`; the tables as Markdown."""
    figures = summarize(rows)
    path.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    draw_context(figures, path.with_suffix(".svg"))
    return tables(figures)


def tables(figures: dict[str, list[Row]]) -> str:
    """Markdown of the figures of `summarize`; what was not measured is left out."""
    parts = []
    for kind, title in (
        ("same tokens", "Perplexity, the same tokens with contexts of N tokens"),
        ("last half", "Perplexity, last half of texts of N tokens"),
    ):
        own = [figure for figure in figures["perplexity"] if figure["kind"] == kind]
        table = _by_length(own, "model", model_order(own), lambda f: f"{f['perplexity']:.2f}")
        parts.append((f"{title}{_scored_tokens(own)}", table))
    parts += _ratio_tables(figures)
    parts.append(("Prefill", _prefill_table(figures["prefill"])))
    parts.append(("A next token after N tokens", _decode_table(figures["decode"])))
    table = _by_length(figures["passkey"], "model", model_order(figures["passkey"]), _passkey_cell)
    parts.append(("Passkey: right of trials (95 % Wilson interval)", table))
    return "\n\n".join(f"**{title}**\n\n{table}" for title, table in parts if table)


def _scored_tokens(figures: Sequence[Row]) -> str:
    counts = sorted({figure["tokens"] for figure in figures})
    if not counts:
        return ""
    tokens = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    return f" ({tokens} tokens scored)"


def _ratio_tables(figures: dict[str, list[Row]]) -> list[tuple[str, str]]:
    over_models, over_lengths = figures["over_models"], figures["over_lengths"]
    baselines = list(dict.fromkeys(figure["baseline"] for figure in over_models))
    models = model_order(over_lengths)
    lengths = sorted({figure["baseline"] for figure in over_lengths})
    reference = " or ".join(f"{length:,}" for length in lengths)
    return [
        (
            "Perplexity of the trained model over that of others, same tokens (95 % interval)",
            _by_length(over_models, "baseline", baselines, _ratio_cell),
        ),
        (
            f"Perplexity at N over the model's own at {reference}, same tokens (95 % interval)",
            _by_length(over_lengths, "model", models, _ratio_cell),
        ),
    ]


def _ratio_cell(figure: Row) -> str:
    return f"{figure['ratio']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _passkey_cell(figure: Row) -> str:
    interval = f"{100 * figure['low']:.0f} to {100 * figure['high']:.0f} %"
    return f"{figure['right']}/{figure['trials']} ({interval})"


def _by_length(
    figures: Sequence[Row], column: str, names: Sequence[str], cell: Callable[[Row], str]
) -> str:
    """A line a length, a column a name; empty without figures."""
    if not figures:
        return ""
    cells = {(figure["length"], figure[column]): cell(figure) for figure in figures}
    lines = [
        [f"{length:,}", *(cells.get((length, name), "") for name in names)]
        for length in sorted({figure["length"] for figure in figures})
    ]
    return _markdown(["N", *names], lines)


def _prefill_table(figures: Sequence[Row]) -> str:
    lines = [
        [
            f"{row['length']:,}",
            row["model"],
            {"whole": "one pass", "chunks": "chunks of 2,048"}[row["kind"]],
            f"{row['cpu_seconds']:.1f}",
            f"{row['length'] / row['cpu_seconds']:.0f}",
            _mib(row["peak_bytes"]),
            _mib(row["cache_bytes"]),
        ]
        for row in sorted(figures, key=lambda row: (row["length"], row["kind"], row["model"]))
    ]
    head = ["N", "model", "prefill", "CPU s", "tokens a CPU s"]
    return _markdown([*head, "MiB beside the weights", "MiB of cache"], lines)


def _decode_table(figures: Sequence[Row]) -> str:
    lines = [
        [
            f"{row['length']:,}",
            row["model"],
            f"{row['ms']:.1f}",
            f"{row['over_shortest']:.2f}",
            _mib(row["cache_bytes"]),
        ]
        for row in sorted(figures, key=lambda row: (row["model"], row["length"]))
    ]
    return _markdown(["N", "model", "CPU ms", "over the shortest N", "MiB of cache"], lines)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f}"


def _markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [f"| {' | '.join(line)} |" for line in lines]
    if not rows:
        return ""
    return "\n".join([f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *rows])
