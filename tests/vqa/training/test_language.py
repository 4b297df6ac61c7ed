"""`vqa fit-language` through the real command line: learns, resumes, refuses."""

import csv
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vqa.__main__ import main
from vqa.datasets import DataError
from vqa.training.language import LanguageModule, next_token_loss
from vqa.training.text_data import TextData

CONFIG = """
trainer:
  accelerator: cpu
  max_steps: 12
  accumulate_grad_batches: 2
  val_check_interval: 12
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: FOLDER}}
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args:
        dirpath: FOLDER/checkpoints
        filename: '{step}'
        save_top_k: -1
        every_n_train_steps: 1
        enable_version_counter: false
model:
  network: {dim: 16, depth: 1, heads: 2, mlp_ratio: 2.0, dropout: 0.0, mixer_args: {latents: 8}}
  lr: 3.0e-2
  warmup_steps: 2
data: {tokenizer: characters, length: 32, batch_size: 2, val_blocks: 4}
"""
TEXT = "abcdefgh" * 60


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and a text that one can learn in seconds."""
    monkeypatch.setattr(sys, "argv", ["vqa"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "val.txt").write_text(TEXT[3:], encoding="utf-8")
    (tmp_path / "c.yaml").write_text(CONFIG.replace("FOLDER", str(tmp_path)), encoding="utf-8")
    return tmp_path


def fit(folder: Path, *options: str) -> int:
    data = ["--data.train", f"[{folder}/train.txt]", "--data.val", f"[{folder}/val.txt]"]
    return main(["fit-language", "-c", str(folder / "c.yaml"), *data, *options])


def column(folder: Path, name: str, version: int = 0) -> list[float]:
    path = folder / "lightning_logs" / f"version_{version}" / "metrics.csv"
    with path.open(encoding="utf-8") as lines:
        return [float(row[name]) for row in csv.DictReader(lines) if row.get(name)]


def checkpoint(folder: Path, step: int) -> dict[str, Any]:
    path = folder / "checkpoints" / f"step={step}.ckpt"
    saved: dict[str, Any] = torch.load(path, weights_only=True)
    return saved


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
def test_fit_language_learns_and_resumes_to_the_same_weights(folder: Path) -> None:
    """Stopped after step 5, in mid-epoch and between validations, and resumed."""
    assert fit(folder) == 0
    whole, losses = checkpoint(folder, 12), column(folder, "train/loss")
    assert len(losses) == 12 and losses[-1] < 0.5 * losses[0]
    loss = column(folder, "val/loss")
    assert len(loss) == 2 and loss[1] < loss[0] < math.log(10)
    assert column(folder, "val/perplexity")[1] == pytest.approx(math.exp(loss[1]), rel=1e-4)

    assert fit(folder, "--ckpt_path", str(folder / "checkpoints" / "step=5.ckpt")) == 0
    assert column(folder, "train/loss", 1) == losses[5:]
    assert column(folder, "val/loss", 1) == loss
    resumed = checkpoint(folder, 12)
    assert resumed["global_step"] == 12
    for name, weight in whole["state_dict"].items():
        assert weight.equal(resumed["state_dict"][name]), name

    (folder / "train.txt").write_text(TEXT + "xyz", encoding="utf-8")
    assert fit(folder, "--ckpt_path", str(folder / "checkpoints" / "step=5.ckpt")) == 2


@pytest.mark.parametrize(
    ("name", "content", "options", "sentence"),
    [
        ("val.txt", None, [], "val.txt: No such file"),
        ("val.txt", b" \n", [], "val.txt is empty"),
        ("train.txt", b"caf\xe9 au lait", [], "train.txt is not UTF-8 text: byte 3"),
        ("val.txt", b"short", [], "the text has 6 tokens, fewer than a block of 33"),
        ("train.txt", b"x" * 99, ["--trainer.max_steps", "-1"], "set trainer.max_steps"),
        ("train.txt", b"x" * 99, ["--data.tokenizer", "nowhere"], "no tokenizer.json in nowhere"),
        ("train.txt", b"x" * 99, ["--model.network.mixer", "nope"], "attention, latte"),
        (
            *("train.txt", b"x" * 99),
            ["--model.network.mixer_args", "{radios: 3}"],
            "do not fit the mixer latte: got an unexpected keyword argument 'radios'",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.max_epochs. was not set")
def test_fit_language_refuses_bad_files_and_values(
    name: str,
    content: bytes | None,
    options: list[str],
    sentence: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert fit(folder, *options) == 2
    error = capsys.readouterr().err
    told = [line for line in error.splitlines() if line.startswith("vqa: ")]
    assert len(told) == 1 and sentence in told[0] and "Traceback" not in error


def test_text_data_refuses_counts_below_one() -> None:
    with pytest.raises(DataError, match=r"data\.length must be 1 or more, not 0"):
        TextData([], [], length=0)


def test_fit_language_help_explains_every_argument(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["vqa"])
    assert main(["fit-language", "--help"]) == 0
    out = capsys.readouterr().out
    for words in ("--data.tokenizer", "--model.network.mixer_args", "highest learning rate"):
        assert words in out


def test_next_token_loss_by_hand() -> None:
    probability = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    loss = next_token_loss(probability.log()[None], torch.tensor([[0, 1, 2]]))
    assert loss.item() == pytest.approx(-(math.log(0.25) + math.log(0.8)) / 2)


class Uniform(torch.nn.Module):
    """Knows nothing of `size` tokens."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, ids: Tensor) -> Tensor:
        return torch.zeros(*ids.shape, self.size)


def test_validation_metrics_by_hand() -> None:
    """Batches of 1 and 3 blocks of 8 tokens: log2(4) bits a token, 2.5 characters a token."""
    module = LanguageModule()
    logged: dict[str, float] = {}
    module.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign, assignment]
    module.__class__ = type("Stub", (LanguageModule,), {"data": Characters()})
    for blocks, size in ((1, 4), (3, 2)):
        module.model = Uniform(size)
        module.validation_step(torch.zeros(blocks, 9, dtype=torch.long), 0)
    module.on_validation_epoch_end()
    bits = (1 * 2 + 3 * 1) / 4
    assert logged["val/loss"] == pytest.approx(bits * math.log(2))
    assert logged["val/perplexity"] == pytest.approx(2**bits)
    assert logged["val/bits_per_character"] == pytest.approx(bits / 2.5)


class Characters:
    characters_per_token = 2.5
