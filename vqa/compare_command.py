"""`vqa compare`: two or more evaluated models beside each other."""

from json import dumps
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option


def compare(
    runs: Annotated[
        list[Path], Argument(help="Folders that vqa evaluate wrote, or their predictions.jsonl.")
    ],
    out: Annotated[Path | None, Option(help="Write an HTML page here.")] = None,
    examples: Annotated[int, Option(min=0, help="Differing questions listed, at most.")] = 100,
    resamples: Annotated[int, Option(min=100, help="Resamples of the bootstrap.")] = 2000,
    seed: Annotated[int, Option(min=0, help="Another seed resamples otherwise.")] = 0,
    json: Annotated[bool, Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Compare models on the questions they share: scores, and whether a difference is chance.

    The interval of a difference is a paired bootstrap over images, the test McNemar's exact one.
    """
    from vqa.evaluation import comparison, comparison_page

    found = comparison.compare(runs, examples, resamples, seed)
    if out is not None:
        comparison_page.write(found, out)
    print(dumps(found, ensure_ascii=False, indent=1) if json else _text(found))


def _text(found: dict[str, Any]) -> str:
    from vqa.evaluation.comparison_page import method

    names = [run["name"] for run in found["runs"]]
    lines = [f"{found['n']:,} questions are in every run", *map(_run_line, found["runs"]), ""]
    for pair in found["pairs"]:
        lines += [
            f"{pair['second']} minus {pair['first']}: {pair['difference']:+.2f} "
            f"(95 % interval {pair['low']:+.2f} to {pair['high']:+.2f})",
            f"  only {pair['first']} right: {pair['first_only_right']:,}, "
            f"only {pair['second']} right: {pair['second_only_right']:,}, "
            f"McNemar p = {pair['p_value']:.3g}",
        ]
    lines.append(method(found))
    for title in ("answer type", "question type"):
        if groups := found[f"per_{title.replace(' ', '_')}"]:
            lines += ["", *_table(title, groups, names)]
    return "\n".join(lines)


def _run_line(run: dict[str, Any]) -> str:
    more = ", ..." if run["not_shared"] > len(run["not_shared_ids"]) else ""
    ids = ", ".join(map(str, run["not_shared_ids"])) + more
    left = f"; {run['not_shared']:,} not shared: {ids}" if run["not_shared"] else ""
    return f"  {run['score']:6.2f}  {run['name']}{left}"


def _table(title: str, groups: dict[str, Any], names: list[str]) -> list[str]:
    rows = [[title, "questions", *names]]
    for name, group in groups.items():
        rows.append([name, f"{group['n']:,}", *(f"{score:.2f}" for score in group["scores"])])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
