"""`vqa evaluate`: a split answered and scored."""

import os
import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from vqa import datasets
from vqa.commands import DataOptions, DataRoot, Device, MaxMemory, MaxSeconds, MaxTokens, Model
from vqa.dataset_options import parse_options

DTYPES = ("float32", "bfloat16", "float16")
LONG = ("calibration", "abstention")


def evaluate(
    dataset: Annotated[
        str, Option(help=f"Name of the data set: {', '.join(datasets.available())}.")
    ],
    out: Annotated[Path, Option(help="Folder for results, predictions and scores.")],
    model: Model = None,
    root: DataRoot = None,
    split: Annotated[str, Option(help="train, val, test, or another of the data set's.")] = "test",
    option: DataOptions = None,
    batch_size: Annotated[int, Option(min=1, help="Questions answered at once.")] = 64,
    limit: Annotated[int | None, Option(min=1, help="Answer the first questions only.")] = None,
    top_k: Annotated[int, Option(help="Answers kept a question; above 1 by beam search.")] = 1,
    candidates: Annotated[
        str | None,
        Option(
            help="Choose among answers: a file with one a line, train (those of that split), or "
            "choices (those that each question offers)."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        Option(help="Instead: question-only, image-only (others' questions) or most-frequent."),
    ] = None,
    num_workers: Annotated[int, Option(min=0, help="Processes that read images.")] = 0,
    skip_bad: Annotated[bool, Option("--skip-bad", help="Leave bad rows out, and count.")] = False,
    longest_side: Annotated[
        int | None, Option(min=1, help="Pixels of an image's longer side; larger ones are shrunk.")
    ] = None,
    features: Annotated[
        Path | None,
        Option(help="Folder of image features that are kept for the next run, as data.features."),
    ] = None,
    max_tokens: MaxTokens = None,
    max_memory: MaxMemory = None,
    max_seconds: MaxSeconds = None,
    device: Device = None,
    dtype: Annotated[str, Option(help=f"Of weights and sums: {', '.join(DTYPES)}.")] = "float32",
    report: Annotated[bool, Option("--report", help="Write report.html besides.")] = False,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Start again, whatever the folder holds.")
    ] = False,
) -> None:
    """Answer a whole split of a data set and score it with the data set's own metric.

    Writes predictions.jsonl, results.json (question_id and answer), scores.json and cost.json. The
    same command goes on where it was stopped; torchrun shares it among processes. Images that
    would cost more than allowed are read at the largest scale that does not.
    """
    from vqa.evaluation import baselines, report_page
    from vqa.evaluation.run import evaluate as answer
    from vqa.evaluation.settings import Settings
    from vqa.opening import Reading
    from vqa.predictor import Predictor

    if baseline not in (None, *baselines.NAMES):
        raise ValueError(f"no baseline {baseline!r}; choose one of {', '.join(baselines.NAMES)}")
    options = parse_options(option)
    data = datasets.create(dataset, root, split, skip_bad, **options)
    for reason in data.skipped:
        print(f"skipped {reason}", file=sys.stderr)
    if baseline == "most-frequent":
        learned = datasets.create(dataset, root, "train", skip_bad, **options)
        scores = baselines.frequent(learned, data, out, limit, overwrite)
    else:
        known: Sequence[str] = ()
        if candidates == "train":
            known = answers_of(datasets.create(dataset, root, "train", skip_bad, **options))
        elif candidates not in (None, "choices"):
            known = answers_in(Path(candidates))
        budget = Reading.within(None, 1, max_tokens, max_memory, max_seconds).budget
        settings = Settings(
            batch_size,
            limit,
            top_k,
            budget,
            tuple(known),
            candidates == "choices",
            baseline,
            tuple(sorted(option or [])),
            longest_side,
            features,
        )
        predictor = Predictor.from_pretrained(model, device or _own_device(), _dtype(dtype), 0)
        asked = baselines.WRAPPERS[baseline](data) if baseline else data
        scores = answer(predictor, asked, out, settings, num_workers, overwrite)
    if report:
        report_page.write_report(out, data)
    print(dumps(_brief(scores), indent=1))


def answers_in(path: Path) -> list[str]:
    """One answer a line. Raises ValueError for a file without any."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"candidates {path} cannot be read ({error}); give a text file with one answer a line, "
            "train or choices"
        ) from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise ValueError(f"candidates {path} holds no answer; write one a line")
    return found


def answers_of(dataset: datasets.Dataset) -> list[str]:
    """The most frequent answer of each question of a split, each once."""
    every = [dataset[index].answers for index in range(len(dataset))]
    return list(dict.fromkeys(max(some, key=some.count) for some in every if some))


def _dtype(name: str) -> str:
    if name not in DTYPES:
        raise ValueError(f"no dtype {name!r}; choose one of {', '.join(DTYPES)}")
    return name


def _own_device() -> str | None:
    """Of several processes each has a GPU of its own, where there are GPUs."""
    import torch

    rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{rank}" if rank is not None and torch.cuda.is_available() else None


def _brief(scores: dict[str, Any]) -> dict[str, Any]:
    """Without the long tables, which stand in scores.json."""
    return {name: value for name, value in scores.items() if name not in LONG}
