"""The table and the picture of benchmarks/language.py."""

import math
from pathlib import Path
from typing import Any

import numpy as np

COLOURS = {
    "softmax": "#1d4ed8",
    "Latte": "#c2410c",
    "Latte + VAPOR": "#ca8a04",
    "Latte-Macchiato": "#15803d",
}
BASELINE = "softmax"
RESAMPLES = 10_000
Row = dict[str, Any]


def bits_per_character(row: Row) -> float:
    """Of the last row of a run."""
    return float(np.mean(row["block_losses"])) / math.log(2) / float(row["characters_per_token"])


def perplexity(row: Row) -> float:
    """A token, of the last row of a run."""
    return math.exp(float(np.mean(row["block_losses"])))


def difference(row: Row, baseline: Row) -> tuple[float, float, float]:
    """Nats a token above the baseline: mean, and its 95 % interval over resampled blocks."""
    paired = np.subtract(row["block_losses"], baseline["block_losses"])
    picks = np.random.default_rng(0).integers(len(paired), size=(RESAMPLES, len(paired)))
    low, high = np.percentile(paired[picks].mean(1), [2.5, 97.5])
    return float(paired.mean()), float(low), float(high)


def cpu_seconds(rows: list[Row], row: Row) -> float:
    """Of all segments of the run that `row` belongs to."""
    names = ("tokenization", "mixer", "seed")
    own = [other for other in rows if all(other[name] == row[name] for name in names)]
    ends = {other["segment"]: other["cpu_seconds"] for other in own}  # the last line of each
    return float(sum(ends.values()))


def table(rows: list[Row]) -> str:
    """Markdown: a line a finished run, beside the softmax run of the same text and seed."""
    finished = {(r["tokenization"], r["seed"], r["mixer"]): r for r in rows if r.get("final")}
    lines = [
        "| text | seed | mixer | parameters | bits a character | perplexity a token "
        "| nats a token above softmax (95 %) | CPU s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (tokenization, seed, mixer), row in finished.items():
        baseline = finished.get((tokenization, seed, BASELINE))
        above = ""
        if baseline is not None and mixer != BASELINE:
            above = "{:+.3f} ({:+.3f} to {:+.3f})".format(*difference(row, baseline))
        lines.append(
            f"| {tokenization} | {seed} | {mixer} | {row['parameters']:,} "
            f"| {bits_per_character(row):.3f} | {perplexity(row):.2f} | {above} "
            f"| {cpu_seconds(rows, row):.0f} |"
        )
    return "\n".join(lines)


def equal_steps_table(rows: list[Row]) -> str:
    """Markdown: every run at the last step that all mixers of its text and seed have reached."""
    lines = [
        "| text | seed | step | mixer | bits a character | perplexity a token |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    points = [row for row in rows if not row.get("final")]
    for text, seed in dict.fromkeys((row["tokenization"], row["seed"]) for row in points):
        own = [r for r in points if (r["tokenization"], r["seed"]) == (text, seed)]
        last = {row["mixer"]: row["step"] for row in own}
        for row in own:
            if row["step"] == min(last.values()):
                bits, perplexity = row["val/bits_per_character"], row["val/perplexity"]
                lines.append(
                    f"| {text} | {seed} | {row['step']} | {row['mixer']} "
                    f"| {bits:.2f} | {perplexity:.1f} |"
                )
    return "\n".join(lines)


def curves_picture(rows: list[Row], path: Path) -> None:
    """Learning curves: bits a character of characters, perplexity of tokens, against tokens."""
    import matplotlib  # an extra, which the table does without

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    panels = {"characters": "val/bits_per_character", "tokens": "val/perplexity"}
    figure, axes = plt.subplots(1, len(panels), figsize=(11, 4))
    for axis, (tokenization, metric) in zip(axes, panels.items(), strict=True):
        for mixer, colour in COLOURS.items():
            own = [r for r in rows if (r["tokenization"], r["mixer"]) == (tokenization, mixer)]
            for number, seed in enumerate(sorted({row["seed"] for row in own})):
                curve = [row for row in own if row["seed"] == seed and metric in row]
                tokens = [row["step"] * row["tokens_per_step"] / 1e6 for row in curve]
                values = [row[metric] for row in curve]
                label = None if number else mixer
                axis.plot(tokens, values, ".-", color=colour, label=label, alpha=1 - 0.4 * number)
        axis.set(title=tokenization, xlabel="million training tokens", ylabel=metric)
        axis.set_yscale("log")
        axis.grid(True, which="both", color="#e5e7eb")
        axis.legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
