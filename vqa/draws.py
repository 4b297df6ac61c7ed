"""What each epoch of training draws anew: answer, wording of the question, mirrored images.

A function of seed, epoch and question alone: a training that is killed and resumed draws the same,
in any process and any worker.
"""

import random
from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from vqa.data.wordings import reword
from vqa.datasets import Mixed, Weighted
from vqa.questions import At, Item, Questions
from vqa.sampler import Batches

InEpoch = tuple[int, At]


class Draws(TorchDataset[Item]):
    """`questions` for training: item `(epoch, at)`.

    The first of an example's answers is the one to learn: where the data set weighs what its
    annotators said, one drawn with these weights. `flip` mirrors half of the images left to right,
    for all questions about them alike. `reword` asks questions whose kind is known
    (vqa/data/wordings) in a wording drawn anew each epoch.
    """

    def __init__(
        self, questions: Questions, seed: int, flip: bool = False, reword: bool = False
    ) -> None:
        self.questions = questions
        self.seed = seed
        self.flip = flip
        self.reword = reword

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, place: InEpoch) -> Item:
        epoch, at = place
        data = self.questions.dataset
        if isinstance(data, Mixed):
            at = at[0] + epoch * len(data), at[1]
        example, image = self.questions[at]
        if isinstance(data, Weighted):
            weights = data.targets(example.answers)
            (answer,) = self._rng(epoch, at[0]).choices([*weights], [*weights.values()])
            example = replace(example, answers=(answer, *example.answers))
        if self.reword:
            question = reword(example.question, self._rng(epoch, f"wording/{at[0]}"))
            example = replace(example, question=question)
        if self.flip and isinstance(image, Tensor):
            image = image.flip(-1) if self._rng(epoch, example.image).random() < 0.5 else image
        return example, image

    def _rng(self, epoch: int, of: int | str) -> random.Random:
        return random.Random(f"{self.seed}/draws/{epoch}/{of}")


class InEpochs(Sampler[list[InEpoch]]):
    """`batches` that tell in which epoch they stand."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[InEpoch]]:
        for batch in self.batches:
            yield [(self.batches.epoch, at) for at in batch]
