"""Batch evaluation: every question of a split, the answers as files, the data set's own score."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from vqa import sampler, search
from vqa.batch import Batch
from vqa.budget import Budget, plan
from vqa.datasets import Dataset, Example
from vqa.encoded import Source
from vqa.loader import Loader
from vqa.predictor import Answer, Predictor, check_top_k
from vqa.questions import Questions, Sizes, collator, token_counts

UNLIMITED = Budget()


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    out: Path,
    batch_size: int = 64,
    limit: int | None = None,
    top_k: int = 1,
    num_workers: int = 0,
    budget: Budget = UNLIMITED,
) -> dict[str, Any]:
    """Answers `dataset` and writes three files into `out`; returns what scores.json holds.

    Each image is read at the largest scale that `budget` allows; a limit of memory or seconds is
    one of a question, and has them answered one by one. Raises BudgetError where it cannot be met.

    predictions.jsonl (a line a question: answer, probability, score, tokens, seconds) grows with
    every batch; results.json (the VQA order: question_id and answer) and scores.json (percent;
    "padding" is the share of image tokens that were padding) come at the end.
    """
    check_top_k(top_k)
    out.mkdir(parents=True, exist_ok=True)
    count = len(dataset) if limit is None else min(limit, len(dataset))
    if budget.max_memory is not None or budget.max_seconds is not None:
        batch_size = 1
    read = Sizes(dataset, count)
    longest = _longest(predictor, dataset, read, budget, top_k)
    answers: dict[int | str, str] = {}
    tally = _Tally()
    real, padded = 0, 0
    with (
        (out / "predictions.jsonl").open("w", encoding="utf-8") as lines,
        tqdm(total=count, unit="question", desc="evaluate") as bar,
    ):
        for batch in _batches(predictor, dataset, read, longest, batch_size, num_workers):
            found = predictor.answer(batch, top_k, sources=_sources(predictor, batch, read))
            for example, answer in zip(batch.examples, found, strict=True):
                score = dataset.score(answer.answer, example.answers)
                tally.add(example.answer_type, score)
                answers[example.question_id] = answer.answer
                _write_line(lines, example, answer, score)
            tokens = token_counts(batch, predictor.model.vision.count)
            real, padded = real + tokens[0], padded + tokens[1]
            lines.flush()
            bar.update(len(batch))
            bar.set_postfix_str(f"score {tally.overall():.2f}")
    padding = round(1 - real / max(1, padded), 4)
    scores = {**tally.scores(), "padding": padding, "skipped": len(dataset.skipped)}
    ids = [dataset[index].question_id for index in range(count)]
    _write_json(out / "results.json", [{"question_id": id_, "answer": answers[id_]} for id_ in ids])
    _write_json(out / "scores.json", scores)
    return scores


def _longest(
    predictor: Predictor, dataset: Dataset, read: Sizes, budget: Budget, top_k: int
) -> dict[str, int | None]:
    """The longest side in pixels that each image is read at, for the longest of its questions;
    None: its own."""
    if budget == UNLIMITED:
        return dict.fromkeys(read.images)
    if read.rendered:
        raise ValueError("a budget is for image files; choose another size of the canvas instead")
    texts = [dataset[index].question for index in range(len(read.images))]
    words: dict[str, int] = defaultdict(int)
    for path, tokens in zip(read.images, predictor.tokenizer(texts).input_ids, strict=True):
        words[path] = max(words[path], len(tokens))
    found: dict[str, int | None] = {}
    for path, (width, height) in read.sizes().items():
        planned = plan(
            predictor.model,
            height,
            width,
            budget,
            question_tokens=words[path],
            beams=search.beams(top_k),
        )
        side = max(planned.read_width, planned.read_height)
        found[path] = None if planned.scale == 1 else side
    return found


def _sources(predictor: Predictor, batch: Batch, read: Sizes) -> list[Source]:
    """Which images the batch holds, at which share of their sides."""
    paths = dict(zip(batch.image_index.tolist(), (e.image for e in batch.examples), strict=True))
    sources = []
    for index, image in enumerate(batch.images):
        shape = tuple(image.shape)
        width, height = (shape[2], shape[1]) if read.rendered else read.sizes()[paths[index]]
        sources.append(predictor.source((3, height, width), shape))
    return sources


def _batches(
    predictor: Predictor,
    dataset: Dataset,
    read: Sizes,
    longest: dict[str, int | None],
    batch_size: int,
    num_workers: int,
) -> Iterator[Batch]:
    """Batches of similar sizes in which an image with many questions stands, and is read, once."""
    pixels = [read.of(path, longest[path]) for path in read.images]
    order = sampler.by_size(read.images, pixels)
    batches = sampler.in_order(order, read.images, pixels, batch_size)
    yield from Loader(
        Questions(dataset, cache_mb=512),
        [[(index, longest[read.images[index]]) for index in batch] for batch in batches],
        collator(predictor.tokenizer),
        num_workers,
    )


class _Tally:
    """Running sums of scores, overall and by answer type."""

    def __init__(self) -> None:
        self.sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, kind: str | None, score: float) -> None:
        for name in ("overall", kind):
            if name is not None:
                self.sums[name][0] += score
                self.sums[name][1] += 1

    def overall(self) -> float:
        return self.percent("overall")

    def percent(self, name: str) -> float:
        total, count = self.sums[name]
        return 100 * total / max(1.0, count)

    def scores(self) -> dict[str, Any]:
        kinds = sorted(name for name in self.sums if name != "overall")
        scores: dict[str, Any] = {
            "overall": round(self.overall(), 2),
            "n": int(self.sums["overall"][1]),
        }
        if kinds:
            scores["per_answer_type"] = {
                name: {"score": round(self.percent(name), 2), "n": int(self.sums[name][1])}
                for name in kinds
            }
        return scores


def _write_line(lines: TextIO, example: Example, answer: Answer, score: float) -> None:
    row = {
        "question_id": example.question_id,
        "question": example.question,
        "answers": example.answers,
        "score": score,
        "probability": answer.score,
        **{
            name: value
            for name, value in answer.to_dict().items()
            if name not in ("score", "model")
        },
    }
    lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
