"""What training draws anew: the answer to learn, mirrored images; the same after a resumption."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from vqa import datasets
from vqa.data.wordings import wordings_by_kind
from vqa.datamodule import VQAData
from vqa.draws import Draws
from vqa.questions import Questions

SAID = ("red",) * 5 + ("dark red",) * 2 + ("maroon",)


class Voted:
    """One image with 400 questions of eight annotators each."""

    splits: tuple[str, ...] = ("train",)
    skipped: list[str] = []  # noqa: RUF012

    def __init__(self, image: str) -> None:
        self.image = image

    def __len__(self) -> int:
        return 400

    def __getitem__(self, index: int) -> datasets.Example:
        return datasets.Example(index, self.image, "what color?", SAID)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        return float(prediction in answers)

    def targets(self, answers: Sequence[str]) -> dict[str, float]:
        return {answer: min(1.0, 0.3 * answers.count(answer)) for answer in dict.fromkeys(answers)}


@pytest.fixture
def voted(squares: Path) -> Questions:
    return Questions(Voted(str(squares / "images" / "train0.png")), cache_mb=1)


def test_an_answer_is_learned_as_often_as_it_weighs(voted: Questions) -> None:
    draws = Draws(voted, seed=0)
    learned = Counter(
        draws[epoch, (i, None)][0].answers[0] for epoch in range(5) for i in range(400)
    )
    for answer, weight in (("red", 1.0), ("dark red", 0.6), ("maroon", 0.3)):
        assert learned[answer] / 2000 == pytest.approx(weight / 1.9, abs=0.04)
    assert draws[0, (3, None)][0].answers[1:] == SAID


def test_draws_depend_on_seed_epoch_and_question_alone(voted: Questions) -> None:
    def drawn(seed: int, epoch: int, order: Sequence[int]) -> list[str]:
        draws = Draws(voted, seed)
        found = {i: draws[epoch, (i, None)][0].answers[0] for i in order}
        return [found[i] for i in range(50)]

    first = drawn(0, 0, range(50))
    torch.rand(3)  # of no matter
    assert drawn(0, 0, list(reversed(range(50)))) == first
    assert drawn(1, 0, range(50)) != first and drawn(0, 1, range(50)) != first


def test_half_of_the_images_are_mirrored_for_all_their_questions(squares: Path) -> None:
    data = datasets.create("jsonl", str(squares), "train")
    plain = Questions(data)
    draws = Draws(plain, 0, flip=True)
    mirrored = 0
    for epoch in range(20):
        for index in range(0, 48, 2):
            (_, one), (_, other) = (draws[epoch, (index + i, None)] for i in (0, 1))
            assert torch.equal(one, other)  # type: ignore[arg-type]
    noise = torch.randint(256, (3, 4, 6), dtype=torch.uint8)
    plain.pixels = lambda *_: noise  # type: ignore[method-assign]
    for epoch in range(20):
        for index in range(0, 48, 2):
            image: Any = draws[epoch, (index, None)][1]
            flipped = torch.equal(image, noise.flip(-1))
            assert flipped or torch.equal(image, noise)
            mirrored += flipped
    assert 180 < mirrored < 300


class AskedForTheTotal(Voted):
    def __getitem__(self, index: int) -> datasets.Example:
        question = "What is the total amount on this receipt?" if index else "What is odd?"
        return datasets.Example(index, self.image, question, ("12.00",))

    def targets(self, answers: Sequence[str]) -> dict[str, float]:
        return dict.fromkeys(answers, 1.0)


def test_reword_asks_a_known_question_in_a_wording_of_training_each_epoch(squares: Path) -> None:
    total = wordings_by_kind()["total"]
    plain = Questions(AskedForTheTotal(str(squares / "images" / "train0.png")), cache_mb=1)
    draws = Draws(plain, 0, reword=True)
    asked = [[draws[epoch, (i, None)][0].question for i in range(40)] for epoch in range(4)]
    assert [questions[0] for questions in asked] == 4 * ["What is odd?"]
    assert {question for questions in asked for question in questions[1:]} == {*total.train}
    assert asked[0] != asked[1] and asked[0] == [draws[0, (i, None)][0].question for i in range(40)]
    assert Draws(plain, 0)[2, (1, None)][0].question == "What is the total amount on this receipt?"


def test_a_resumed_epoch_draws_what_it_would_have_drawn(squares: Path) -> None:
    def loader(workers: int) -> Any:
        return VQAData(
            "jsonl", str(squares), batch_size=5, vocabulary=300, flip=True, num_workers=workers
        ).train_dataloader()

    whole = loader(0)
    whole.sampler.set_epoch(3)
    batches = list(whole)
    resumed = loader(1)
    resumed.load_state_dict({"taken": 4})
    resumed.sampler.set_epoch(3)
    for got, expected in zip(resumed, batches[4:], strict=True):
        assert all(map(torch.equal, got.images, expected.images))
        assert torch.equal(got.answer, expected.answer)
    other = loader(0)
    other.sampler.set_epoch(4)
    assert not all(
        torch.equal(a, b)
        for one, two in zip(other, batches, strict=True)
        for a, b in zip(one.images, two.images, strict=False)
        if a.shape == b.shape
    )


def test_official_sets_of_several_annotators_weigh_them() -> None:
    from importlib import import_module

    for name in ("vqa_v1", "vqa_v2", "ok_vqa", "vizwiz", "textvqa"):
        weigh = import_module(f"vqa.datasets.{name}").Dataset.targets
        assert weigh(None, ["two"] * 4 + ["2"] * 2 + ["a cat"]) == {
            "two": 1.0,
            "a cat": pytest.approx(0.3),
        }
