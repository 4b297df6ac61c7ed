"""The pictures of benchmarks/resolution.py."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402 - the backend first

COLOURS = {"latte": "#c2410c", "attention": "#1d4ed8"}


def cost_picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds of the fusion and peak memory against tokens, both axes logarithmic."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for mixer, colour in COLOURS.items():
        own = [row for row in rows if row["mixer"] == mixer]
        tokens = [row["tokens"] for row in own]
        seconds = [row["fusion_seconds"] for row in own]
        axes[0].loglog(tokens, seconds, "o-", color=colour, label=mixer)
        memory = [row["peak_bytes"] / 2**20 for row in own]
        axes[1].loglog(tokens, memory, "o-", color=colour, label=mixer)
    for axis, title in zip(axes, ("fusion, seconds", "peak memory, MiB"), strict=True):
        axis.set(title=title, xlabel="tokens")
        axis.grid(True, which="both", color="#e5e7eb")
        axis.legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def curves_picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against the size of the canvas, a line a strategy, a panel a size of objects."""
    objects = sorted({row["object_size"] for row in rows})
    figure, axes = plt.subplots(1, len(objects), figsize=(5 * len(objects), 4), squeeze=False)
    for axis, size in zip(axes[0], objects, strict=True):
        own = [row for row in rows if row["object_size"] == size]
        for strategy in dict.fromkeys(row["strategy"] for row in own):
            line = [row for row in own if row["strategy"] == strategy]
            sides = [row["canvas"] for row in line]
            axis.plot(sides, [100 * row["accuracy"] for row in line], "o-", label=strategy)
        axis.axhline(100 * own[0]["prior"], color="#6b7280", linestyle=":", label="prior")
        axis.set_xscale("log", base=2)
        axis.set(title=f"objects of {size} px", xlabel="canvas, px a side", ylabel="right, %")
        axis.grid(True, color="#e5e7eb")
        axis.legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
