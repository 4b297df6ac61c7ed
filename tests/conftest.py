"""What several test files need: a tiny untrained model, and small data sets."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401 - its log handler keeps the stderr of its first importer
import pytest
import torch
from networks import TINY
from PIL import Image

from vqa import tokenizer as tokenizers
from vqa.model import build
from vqa.predictor import Predictor

# One thread: sums come out the same in every process, and processes do not wait for each other.
torch.set_num_threads(1)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a file of benchmarks/, as its neighbours do."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny untrained model."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    words = ["what color is the square?", "is there a red square?", "red", "green", "yes", "no"]
    tokenizer = tokenizers.train(words, 300)
    build(TINY, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def predictor(tiny: Path) -> Predictor:
    return Predictor.from_pretrained(tiny, device="cpu")


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A jsonl data set one can learn in seconds: the colour of a square, in several sizes."""
    root = tmp_path_factory.mktemp("squares")
    (root / "images").mkdir()
    colors = {"red": (255, 0, 0), "green": (0, 255, 0)}
    for split, count in (("train", 24), ("val", 8), ("test", 8)):
        rows = []
        for index in range(count):
            color = list(colors)[index % 2]
            name = f"images/{split}{index}.png"
            size = [(32, 32), (48, 32), (100, 70)][index % 3]
            Image.new("RGB", size, colors[color]).save(root / name)
            row = {"question_id": f"{split}-{index}", "image": name, "split": split}
            row |= {"question": "what color is the square?", "answers": [color]}
            rows.append(row | {"meta": {"kind": "color"}})
            other: dict[str, Any] = {
                "question_id": f"{split}-{index}b",
                "question": "is there a red square?",
            }
            other |= {"answers": ["yes" if color == "red" else "no"], "meta": {"kind": "yes/no"}}
            rows.append(row | other)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (root / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return root
