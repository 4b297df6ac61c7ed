"""Learning curves from the metrics.csv files of trainings, as a picture."""

import csv
from collections.abc import Mapping
from pathlib import Path

Curve = dict[int, float]
"""Share of right validation answers by step."""


def curve(folder: Path) -> Curve:
    """What a training logged under `folder`; a later version takes the place of an earlier one from
    its first step on, be it a resumption or a new training."""
    found: Curve = {}
    for path in sorted(folder.rglob("metrics.csv"), key=_version):
        with path.open(encoding="utf-8") as lines:
            rows = [row for row in csv.DictReader(lines) if row["step"]]
        first = min((int(row["step"]) for row in rows), default=0)
        found = {step: share for step, share in found.items() if step <= first}
        for row in rows:
            if row.get("val/accuracy"):
                found[int(row["step"]) + 1] = float(row["val/accuracy"])
    return found


def _version(path: Path) -> int:
    """Of Lightning's folder version_N."""
    number = path.parent.name.rpartition("_")[2]
    return int(number) if number.isdecimal() else -1


def picture(panels: Mapping[str, Mapping[str, Curve]], path: Path) -> None:
    """A panel a data set, a line a training. A page without curves needs no matplotlib."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(panels), figsize=(1 + 4 * len(panels), 3.6), squeeze=False, sharey=True
    )
    for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for name, points in curves.items():
            shares = [100 * share for share in points.values()]
            axis.plot(list(points), shares, "o-", markersize=3, label=name)
        axis.set(title=title, xlabel="step", ylim=(0, 100))
        axis.grid(True, color="#e5e7eb")
        axis.legend()
    axes[0][0].set_ylabel("right validation answers, %")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
