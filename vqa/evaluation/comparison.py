"""Runs of `vqa evaluate` beside each other, on the questions they share."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from vqa.evaluation.bootstrap import bootstrap
from vqa.evaluation.mcnemar import mcnemar
from vqa.evaluation.predictions import Row, RunError
from vqa.evaluation.runs import Run, read

_NAMED = 5  # question ids named of those that are in one run only
_RIGHT = 0.5


def compare(
    paths: Sequence[Path], examples: int = 100, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Scores, paired differences and the questions that differ, as plain JSON values.

    Scores and differences are in percent. Each path is a folder that `vqa evaluate` wrote or its
    predictions.jsonl. Questions not in every run are counted and left out. A pair's "graded" says
    that scores between 0 and 1 occur, and that McNemar's test took those from one half on as right.
    `examples` bounds the questions listed; the ones whose scores differ most come first.

    Raises RunError for a file that cannot be read, fewer than two runs, no shared question,
    or an id that stands for two different questions.
    """
    if len(paths) < 2:
        raise RunError(f"give at least two runs to compare, not {len(paths)}")
    runs = [read(path) for path in paths]
    names = _names(runs)
    shared = [key for key in runs[0].rows if all(key in run.rows for run in runs[1:])]
    if not shared:
        files = ", ".join(str(run.file) for run in runs)
        raise RunError(f"no question is in all of {files}; compare runs of the same split")
    _check_same(runs, shared)
    table = [[run.rows[key]["score"] for key in shared] for run in runs]
    differing = _differing(runs, shared)
    return {
        "runs": [
            {
                "name": name,
                "file": str(run.file),
                "n": len(run.rows),
                "score": _percent(scores),
                "not_shared": len(run.rows) - len(shared),
                "not_shared_ids": _first_missing(run, shared),
            }
            for name, run, scores in zip(names, runs, table, strict=True)
        ],
        "n": len(shared),
        "resamples": resamples,
        "seed": seed,
        "pairs": _pairs(runs, names, shared, table, resamples, seed),
        **{
            f"per_{field}": _groups(runs, shared, table, field)
            for field in ("answer_type", "question_type")
        },
        "differing": len(differing),
        "questions": [_question(runs, key) for key in differing[:examples]],
    }


def _names(runs: Sequence[Run]) -> list[str]:
    """Short names, or the files where two would be the same."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.file) for run in runs]


def _first_missing(run: Run, shared: Sequence[int | str]) -> list[int | str]:
    known = set(shared)
    return [key for key in run.rows if key not in known][:_NAMED]


def _check_same(runs: Sequence[Run], shared: Sequence[int | str]) -> None:
    first = runs[0]
    for run in runs[1:]:
        for key in shared:
            one, other = first.rows[key]["question"], run.rows[key]["question"]
            if one != other:
                raise RunError(
                    f"question_id {key!r} is {one!r} in {first.file} and {other!r} in {run.file}; "
                    "compare runs of the same data set and split"
                )


def _pairs(
    runs: Sequence[Run],
    names: Sequence[str],
    shared: Sequence[int | str],
    table: Sequence[Sequence[float]],
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Every two runs: the second minus the first."""
    clusters, by_image = _clusters(runs[0], shared)
    right = [[score >= _RIGHT for score in scores] for scores in table]
    pairs = []
    for one, other in combinations(range(len(runs)), 2):
        differences = [b - a for a, b in zip(table[one], table[other], strict=True)]
        interval = bootstrap(differences, clusters, resamples, seed)
        test = mcnemar(right[one], right[other])
        pairs.append(
            {
                "first": names[one],
                "second": names[other],
                "difference": 100 * interval.mean,
                "low": 100 * interval.low,
                "high": 100 * interval.high,
                "clusters": interval.clusters,
                "clustered_by_image": by_image,
                "first_only_right": test.first_only,
                "second_only_right": test.second_only,
                "p_value": test.p_value,
                "graded": any(score not in (0, 1) for at in (one, other) for score in table[at]),
            }
        )
    return pairs


def _clusters(run: Run, shared: Sequence[int | str]) -> tuple[list[str], bool]:
    """What to resample: the images if every question names one, else the questions."""
    images = [run.rows[key].get("image") for key in shared]
    named = [image for image in images if image is not None]
    if len(named) == len(images):
        return named, True
    return [str(place) for place in range(len(shared))], False


def _groups(
    runs: Sequence[Run], shared: Sequence[int | str], table: Sequence[Sequence[float]], field: str
) -> dict[str, dict[str, Any]]:
    """Scores by what the first run says the group of a question is; no group, not listed."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(shared):
        if (name := runs[0].rows[key].get(field)) is not None:
            places[name].append(place)
    return {
        name: {"n": len(some), "scores": [_percent([row[at] for at in some]) for row in table]}
        for name, some in sorted(places.items())
    }


def _differing(runs: Sequence[Run], shared: Sequence[int | str]) -> list[int | str]:
    """Questions with different scores or answers; the largest spread of scores first."""

    def spread(key: int | str) -> float:
        scores = [run.rows[key]["score"] for run in runs]
        return max(scores) - min(scores)

    def differ(key: int | str) -> bool:
        return spread(key) > 0 or len({run.rows[key]["answer"] for run in runs}) > 1

    return sorted(filter(differ, shared), key=spread, reverse=True)


def _question(runs: Sequence[Run], key: int | str) -> dict[str, Any]:
    rows: list[Row] = [run.rows[key] for run in runs]
    first = rows[0]
    return {
        "question_id": key,
        "question": first["question"],
        "image": first.get("image"),
        "answer_type": first.get("answer_type"),
        "question_type": first.get("question_type"),
        "accepted": first.get("answers") or [],
        "answers": [
            {name: row.get(name) for name in ("answer", "score", "probability")} for row in rows
        ],
    }


def _percent(scores: Sequence[float]) -> float:
    return 100 * sum(scores) / len(scores)
