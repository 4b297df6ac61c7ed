"""LatteVQA whose answers a converted language model writes."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import NETWORK, TINY, TRAINER
from tokenizers import Tokenizer
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from encoders.language import convert, latte_layers
from vqa import tokenizer as tokenizers
from vqa.__main__ import main
from vqa.config import Network
from vqa.model import build
from vqa.predictor import Predictor


def chat_tokenizer() -> Any:
    """Bytes with SmolLM2's special tokens, after a call that padded."""
    text = tokenizers.train(iter([]), tokenizers.BYTES).backend_tokenizer.to_str()
    special = {"pad_token": "<|pad|>", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    for name, token in special.items():
        text = text.replace(tokenizers.SPECIAL[name], token)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(text), **special)
    tokenizer(["a", "longer"], padding=True)
    return tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny converted language model with its tokenizer, gates half open."""
    out = tmp_path_factory.mktemp("language")
    tokenizer = chat_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = convert(LlamaForCausalLM(config), window=16, latents=4)
    for layer in latte_layers(model):
        nn.init.zeros_(layer.gate.bias)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def written(folder: Path) -> Predictor:
    """A predictor with random image encoder and that language model."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = tokenizers.load(folder)
    torch.manual_seed(0)
    network = replace(TINY, question="decoder", language_model=config, answer_tokens=4)
    model = build(network, tokenizer)
    model.decoder.load(str(folder))
    nn.init.normal_(model.decoder.connector.weight)  # or images would hardly be seen
    return Predictor(model, tokenizer)


def picture(height: int, width: int, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (height, width, 3), generator=generator, dtype=torch.uint8).numpy()


def test_answers_depend_on_the_image_and_not_on_the_batch(written: Predictor) -> None:
    images = [picture(100, 150), picture(70, 64, 1)]
    questions = ["what?", "how many circles are there in the whole picture?"]
    single = [written.ask(i, q, top_k=1) for i, q in zip(images, questions, strict=True)]
    batch = written.ask_many(images, [0, 1], questions, top_k=1)
    for one, other in zip(single, batch, strict=True):
        assert one.answer == other.answer
        assert one.score == pytest.approx(other.score, abs=1e-5)
    tokens = torch.tensor([[1, 5, 6]])
    caches = [
        written.model.read([torch.from_numpy(image).permute(2, 0, 1)], tokens, tokens > 0)
        for image in images
    ]
    logits = [written.model(tokens, cache=cache).logits for cache in caches]
    assert (logits[0] - logits[1]).abs().max() > 1e-4


def test_encoded_images_answer_as_images_do(written: Predictor, tmp_path: Path) -> None:
    image = picture(100, 150)
    expected = written.ask(image, "what?", top_k=1)
    encoded = written.encode(image)
    encoded.save(tmp_path / "image.safetensors")
    assert encoded.nbytes == written.encode(picture(30, 40)).nbytes
    for kept in (encoded, written.load_encoded(tmp_path / "image.safetensors")):
        answer = written.ask(kept, "what?", top_k=1)
        assert answer.answer == expected.answer
        assert answer.score == pytest.approx(expected.score, abs=1e-6)


def test_evidence_is_a_map_over_the_patches(written: Predictor) -> None:
    evidence = written.ask(picture(100, 150), "what?", top_k=1, evidence=True).evidence
    assert evidence is not None and evidence.heat.shape == (7, 10)
    assert evidence.heat.min() >= 0 and evidence.heat.sum() > 0


def test_saved_model_answers_the_same(written: Predictor, tmp_path: Path) -> None:
    written.model.save_pretrained(tmp_path)
    written.tokenizer.save_pretrained(tmp_path)
    image, again = picture(64, 64), Predictor.from_pretrained(str(tmp_path))
    one, other = (p.ask(image, "what?", top_k=1) for p in (written, again))
    assert (one.answer, one.score) == (other.answer, other.score)


def test_fit_trains_the_language_model_and_exports_it(
    folder: Path, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["vqa"])
    config = tmp_path / "config.yaml"
    text = TRAINER.replace("FOLDER", str(tmp_path)) + NETWORK.replace(", vocabulary: 300", "")
    config.write_text(text, encoding="utf-8")
    options = ["-c", str(config), "--data.root", str(squares), "--data.tokenizer", str(folder)]
    options += ["--model.network.question", "decoder", "--model.language_model", str(folder)]
    assert main(["fit", *options, "--model.max_answer_tokens", "3"]) == 0
    more = ["--model.max_answer_tokens", "3", "--trainer.max_epochs", "3"]
    more += ["--trainer.precision", "bf16-mixed", "--trainer.gradient_clip_val", "1.0"]
    assert main(["fit", *options, *more, "--ckpt_path", str(tmp_path / "last.ckpt")]) == 0
    assert main(["export", str(tmp_path / "last.ckpt"), str(tmp_path / "model")]) == 0
    predictor = Predictor.from_pretrained(str(tmp_path / "model"))
    for name, token in chat_tokenizer().special_tokens_map.items():
        assert getattr(predictor.tokenizer, name) == token
    assert len(predictor.tokenizer) == predictor.model.config.vocab_size == tokenizers.BYTES
    before = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    name = "decoder.model.layers.0.self_attn.latent_key.weight"
    assert torch.equal(before[f"model.{name}"], predictor.model.state_dict()[name])
    start = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    trained = predictor.model.state_dict()
    for part in ("latent_key", "gate", "v_proj", "q_proj"):
        name = f"model.layers.1.self_attn.{part}.weight"
        assert not torch.equal(trained[f"decoder.{name}"], start[name]), part
    assert predictor.ask(picture(40, 40), "what?", top_k=1).top_k


def test_fit_refuses_a_tokenizer_or_folder_that_does_not_fit(
    folder: Path,
    squares: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["vqa"])
    config = tmp_path / "config.yaml"
    config.write_text(TRAINER.replace("FOLDER", str(tmp_path)) + NETWORK, encoding="utf-8")
    options = ["fit", "-c", str(config), "--data.root", str(squares)]
    options += ["--model.network.question", "decoder"]
    assert main([*options, "--model.language_model", str(folder)]) == 2
    assert "set data.tokenizer to" in capsys.readouterr().err
    assert main([*options, "--model.language_model", str(tmp_path)]) == 2
    assert "is no language model folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    (
        ({"question": "encoder"}, "set question to decoder"),
        ({"question": "decoder", "carry": True}, "carry to false"),
        ({"question": "decoder", "memory": "sequence"}, "set memory to state"),
    ),
)
def test_network_refuses_what_a_language_model_cannot(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Network(language_model={}, **options)
