"""A scan of 100 megapixels, read whole by a small model, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SIDE = 10_000

ASK = """
import json, sys
import torch
from vqa import memory, tokenizer
from vqa.config import Network, Vision
from vqa.model import build
from vqa.predictor import Predictor
torch.manual_seed(0)
words = ["what is it?", "a", "b"]
tokens = tokenizer.train(words, 300)
vit = {"patch_size": 32, "embed_dim": 128, "depth": 2, "num_heads": 2, "init_values": 1.0}
network = Network(vision=Vision(vit_args=vit), dim=128, heads=2, latents=128, encoder_depth=2)
predictor = Predictor(build(network, tokens), tokens)
answer = predictor.ask(sys.argv[1], words[0], 1)
size = sum(weight.numel() for weight in predictor.model.parameters())
print(json.dumps([answer.width, answer.height, answer.scale, answer.tokens, size, memory.peak()]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("name", ("scan.png", "scan.jpg"))
def test_a_hundred_megapixels_are_read_whole_within_4_gib(name: str, tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB").save(tmp_path / name)
    command = [sys.executable, "-c", ASK, str(tmp_path / name)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr
    width, height, scale, tokens, parameters, peak = json.loads(run.stdout.splitlines()[-1])
    assert (width, height, scale) == (SIDE, SIDE, 1.0)
    assert tokens > (SIDE // 32) ** 2 and parameters <= 10**7
    assert peak <= 4 * 2**30
