"""The picture of benchmarks/operators.py: time against T, both logarithmic, as plain SVG."""

from collections.abc import Sequence
from math import ceil, floor, log2, log10
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 860, 500
LEFT, RIGHT, TOP, BOTTOM = 74, 690, 84, 436
INK, PALE = "#374151", "#e5e7eb"


class Look(NamedTuple):
    """How a contestant is drawn; `above`: its name stands left of its end, not right."""

    color: str
    dashes: str = "none"
    above: bool = False


# One colour an operator; dashed is causal, so that the five differ without colours, too.
LOOKS = {
    "Latte bidirectional": Look("#c2410c"),
    "Latte causal": Look("#c2410c", "7 4"),
    "SDPA full": Look("#1d4ed8"),
    "SDPA causal": Look("#1d4ed8", "7 4"),
    "sequential scan": Look("#6b7280", "2 4", above=True),
}


def picture(results: dict[str, Any]) -> str:
    """The forward passes as an SVG document, on a light panel of its own for dark pages."""
    machine, size = results["machine"], results["sizes"]
    rows = [row for row in results["times"] if row["pass"] == "forward"]
    first, last = log2(min(r["tokens"] for r in rows)), log2(max(r["tokens"] for r in rows))
    low = floor(log10(min(r["median_ms"] for r in rows)))
    high = ceil(log10(max(r["median_ms"] for r in rows)))

    def across(tokens: float) -> float:
        return LEFT + (log2(tokens) - first) / (last - first) * (RIGHT - LEFT)

    def down(ms: float) -> float:
        return BOTTOM - (log10(ms) - low) / (high - low) * (BOTTOM - TOP)

    curves = {
        name: [(across(r["tokens"]), down(r["median_ms"])) for r in rows if r["contestant"] == name]
        for name in LOOKS
    }
    where = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
    setting = f"{where}, {machine['threads']} threads, {machine['dtype']}, {machine['date'][:10]}"
    heads = f"{size['heads']} heads of {size['width']} channels and {size['latents']} latents"
    parts = [
        _text(LEFT, 34, "Time of one forward pass", size=17, weight=600),
        _text(LEFT, 56, f"{heads}; {setting}", color="#6b7280"),
    ]
    for power in range(low, high + 1):
        y = down(10.0**power)
        parts += [_line(LEFT, y, RIGHT, y), _text(LEFT - 10, y + 4, _unit(power), anchor="end")]
    for tokens in (2**n for n in range(ceil(first), floor(last) + 1, 2)):
        x = across(tokens)
        parts += [_line(x, TOP, x, BOTTOM), _text(x, BOTTOM + 20, f"{tokens:,}", anchor="middle")]
    middle = (LEFT + RIGHT) / 2
    parts.append(_text(middle, BOTTOM + 44, "tokens T", anchor="middle"))
    parts += [_curve(points, LOOKS[name]) for name, points in curves.items()]
    parts += _names(curves)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif">\n<title>Time of one forward pass</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#fafafa"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _names(curves: dict[str, list[tuple[float, float]]]) -> list[str]:
    """Each curve's name at its end, moved down where two would touch."""
    parts, above = [], float("-inf")
    for name, points in sorted(curves.items(), key=lambda item: item[1][-1][1]):
        color = LOOKS[name].color
        x, y = points[-1]
        if LOOKS[name].above:
            parts.append(_text(x - 8, y - 8, name, color=color, anchor="end", weight=600))
            continue
        above = max(y + 4, above + 16)
        parts.append(_text(x + 9, above, name, color=color, weight=600))
    return parts


def _unit(power: int) -> str:
    return f"{10.0**power:g} ms" if power < 3 else f"{10.0 ** (power - 3):g} s"


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{PALE}"/>'


def _curve(points: Sequence[tuple[float, float]], look: Look) -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    stroke = f'stroke="{look.color}" stroke-width="2.5" stroke-dasharray="{look.dashes}"'
    return f'<path d="M{path}" fill="none" stroke-linejoin="round" {stroke}/>'


def _text(
    x: float,
    y: float,
    text: str,
    color: str = INK,
    anchor: str = "start",
    size: int = 13,
    weight: int = 400,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{color}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}" paint-order="stroke" stroke="#fafafa" stroke-width="4">'
        f"{escape(text)}</text>"
    )
