"""`vqa submit` and `vqa validate-submission`: files for evaluation servers."""

import sys
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Exit, Option

from vqa import submissions
from vqa.commands import DataOptions
from vqa.dataset_options import parse_options
from vqa.datasets import Dataset
from vqa.submissions import _run, aokvqa

SHOWN = 20

Name = Annotated[str, Option("--dataset", help="Name of the data set that has the server.")]
Root = Annotated[str | None, Option(help="The data set's folder.")]
Split = Annotated[str, Option(help="The split that the server scores.")]
Task = Annotated[str | None, Option(help="A second task of the data set: answerability of vizwiz.")]
SkipBad = Annotated[
    bool, Option("--skip-bad", help="Go on at bad rows; they count as a fault at the end.")
]


def submit(
    run: Annotated[
        Path,
        Argument(help="Folder that vqa evaluate wrote, its predictions.jsonl or results.json."),
    ],
    dataset: Name,
    out: Annotated[Path, Option(help="The file to send.")],
    root: Root = None,
    split: Split = "test",
    option: DataOptions = None,
    task: Task = None,
    multiple_choice: Annotated[
        Path | None, Option(help="aokvqa: the run with task=multiple_choice, joined with RUN.")
    ] = None,
    skip_bad: SkipBad = False,
) -> None:
    """Write the answers of a run as the data set's evaluation server wants them.

    The file is checked as validate-submission does; with a fault nothing is written. An A-OKVQA
    run with task=multiple_choice alone needs --option task=multiple_choice.
    """
    if multiple_choice is not None and dataset != "aokvqa":
        raise ValueError(f"--multiple-choice joins runs of aokvqa only, not of {dataset}")
    form = submissions.create(dataset, task)
    data = _open(form, dataset, root, split, option, skip_bad)
    if dataset == "aokvqa":
        runs = _by_task(run, multiple_choice, option)
        answers = aokvqa.joined({name: _answers(form, data, path) for name, path in runs.items()})
    else:
        answers = dict(_answers(form, data, run))
    count = submissions.write(form, data, answers, out)
    print(f"{out}: {count:,} answers")


def validate_submission(
    file: Annotated[Path, Argument(help="The file that is to be sent.")],
    dataset: Name,
    root: Root = None,
    split: Split = "test",
    option: DataOptions = None,
    task: Task = None,
    every: Annotated[bool, Option("--all", help=f"Print more than {SHOWN} faults.")] = False,
    skip_bad: SkipBad = False,
) -> None:
    """Check a file before it is sent: OK, or every fault with its question and value.

    Exits with 1 if there are faults.
    """
    form = submissions.create(dataset, task)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror})") from None
    data = _open(form, dataset, root, split, option, skip_bad)
    faults = submissions.check(form, data, content)
    if not faults:
        print(f"OK, {len(data):,} answers")
        return
    print(f"{file}: {submissions.listed(faults, len(faults) if every else SHOWN)}")
    if len(faults) > SHOWN and not every:
        print("  (--all prints all of them)")
    raise Exit(1)


def _open(
    form: submissions.Submission,
    name: str,
    root: str | None,
    split: str,
    option: list[str] | None,
    skip_bad: bool,
) -> Dataset:
    """The questions the server wants, bad rows told on standard error."""
    if split in form.whole:
        print(f"{split} is sent with all questions of {form.whole[split]}", file=sys.stderr)
    options: dict[str, Any] = parse_options(option)
    data = submissions.open_dataset(form, name, root, split, skip_bad, **options)
    for reason in data.skipped:
        print(f"skipped {reason}", file=sys.stderr)
    return data


def _by_task(run: Path, multiple_choice: Path | None, option: list[str] | None) -> dict[str, Path]:
    """Which run of A-OKVQA answers which of its tasks."""
    task = parse_options(option).get("task", "direct_answer")
    if multiple_choice is not None and task == "multiple_choice":
        raise ValueError(
            "RUN and --multiple-choice are both of task=multiple_choice; give the run with direct "
            "answers as RUN, without --option task"
        )
    runs = {task: run, **({"multiple_choice": multiple_choice} if multiple_choice else {})}
    for wanted, path in runs.items():
        if (known := _run.task_of(path, "direct_answer")) not in (None, wanted):
            raise ValueError(
                f"{path} was evaluated with task={known} and is given as {wanted}; give "
                "multiple-choice runs as --multiple-choice, or alone with --option "
                "task=multiple_choice"
            )
    return runs


def _answers(form: submissions.Submission, data: Dataset, run: Path) -> submissions.Answers:
    rows = _run.read(run)
    _run.check_asked(run, rows, [data[index] for index in range(len(data))])
    return {identity: form.value(row) for identity, row in rows.items()}
