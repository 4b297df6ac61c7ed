"""Training on two devices: the questions are shared out, and a killed training resumes right."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from networks import NETWORK

TRAINER = """
trainer:
  max_epochs: 2
  accelerator: cpu
  devices: 2
  strategy: ddp
  logger: false
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {dirpath: FOLDER, filename: "{step}", save_top_k: -1, every_n_train_steps: 1}
"""


def fit(folder: Path, root: Path, *options: str) -> dict[str, torch.Tensor]:
    """Weights after two epochs of six steps on two processes."""
    folder.mkdir()
    config = folder / "config.yaml"
    config.write_text(TRAINER.replace("FOLDER", str(folder)) + NETWORK, encoding="utf-8")
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


def test_two_devices_resume_in_mid_epoch(squares: Path, tmp_path: Path) -> None:
    """48 questions, 2 devices, batches of 4: 6 steps an epoch; resumed after 4, as undisturbed."""
    whole = fit(tmp_path / "whole", squares)
    place = str(tmp_path / "whole" / "step=4.ckpt")
    resumed = fit(tmp_path / "resumed", squares, "--ckpt_path", place)
    assert not (tmp_path / "resumed" / "step=4.ckpt").exists()
    assert not (tmp_path / "whole" / "step=13.ckpt").exists()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
