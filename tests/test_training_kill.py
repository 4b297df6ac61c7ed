"""A training that is stopped again and again ends with the weights of an undisturbed one."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from networks import NETWORK

from vqa.__main__ import main

TRAINER = """
trainer:
  accelerator: cpu
  max_epochs: 8
  accumulate_grad_batches: 2
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
  logger:
    class_path: lightning.pytorch.loggers.CSVLogger
    init_args: {save_dir: FOLDER, flush_logs_every_n_steps: 1}
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args:
        dirpath: FOLDER/checkpoints
        save_top_k: 0
        save_last: true
        every_n_train_steps: 1
        enable_version_counter: false
"""

# Imports once, then kills one child after another: a start of Python takes seconds.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
import lightning.pytorch, vqa.module, vqa.datamodule, vqa.results
from vqa.__main__ import main
options, last, kills, rng = sys.argv[3:], Path(sys.argv[1]), int(sys.argv[2]), random.Random(0)
sys.argv = ["vqa"]
killed = 0
while True:
    child = os.fork()
    if child == 0:
        resume = ["--ckpt_path", "last"] if last.exists() else []
        os._exit(main(["fit", *options, *resume]))
    if killed < kills:
        end = time.monotonic() + 60
        before = last.stat().st_mtime_ns if last.exists() else 0
        while time.monotonic() < end and (not last.exists() or last.stat().st_mtime_ns == before):
            time.sleep(0.01)  # some progress in every life
        time.sleep(rng.uniform(0, 0.8))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(status or (0 if killed == kills else "ended after %d kills" % killed))
    killed += 1
"""


def fit(folder: Path, root: Path, kills: int) -> tuple[dict[str, torch.Tensor], dict[int, float]]:
    """Weights at the end, and the loss of each step as it was logged last."""
    folder.mkdir()
    path = folder / "config.yaml"
    path.write_text(TRAINER.replace("FOLDER", str(folder)) + NETWORK, encoding="utf-8")
    last = folder / "checkpoints" / "last.ckpt"
    options = ["-c", str(path), "--data.root", str(root), "--data.flip", "true"]
    command = [sys.executable, "-c", KILLER, str(last), str(kills), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=290, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    weights: dict[str, torch.Tensor] = torch.load(last, weights_only=True)["state_dict"]
    logs = [losses(folder, number) for number in range(len(list(folder.glob("lightning_logs/*"))))]
    assert len(logs) >= kills
    return weights, {step: loss for log in logs for step, loss in log.items()}


def losses(folder: Path, run: int) -> dict[int, float]:
    """The loss of each step, as a run logged it."""
    with (folder / "lightning_logs" / f"version_{run}" / "metrics.csv").open(
        encoding="utf-8"
    ) as log:
        rows = [row for row in csv.DictReader(log) if row.get("train/loss")]
    return {int(row["step"]): float(row["train/loss"]) for row in rows}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_five_kills_change_no_bit(squares: Path, tmp_path: Path) -> None:
    weights, calm = fit(tmp_path / "calm", squares, 0)
    killed_weights, killed = fit(tmp_path / "killed", squares, 5)
    assert all(torch.equal(weights[name], killed_weights[name]) for name in weights)
    assert len(calm) == 48 and killed.keys() <= calm.keys()
    assert len(killed) >= 43  # a line that was not yet written when the kill came
    assert killed == {step: calm[step] for step in killed}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
def test_resumed_at_the_end_of_an_epoch_and_again_in_the_next(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning takes the second for a resumption at the start of the epoch."""
    monkeypatch.setattr(sys, "argv", ["vqa"])
    every = TRAINER.replace("save_top_k: 0", "save_top_k: -1\n        filename: '{step}'")
    (tmp_path / "c.yaml").write_text(every.replace("FOLDER", str(tmp_path)) + NETWORK)
    options = ["-c", str(tmp_path / "c.yaml"), "--data.root", str(squares)]
    options += ["--trainer.max_epochs", "3"]
    saved, found = tmp_path / "checkpoints", []
    for resume in (
        [],
        ["--ckpt_path", str(saved / "step=6.ckpt")],
        ["--ckpt_path", str(saved / "step=11.ckpt")],
    ):
        # Six steps an epoch. The third run goes on from what the second one wrote in its epoch.
        assert main(["fit", *options, *resume]) == 0
        found.append(torch.load(saved / "step=18.ckpt", weights_only=True))
    calm = losses(tmp_path, 0)
    assert len(calm) == 18
    for run, first in ((1, 6), (2, 11)):
        assert losses(tmp_path, run) == {step: calm[step] for step in range(first, 18)}
    for other in found[1:]:
        assert other["epoch"] == found[0]["epoch"] == 2
        weights = found[0]["state_dict"]
        assert all(torch.equal(weights[name], other["state_dict"][name]) for name in weights)
