"""Training through the real command line: learns, resumes, exports, predicts."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from networks import NETWORK
from safetensors.torch import load_file

from vqa.__main__ import main
from vqa.predictor import Predictor

TRAINER = """
trainer:
  accelerator: cpu
  max_epochs: 10
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: FOLDER}}
  callbacks:
    - class_path: lightning.pytorch.callbacks.LearningRateMonitor
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args:
        dirpath: FOLDER/checkpoints
        save_top_k: 0
        save_last: true
        every_n_train_steps: 5
        enable_version_counter: false
"""


def config(folder: Path, root: Path) -> list[str]:
    """Options of a small training whose logs and checkpoints go to `folder`."""
    folder.mkdir(exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(TRAINER.replace("FOLDER", str(folder)) + NETWORK, encoding="utf-8")
    return ["-c", str(path), "--data.root", str(root)]


def metrics(folder: Path, version: int = 0) -> list[dict[str, str]]:
    path = folder / "lightning_logs" / f"version_{version}" / "metrics.csv"
    with path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def rates(folder: Path, version: int = 0) -> dict[int, float]:
    return {
        int(row["step"]): float(row["lr-AdamW/pg1"])
        for row in metrics(folder, version)
        if row.get("lr-AdamW/pg1")
    }


@pytest.fixture(scope="module")
def trained(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an undisturbed training of 10 epochs of 12 steps."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vqa"])
        assert main(["fit", *config(folder, squares)]) == 0
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    state: dict[str, torch.Tensor] = saved["state_dict"]
    return state


def test_training_learns(trained: Path) -> None:
    accuracy = [row["val/accuracy"] for row in metrics(trained) if row.get("val/accuracy")]
    assert float(accuracy[-1]) == 1.0
    losses = [float(row["train/loss"]) for row in metrics(trained) if row.get("train/loss")]
    assert losses[-1] < 0.1 * losses[0]


def test_learning_rate_warms_up_and_falls(trained: Path) -> None:
    rate = rates(trained)
    assert rate[0] == 0
    assert max(rate.values()) == pytest.approx(3e-3)
    assert rate[max(rate)] < 1e-4
    assert rate[5] == pytest.approx(1.5e-3)


def test_killed_training_resumes_where_it_was(trained: Path, squares: Path, tmp_path: Path) -> None:
    """SIGKILL in mid-epoch, then --ckpt_path last: the same weights and schedule as undisturbed."""
    options = config(tmp_path, squares)
    command = [sys.executable, "-m", "vqa", "fit", *options, "--trainer.max_epochs", "10"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # sums as in this process
    process = subprocess.Popen(command, env=environment, **quiet)
    last = tmp_path / "checkpoints" / "last.ckpt"
    end = time.monotonic() + 120
    while not last.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "training ended before it could be killed"
    step = torch.load(last, weights_only=True)["global_step"]
    assert 0 < step < 120
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vqa"])
        assert main(["fit", *options, "--ckpt_path", "last"]) == 0
    resumed = rates(tmp_path, 1)
    assert min(resumed) == step
    assert resumed == {at: rate for at, rate in rates(trained).items() if at >= step}
    expected, got = weights(trained), weights(tmp_path)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_export_and_serve(
    trained: Path, squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """checkpoint -> model folder -> evaluate and ask."""
    checkpoint, folder = trained / "checkpoints" / "last.ckpt", tmp_path / "model"
    assert main(["export", str(checkpoint), str(folder), "--dtype", "bfloat16"]) == 0
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert all(x.dtype == torch.bfloat16 for x in load_file(folder / "model.safetensors").values())
    out = tmp_path / "out"
    options = ["--dataset", "jsonl", "--root", str(squares), "--model", str(folder)]
    assert main(["evaluate", *options, "--out", str(out)]) == 0
    assert json.loads((out / "scores.json").read_text())["overall"] == 100.0
    capsys.readouterr()
    image = str(squares / "images/test1.png")
    question = "what color is the square?"
    asked = Predictor.from_pretrained(folder).ask(image, question)
    assert main(["ask", image, question, "--model", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["answer"] == "green"
    assert told["score"] == pytest.approx(asked.score) and told["score"] > 0.5


def test_validate_test_and_predict(
    trained: Path, squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["vqa"])
    options = config(trained, squares) + ["--ckpt_path", "last"]
    assert main(["validate", *options]) == 0
    assert main(["test", *options]) == 0
    assert float(metrics(trained, 2)[0]["test/accuracy"]) == 1.0
    assert main(["predict", *options, "--return_predictions", "false"]) == 0
    results = json.loads((trained / "lightning_logs" / "version_3" / "results.json").read_text())
    expected = [json.loads(line) for line in (squares / "test.jsonl").read_text().splitlines()]
    assert results == [
        {"question_id": row["question_id"], "answer": row["answers"][0]} for row in expected
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "there is no checkpoint"), (b"no torch file", "is not a checkpoint")],
    ids=["missing", "garbage"],
)
def test_export_refuses(
    content: bytes | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.ckpt"
    if content is not None:
        path.write_bytes(content)
    assert main(["export", str(path), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert told in error and str(path) in error and error.count("\n") == 1


def test_bad_training_input(
    squares: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["vqa"])
    options = config(tmp_path, squares)
    for wrong, told in (
        (["--data.root", str(tmp_path)], "no train.jsonl"),
        (["--data.dataset", "nope"], "easy_vqa, gqa, huggingface"),
        (["--model.network.mixer", "nope"], "attention, latte"),
        (["--model.network.dim", "33"], "33"),
        (["--model.lrr", "1"], "lrr"),
    ):
        assert main(["fit", *options, *wrong]) == 2, wrong
        error = capsys.readouterr().err
        assert told in error, wrong
        assert "Traceback" not in error
