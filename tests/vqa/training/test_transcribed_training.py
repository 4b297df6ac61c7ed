"""Training of a language model on the print of images: the command, from data to answers."""

import json
import sys
from pathlib import Path

import pytest
import torch
from networks import NETWORK, TRAINER
from printed_pages import PAGE, make, printed
from tiny_language_models import save_byte_model
from torchvision.transforms.functional import to_pil_image
from transformers import AutoModelForCausalLM

from encoders.vision.tagger import Tagger
from vqa import datamodule, transcriber
from vqa.__main__ import main
from vqa.predictor import Predictor
from vqa.tagger_folder import save_tagger

TAGS = {"groups": {"kind": ["page", "scene"]}, "several": [], "shown": {"page": [], "scene": []}}


@pytest.fixture
def language(tmp_path: Path) -> Path:
    return save_byte_model(tmp_path / "language")


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Two pages of print and a question about each, for training and validation."""
    folder = tmp_path / "pages"
    folder.mkdir()
    lines = []
    for number in range(4):
        to_pil_image(printed(256, 512, *PAGE[: number + 1])).save(folder / f"{number}.png")
        row = {"question_id": number, "image": f"{number}.png", "question": "first word?"}
        lines.append(json.dumps(row | {"answers": ["ABBA"]}))
    for split in ("train", "val"):
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_fit_reads_print_keeps_frozen_layers_and_exports_a_tagger(
    language: Path, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["vqa"])
    monkeypatch.setattr(datamodule, "bundled_ocr", make)
    monkeypatch.setattr(transcriber, "bundled_ocr", make)
    config = tmp_path / "config.yaml"
    text = TRAINER.replace("FOLDER", str(tmp_path)) + NETWORK.replace(", vocabulary: 300", "")
    config.write_text(text, encoding="utf-8")
    options = ["-c", str(config), "--data.root", str(pages), "--data.tokenizer", str(language)]
    options += ["--model.network.question", "decoder", "--model.language_model", str(language)]
    options += ["--model.language_frozen", "1", "--model.language_lr", "1e-2"]
    reads = ["--model.network.transcript", "true", "--data.transcripts", str(tmp_path / "texts")]
    assert main(["fit", *options, *reads[:2]]) == 2
    assert main(["fit", *options, *reads[2:], "--model.network.transcript", "false"]) == 2
    assert main(["fit", *options, *reads]) == 0
    assert len(list((tmp_path / "texts").glob("*/*.json"))) == 4
    save_tagger(tmp_path / "tagger", TAGS, _tagger_weights())
    words = ["export", str(tmp_path / "last.ckpt"), str(tmp_path / "model")]
    assert main([*words, "--tagger", str(tmp_path / "tagger")]) == 0
    predictor = Predictor.from_pretrained(str(tmp_path / "model"))
    assert predictor.model.tagger is not None and predictor.chat
    before = AutoModelForCausalLM.from_pretrained(language).state_dict()
    after = predictor.model.state_dict()
    for layer, same in ((0, True), (1, False)):
        name = f"model.layers.{layer}.self_attn.v_proj.weight"
        assert torch.equal(before[name], after[f"decoder.{name}"]) == same
    assert torch.equal(
        before["model.embed_tokens.weight"], after["decoder.model.embed_tokens.weight"]
    )
    image = printed(256, 512, *PAGE).permute(1, 2, 0).numpy()
    assert predictor.ask(image, "first word?", top_k=1).tokens > 0


def _tagger_weights() -> dict[str, torch.Tensor]:
    return Tagger(32, TAGS["groups"], ()).state_dict()  # type: ignore[arg-type]
