"""Training on two devices: the questions are shared out, and a killed training resumes right."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import NETWORK

TRAINER = """
trainer:
  max_epochs: 2
  accelerator: cpu
  devices: 2
  strategy: STRATEGY
  logger: false
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {dirpath: FOLDER, filename: "{step}", save_top_k: -1, every_n_train_steps: 1}
"""


SHARES = """
    class_path: lightning.pytorch.strategies.ModelParallelStrategy
    init_args: {data_parallel_size: 2, tensor_parallel_size: 1, save_distributed_checkpoint: false}
"""


def fit(folder: Path, root: Path, *options: str, strategy: str = "ddp") -> dict[str, torch.Tensor]:
    """Weights after two epochs of six steps on two processes."""
    folder.mkdir()
    config = folder / "config.yaml"
    trainer = TRAINER.replace("FOLDER", str(folder)).replace("STRATEGY", strategy)
    config.write_text(trainer + NETWORK, encoding="utf-8")
    command = [str(Path(sys.executable).with_name("vqa")), "fit", "-c", str(config)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--data.root", str(root), *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    saved = torch.load(folder / "step=12.ckpt", weights_only=True)
    state: dict[str, torch.Tensor] = saved["state_dict"]
    return state


@pytest.fixture(scope="module")
def whole(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Folder and weights of an undisturbed training."""
    folder = tmp_path_factory.mktemp("ddp") / "whole"
    return folder, fit(folder, squares)


@pytest.mark.slow
def test_two_devices_resume_in_mid_epoch(
    whole: tuple[Path, Any], squares: Path, tmp_path: Path
) -> None:
    """48 questions, 2 devices, batches of 4: 6 steps an epoch; resumed after 4, as undisturbed."""
    folder, weights = whole
    place = str(folder / "step=4.ckpt")
    resumed = fit(tmp_path / "resumed", squares, "--ckpt_path", place)
    assert not (tmp_path / "resumed" / "step=4.ckpt").exists()
    assert not (folder / "step=13.ckpt").exists()
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)


@pytest.mark.slow
def test_weights_in_shares_learn_what_whole_ones_learn(
    whole: tuple[Path, Any], squares: Path, tmp_path: Path
) -> None:
    """Each process keeps half of the weights; checkpoints hold them whole."""
    got = fit(tmp_path / "shares", squares, strategy=SHARES)
    assert got.keys() == whole[1].keys()
    for name, weight in whole[1].items():
        assert type(got[name]) is torch.Tensor
        torch.testing.assert_close(got[name], weight, rtol=1e-3, atol=1e-4)


WATCH = """
import json, os, sys, zlib
from lightning.pytorch import LightningModule, Trainer
import torch
from vqa.datamodule import VQAData


class Watcher(LightningModule):
    # Writes down each batch it is given: questions, and a checksum of all pixels.

    data = 0

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.lines = open(f"seen.{os.environ.get('LOCAL_RANK', '0')}.jsonl", "w")

    def note(self, stage, batch):
        ids = [example.question_id for example in batch.examples]
        images = [batch.images[place] for place in batch.image_index]
        sums = [[*image.shape[1:], zlib.crc32(image.numpy().tobytes())] for image in images]
        line = {"stage": stage, "data": self.data, "epoch": self.current_epoch}
        self.lines.write(json.dumps({**line, "ids": ids, "pixels": sums}) + "\\n")
        self.lines.flush()

    def training_step(self, batch, _):
        self.note("train", batch)
        return self.weight * 1.0

    def validation_step(self, batch, _):
        self.note("val", batch)

    def predict_step(self, batch, _):
        self.note("predict", batch)
        return len(batch)

    def configure_optimizers(self):
        assert self.trainer.estimated_stepping_batches
        return torch.optim.SGD(self.parameters(), 0.1)


devices, kinds = int(sys.argv[1]), json.loads(sys.argv[2])
module = Watcher()
for module.data, words in enumerate(kinds):
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", devices=devices,
        strategy="ddp" if devices > 1 else "auto", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, num_sanity_val_steps=0,
    )
    data = VQAData("jsonl", **words)
    trainer.fit(module, data)
    trainer.predict(module, data, return_predictions=False)
"""


KINDS: list[dict[str, Any]] = [
    {"batch_size": 5, "questions_per_image": 2},
    {"batch_size": 6, "sizes": [16, 30, 60], "pixels_per_batch": 7000},
]


def watch(folder: Path, devices: int, root: Path) -> list[list[dict[str, Any]]]:
    """What each of the processes was given of each of KINDS, in its order."""
    folder.mkdir()
    (folder / "watch.py").write_text(WATCH, encoding="utf-8")
    common = {"root": str(root), "eval_batch_size": 5, "vocabulary": 300}
    done = subprocess.run(
        [sys.executable, "watch.py", str(devices), json.dumps([k | common for k in KINDS])],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    files = [folder / f"seen.{rank}.jsonl" for rank in range(devices)]
    return [[json.loads(line) for line in file.read_text().splitlines()] for file in files]


@pytest.fixture(scope="module")
def watched(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What one process sees, and what each of two sees."""
    folder = tmp_path_factory.mktemp("watched")
    return watch(folder / "one", 1, squares) + watch(folder / "two", 2, squares)


def of(lines: list[dict[str, Any]], **words: object) -> list[dict[str, Any]]:
    return [line for line in lines if words.items() <= line.items()]


@pytest.mark.parametrize("epoch", (0, 1))
@pytest.mark.parametrize("data", (0, 1), ids=("buckets", "curriculum"))
def test_two_devices_train_on_what_one_sees(watched: list[Any], data: int, epoch: int) -> None:
    """Bit for bit: the batches of both, in turns, are those of one process."""
    one, *two = (of(lines, data=data, stage="train", epoch=epoch) for lines in watched)
    in_turns = [line for turn in zip(*two, strict=True) for line in turn]
    assert len(in_turns) == len(one) // 2 * 2 > 4
    assert in_turns == one[: len(in_turns)]


@pytest.mark.parametrize("stage", ("val", "predict"))
@pytest.mark.parametrize("data", (0, 1), ids=("buckets", "curriculum"))
def test_two_devices_are_evaluated_on_what_one_sees(
    watched: list[Any], data: int, stage: str
) -> None:
    alone, *two = (of(lines, data=data, stage=stage) for lines in watched)
    assert len(two[0]) == len(two[1]) > 0
    one, both = (
        Counter(
            (question, *pixels)
            for line in lines
            for question, pixels in zip(line["ids"], line["pixels"], strict=True)
        )
        for lines in (alone, two[0] + two[1])
    )
    assert one == both and len(one) == 16
    assert set(one.values()) == {2 if stage == "val" else 1}  # once an epoch
