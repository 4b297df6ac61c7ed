"""Every YAML in configs/ is a training that the command line accepts and that can take a step."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import save_file
from tiny_language_models import save_byte_model

from encoders.vision.glyphs import Trunk
from vqa.__main__ import main
from vqa.config import Network
from vqa.data.tags import TagFile
from vqa.model import build
from vqa.tokenizer import train

FOLDER = Path(__file__).parents[1] / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
LANGUAGE = FOLDER / "language.yaml"
GO_ON = {
    "documents_more": "documents",
    "receipts": "documents_more",
    "canvas_large": "canvas",
    "nlvr": "boxes",
}
"""Configs that begin with the model of another run."""
TWINS = ("documents_gpu", "documents_more")
"""Configs of the network of another, which the quick tests train."""


def files(path: Path) -> list[str]:
    """What the command in the head of a config gives to `vqa fit`, this file the last."""
    for line in path.read_text(encoding="utf-8").splitlines():
        named = re.findall(r"-c configs/(\S+\.yaml)", line)
        if "vqa fit" in line and named and named[-1] == path.name:
            return [word for name in named for word in ("-c", str(FOLDER / name))]
    raise AssertionError(f"{path.name} does not begin with its command")


def fit(path: Path, squares: Path, *more: str) -> int:
    """A step of training and one of validation, on small data in place of its own."""
    quick = ["--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu"]
    quick += ["--model.compile", "false", "--data.num_workers", "0", "--trainer.precision", "32"]
    data = ["--data.dataset", "jsonl", "--data.root", str(squares), "--data.dataset_args", "{}"]
    return main(["fit", *files(path), *quick, *data, *more])


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in TWINS else [])
        for path in sorted({*CONFIGS} - {LANGUAGE})
    ],
)
def test_config_trains(
    path: Path, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["vqa"])
    monkeypatch.chdir(tmp_path)
    if path.stem in GO_ON:
        unlearned(files(path)[1], GO_ON[path.stem])
    elif any("documents" in word for word in files(path)):
        trunk()
    more: tuple[str, ...] = ()
    if path.stem == "general":
        save_byte_model(tmp_path / "runs" / "lm")
        (tmp_path / "runs" / "tagger").mkdir()
        TagFile.write(tmp_path / "runs" / "tagger" / "tags.jsonl", {})
        more = ("--model.vit_weights", "null")
    assert fit(path, squares, *more) == 0


def test_language_config_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["vqa"])
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("What is the total? RM 9.00\n" * 10, encoding="utf-8")
    quick = ["--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu"]
    data = ["--data.train", "[text.txt]", "--data.val", "[text.txt]", "--data.length", "200"]
    assert main(["fit-language", *files(LANGUAGE), *quick, *data]) == 0


def unlearned(config: str, name: str) -> None:
    """The model of a config before it has learned, where a config looks for that of run `name`."""
    words = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    tokenizer = train(["What is the total?", "RM 9.00"], words["data"].get("vocabulary", 1024))
    model = build(Network.of(words["model"]["network"]), tokenizer)
    for part in (model, tokenizer):
        part.save_pretrained(f"runs/{name}/model")


def trunk() -> None:
    """Weights of a recogniser that has learned nothing, where configs look for them."""
    file = Path("runs/glyphs/trunk.safetensors")
    file.parent.mkdir(parents=True)
    weights = Trunk().state_dict()
    save_file({name: weight.contiguous() for name, weight in weights.items()}, file)


def test_there_are_configs() -> None:
    assert {path.stem for path in CONFIGS} >= {"easy_vqa", "nlvr", "canvas", "documents"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_begins_with_its_command(path: Path) -> None:
    assert files(path)
    assert any(f"-c configs/{path.name}" in line for line in path.read_text().splitlines()[:5])
