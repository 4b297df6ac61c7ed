"""Batch evaluation: every question of a split, the answers as files, the data set's own score.

A run may be killed at any moment and started again: batches are the same ones whoever answers
them, an answered batch is not answered again, and the files at the end are the same bytes.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch.distributed as dist
from tqdm import tqdm

from vqa import images, memory
from vqa.batch import Batch
from vqa.datasets import DataError, Dataset, Example
from vqa.encoded import Source
from vqa.evaluation.batches import batches
from vqa.evaluation.identity import identity
from vqa.evaluation.journal import Journal, Row
from vqa.evaluation.results import finish, row_of
from vqa.evaluation.settings import Settings
from vqa.features import Features
from vqa.loader import Loader
from vqa.opening import source_of
from vqa.predictor import Predictor
from vqa.questions import At, Questions, Sizes, collator
from vqa.search import check_top_k

USUAL = Settings()


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    out: Path,
    settings: Settings = USUAL,
    num_workers: int = 0,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Answers `dataset` in folder `out`, going on where an earlier call was stopped; the scores.

    predictions.jsonl (a line a question: answer, probability, score, tokens), results.json (the VQA
    order: question_id and answer), scores.json (percent) and cost.json, what this call measured.
    Processes that torchrun started share the work; the first one writes these files.
    Raises ValueError where `out` holds another run, BudgetError for a budget that cannot be met.
    """
    check_top_k(settings.top_k)
    rank, world = _processes()
    out.mkdir(parents=True, exist_ok=True)
    count = len(dataset) if settings.limit is None else min(settings.limit, len(dataset))
    examples = [dataset[index] for index in range(count)]
    journal = Journal(out, rank)
    if rank == 0:
        journal.begin(identity(predictor, dataset, examples, settings), overwrite)
    _wait(world)
    answering = _Answering(predictor, dataset, examples, settings)
    done = journal.rows()
    todo = [batch for batch in answering.batches if not _answered(batch, examples, done)]
    journal.open()
    _wait(world)  # nobody writes while another reads what is done
    cost = answering.answer(todo[rank::world], journal, num_workers, done)
    costs = _gather(cost, world)
    if rank == 0:
        finish(journal, dataset, examples, costs)
    _wait(world)
    return dict(json.loads((out / "scores.json").read_text(encoding="utf-8")))


class _Answering:
    """The questions of one run and how they are answered."""

    def __init__(
        self,
        predictor: Predictor,
        dataset: Dataset,
        examples: Sequence[Example],
        settings: Settings,
    ) -> None:
        self.predictor = predictor
        self.dataset = dataset
        self.examples = examples
        self.settings = settings
        self.read = Sizes(dataset, len(examples))
        self.features: Features | None = None
        if settings.features is not None:
            self.features = Features.of(predictor.model, settings.features)
        self.batches = batches(
            predictor,
            examples,
            self.read,
            settings.together,
            settings.budget,
            settings.top_k,
            settings.longest_side,
        )
        ats = [at for batch in self.batches for at in batch]
        self.size = {examples[index].image: size for index, size in ats}

    def answer(
        self,
        todo: list[list[At]],
        journal: Journal,
        num_workers: int,
        done: dict[int | str, Row],
    ) -> dict[str, Any]:
        """Answers the batches `todo`; what that cost."""
        start, tokens = time.perf_counter(), 0
        bar = tqdm(total=len(self.examples), initial=len(done), unit="question", desc="evaluate")
        known = [row["score"] for row in done.values() if row["score"] is not None]
        right, scored = sum(known), len(known)
        with bar:
            for batch in self._loaded(todo, num_workers):
                rows = self._rows(batch)
                journal.append(rows)
                tokens += sum(row["tokens"] for row in rows)
                found = [row["score"] for row in rows if row["score"] is not None]
                right, scored = right + sum(found), scored + len(found)
                bar.update(len(rows))
                bar.set_postfix_str(f"score {100 * right / max(1, scored):.2f}")
        return {
            "questions": sum(map(len, todo)),
            "tokens": tokens,
            "seconds": time.perf_counter() - start,
            "peak_bytes": memory.peak(),
        }

    def _loaded(self, todo: list[list[At]], num_workers: int) -> Iterator[Batch]:
        yield from Loader(
            Questions(self.dataset, cache_mb=512, features=self.features),
            todo,
            collator(self.predictor.tokenizer, chat=self.predictor.chat),
            num_workers,
        )

    def _rows(self, batch: Batch) -> list[Row]:
        words = self.settings
        sources, candidates = self._sources(batch), self._candidates(batch)
        answers = self.predictor.answer(
            batch, words.top_k, None, sources, candidates, self.features
        )
        lengths = [sources[image].tokens for image in batch.image_index.tolist()]
        padding = round(max(lengths) - sum(lengths) / len(batch), 3)  # each question its part
        return [
            row_of(self.dataset, example, answer.answer, answer.score)
            | {name: getattr(answer, name) for name in ("width", "height", "scale", "tokens")}
            | {"top_k": [asdict(candidate) for candidate in answer.top_k], "padding": padding}
            for example, answer in zip(batch.examples, answers, strict=True)
        ]

    def _candidates(self, batch: Batch) -> list[Sequence[str]] | None:
        words = self.settings
        if words.choices:
            return [example.choices for example in batch.examples]
        return [words.candidates] * len(batch) if words.candidates else None

    def _sources(self, batch: Batch) -> list[Source]:
        """Which images the batch holds, at which share of their sides."""
        numbers = batch.image_index.tolist()
        paths = dict(zip(numbers, (example.image for example in batch.examples), strict=True))
        return [self._source(paths[number], number, batch) for number in range(len(paths))]

    def _source(self, path: str, number: int, batch: Batch) -> Source:
        if self.read.rendered:
            if number >= len(batch.images):
                raise DataError(
                    f"{path} is set in letters to train with and is no image; "
                    "leave the option type_case out"
                )
            shape = tuple(batch.images[number].shape)
            return source_of(self.predictor.model, shape, shape)
        width, height = self.read.sizes()[path]
        read = images.shrunk_size(height, width, self.size[path])
        return source_of(self.predictor.model, (3, height, width), (3, *read))


def _answered(batch: list[At], examples: Sequence[Example], done: dict[int | str, Row]) -> bool:
    """Half a batch is answered again as a whole: alone, its sums might end in other bits."""
    return all(examples[index].question_id in done for index, _ in batch)


def _processes() -> tuple[int, int]:
    """Number of this process and how many there are, as torchrun tells."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")
    return int(os.environ.get("RANK", "0")) if world > 1 else 0, world


def _wait(world: int) -> None:
    if world > 1:
        dist.barrier()


def _gather(cost: dict[str, Any], world: int) -> list[dict[str, Any]]:
    if world == 1:
        return [cost]
    costs: list[Any] = [None] * world
    dist.all_gather_object(costs, cost)
    return costs
