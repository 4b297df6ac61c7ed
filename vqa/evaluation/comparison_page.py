"""A comparison as one HTML page that needs no other file and no network."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vqa.evaluation.predictions import RunError


def write(comparison: dict[str, Any], file: Path) -> None:
    """Writes the page. Raises RunError where that is not possible."""
    try:
        file.write_text(page(comparison), encoding="utf-8", errors="replace")
    except OSError as error:
        raise RunError(
            f"{file} cannot be written ({error.strerror}); give --out another file"
        ) from error


def page(comparison: dict[str, Any]) -> str:
    """The HTML of what `comparison.compare` returned; all text in it is escaped."""
    environment = Environment(
        loader=PackageLoader("vqa.evaluation"), autoescape=True, undefined=StrictUndefined
    )
    tables = [
        (title, comparison[f"per_{title.replace(' ', '_')}"])
        for title in ("answer type", "question type")
    ]
    template = environment.get_template("comparison.html")
    return template.render(**comparison, tables=tables, method=method(comparison))


def method(comparison: dict[str, Any]) -> str:
    """How the intervals and the test were made, in two sentences."""
    pair = comparison["pairs"][0]
    drawn = "images" if pair["clustered_by_image"] else "questions"
    right = "a score of at least one half" if any(p["graded"] for p in comparison["pairs"]) else "1"
    return (
        f"Intervals: {comparison['resamples']:,} bootstrap resamples of {pair['clusters']:,} "
        f"{drawn}, seed {comparison['seed']}. McNemar: exact and two-sided; right is {right}."
    )
