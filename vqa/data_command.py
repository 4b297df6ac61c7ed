"""`vqa data`: what is in a split of a data set, and which of its images are broken."""

from collections.abc import Iterator, Mapping
from json import dumps
from typing import Annotated, Any

from typer import Argument, Exit, Option

from vqa import datasets
from vqa.commands import DataOptions, DataRoot
from vqa.dataset_options import parse_options

Found = Mapping[str, Any]


def data(
    name: Annotated[
        str, Argument(help=f"Name of the data set: {', '.join(datasets.available())}.")
    ],
    root: DataRoot = None,
    split: Annotated[str, Option(help="train, val, test or another split it has.")] = "train",
    option: DataOptions = None,
    skip_bad: Annotated[
        bool, Option("--skip-bad", help="Bad rows and broken images are no failure.")
    ] = False,
    processes: Annotated[
        int | None, Option(min=1, help="Processes that decode images; one a core if not given.")
    ] = None,
    json: Annotated[bool, Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show what is in a data set and check that every image can be decoded to its end.

    Bad rows and broken images are named, all of them. Exits with 1 if there are any, unless
    --skip-bad is given.
    """
    from vqa.survey import survey

    options = parse_options(option)
    # Bad rows are always skipped here: all of them are to be named, not the first.
    opened = datasets.create(name, root, split, skip_bad=True, **options)
    found = {"name": name, "split": split, **survey(opened, processes)}
    print(dumps(found, ensure_ascii=False, indent=1) if json else "\n".join(_lines(found)))
    if (found["broken_images"] or found["bad_rows"]) and not skip_bad:
        raise Exit(1)


def _lines(found: Found) -> Iterator[str]:
    yield f"{found['name']} {found['split']}"
    yield from _counts(found)
    yield from _sizes(found)
    yield from _lengths(found)
    for title in ("answer_types", "question_types"):
        if found[title]:
            yield from ("", title.replace("_", " "), *_table(found[title], found["questions"]))
    yield from _answers(found)
    yield from _examples(found)
    yield from _faults(found)


def _counts(found: Found) -> Iterator[str]:
    yield f"questions  {found['questions']:,}"
    yield f"images     {found['images']:,}"
    if found["drawn"]:
        yield "           drawn when they are asked for; there are no files to check"
    if found["unanswered"]:
        yield f"           {found['unanswered']:,} questions have no answer"


def _sizes(found: Found) -> Iterator[str]:
    for name, size in (found["image_sizes"] or {}).items():
        pixels = f"{size['width']:,} x {size['height']:,} pixels"
        yield f"{name:<9}  {pixels} ({size['megapixels']:.3g} Mpx)"


def _lengths(found: Found) -> Iterator[str]:
    yield ""
    yield f"{'length':<22}{'min':>7}{'median':>8}{'95 %':>7}{'max':>7}"
    for title in ("question", "answer"):
        for unit, of in (found[f"{title}_length"] or {}).items():
            numbers = f"{of['min']:>7,}{of['median']:>8,}{of['p95']:>7,}{of['max']:>7,}"
            yield f"{f'{title}, {unit}':<22}{numbers}"


def _table(counts: Mapping[str, int], total: int) -> Iterator[str]:
    for name, count in counts.items():
        yield f"{count:>9,}  {100 * count / total:5.1f} %  {name}"


def _answers(found: Found) -> Iterator[str]:
    answers = found["answers"]
    if not answers["total"]:
        return
    yield ""
    shown = len(answers["most_frequent"])
    which = "" if shown == answers["distinct"] else f"; the {shown} most frequent"
    yield f"{answers['distinct']:,} distinct answers of {answers['total']:,}{which}"
    frequent = {row["answer"]: row["count"] for row in answers["most_frequent"]}
    yield from _table(frequent, answers["total"])


def _examples(found: Found) -> Iterator[str]:
    yield ""
    yield "examples"
    for example in found["examples"]:
        told = " | ".join(example["answers"]) or "no answer"
        yield f"  {example['question_id']}: {example['question']} -> {told}"
        yield f"    {example['image']}"


def _faults(found: Found) -> Iterator[str]:
    yield ""
    yield f"{len(found['bad_rows']):,} bad rows"
    yield from (f"  {reason}" for reason in found["bad_rows"])
    if not found["drawn"]:
        broken = found["broken_images"]
        yield f"{len(broken):,} broken images of {found['images']:,}"
        yield from (f"  {row['reason']}" for row in broken)
