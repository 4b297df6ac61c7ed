"""The picture of benchmarks/context.py."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from context_models import Row
from context_statistics import model_order

COLOURS = {
    "original": "#1d4ed8",
    "window": "#6b7280",
    "sinks": "#ca8a04",
    "untrained": "#be185d",
    "trained": "#c2410c",
}
STYLES = {"whole": "o-", "chunks": "s--"}
LABELS = {"whole": "one pass", "chunks": "chunks"}


def draw_context(figures: dict[str, list[Row]], path: Path) -> None:
    """Perplexity of the same tokens, prefill seconds and peak memory against the context."""
    import matplotlib  # an extra, which the measurements do without

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    panels, axes = plt.subplots(1, 3, figsize=(15, 4.2))
    same = [figure for figure in figures["perplexity"] if figure["kind"] == "same tokens"]
    for model in model_order(same):
        _plot(axes[0], (f for f in same if f["model"] == model), "perplexity", 1, "o-", model)
    for model in model_order(figures["prefill"]):
        for kind, style in STYLES.items():
            own = [f for f in figures["prefill"] if (f["model"], f["kind"]) == (model, kind)]
            _plot(axes[1], own, "cpu_seconds", 1, style, model, LABELS[kind])
            _plot(axes[2], own, "peak_bytes", 2**20, style, model, LABELS[kind])
    titles = ("perplexity, same tokens", "prefill, CPU seconds", "peak memory of prefill, MiB")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xlabel="tokens of context")
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.grid(True, which="both", color="#e5e7eb")
        if axis.lines:
            axis.legend()
    panels.tight_layout()
    panels.savefig(path)
    plt.close(panels)


def _plot(
    axis: Any,
    figures: Iterable[Row],
    field: str,
    unit: float,
    style: str,
    model: str,
    suffix: str = "",
) -> None:
    points = sorted((figure["length"], figure[field] / unit) for figure in figures)
    if points:
        label = f"{model}, {suffix}" if suffix else model
        axis.plot(*zip(*points, strict=True), style, color=COLOURS[model], label=label)
