"""Training without images: the grey square everywhere, and the batches of a seeing training."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from networks import ROPE

from vqa import blind, datasets, images
from vqa.batch import Batch
from vqa.config import Network, Vision
from vqa.datamodule import VQAData
from vqa.datasets import Example
from vqa.evaluation.baselines import QuestionOnly
from vqa.features import Features
from vqa.loader import Loader
from vqa.module import VQAModule


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """No image file is decoded."""

    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(images, "open", refuse)


def loaders(module: VQAData) -> list[Loader]:
    """Those of training, validation, test and prediction."""
    return [
        module.train_dataloader(),
        module.val_dataloader(),
        module.test_dataloader(),
        module.predict_dataloader(),
    ]


def asked(batches: list[Batch]) -> list[list[object]]:
    return [[example.question_id for example in batch.examples] for batch in batches]


def test_every_image_is_that_of_the_baseline(squares: Path, unreadable: None) -> None:
    shown = QuestionOnly(datasets.create("jsonl", str(squares), "test")).render(0)[1]
    for loader in loaders(VQAData("jsonl", str(squares), blind=True, eval_size=16)):
        for batch in loader:
            assert len(batch.images) == 1 and batch.image_index.tolist() == [0] * len(batch)
            assert torch.equal(batch.images[0], shown)


def test_batches_are_those_of_the_seeing_training(squares: Path) -> None:
    words = {"batch_size": 6, "sizes": [16, 32], "pixels_per_batch": 6 * 32 * 32}
    seeing, unseeing = (VQAData("jsonl", str(squares), blind=b, **words) for b in (False, True))  # type: ignore[arg-type]
    for one, other in zip(loaders(seeing), loaders(unseeing), strict=True):
        assert asked(list(one)) == asked(list(other))


def test_drawn_pictures_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    class Drawn:
        skipped = ()

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Example:
            return Example(index, f"drawn {index}", "why?", ("x",), evidence=((0, 0, 1, 1),))

        def render(self, index: int, size: int | None = None) -> tuple[Example, torch.Tensor]:
            raise AssertionError("drawn")

    monkeypatch.setattr(datasets, "create", lambda **_: Drawn())
    for loader in loaders(VQAData("drawn", blind=True)):
        (batch,) = loader
        assert len(batch.images) == 1 and torch.equal(batch.images[0], blind.square())
        assert not any(example.evidence for example in batch.examples)


def fit(root: Path, features: Path | None) -> dict[str, torch.Tensor]:
    seed_everything(0, verbose=False)
    vision = Vision(vit_args=ROPE, tile=32, conv_stem=False)
    network = Network(vision, 16, 2, 8, encoder_depth=1, decoder_depth=1)
    module = VQAModule(network, warmup_steps=2, max_answer_tokens=3, freeze_vision=True)
    kept = None if features is None else str(features)
    words = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    trainer = Trainer(max_epochs=2, enable_progress_bar=False, enable_model_summary=False, **words)  # type: ignore[arg-type]
    trainer.fit(module, VQAData("jsonl", str(root), 6, features=kept, blind=True))
    assert module.model is not None
    return dict(module.model.state_dict())


def test_the_square_is_kept_as_other_features(
    squares: Path, tmp_path: Path, unreadable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    without, kept = fit(squares, None), tmp_path / "features"
    put: list[str] = []
    monkeypatch.setattr(Features, "put", _watched(Features.put, put))
    for _ in range(2):  # made, then read
        found = fit(squares, kept)
        assert all(torch.equal(found[name], without[name]) for name in without)
        assert len(list(kept.rglob("*.safetensors"))) == 1
    assert 1 <= len(put) <= 3  # batches are read ahead


def _watched(put: object, keys: list[str]) -> object:
    def watched(features: Features, key: str, image: object) -> None:
        keys.append(key)
        put(features, key, image)  # type: ignore[operator]

    return watched
