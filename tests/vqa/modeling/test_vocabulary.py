"""Pruned vocabularies: the same tokens of kept texts, any text still writable, the same model."""

import json
from pathlib import Path

import pytest
import torch
from tiny_language_models import SIZES
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from encoders.language.convert import convert
from vqa import tokenizer as tokenizers
from vqa.__main__ import main

TEXTS = [
    "the total amount of the receipt is 12.50",
    "a street with a bus and two people",
    "who served me at the counter today",
    "überraschung und käse am straßenrand",
]


@pytest.fixture
def language(tmp_path: Path) -> Path:
    tokenizer = tokenizers.train(TEXTS, 420)
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    config = LlamaConfig(
        **(SIZES | special | {"vocab_size": len(tokenizer)}), tie_word_embeddings=True
    )
    convert(LlamaForCausalLM(config), window=16, latents=4).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def prune(language: Path, out: str, *options: str, text: str = TEXTS[0]) -> int:
    file = language.parent / "text.txt"
    file.write_text(text, encoding="utf-8")
    words = [str(language), str(language.parent / out), "--text", str(file)]
    return main(["prune-vocabulary", *words, *options])


def test_prune_vocabulary_keeps_tokens_logits_and_every_text(language: Path) -> None:
    assert prune(language, "small", "--common", "5") == 0
    whole, small = tokenizers.load(language), tokenizers.load(language.parent / "small")
    assert len(small) < len(whole) - 50
    kept = whole.tokenize(TEXTS[0])
    assert small.tokenize(TEXTS[0]) == kept
    for text in (*TEXTS, "Any text: 東京 €5", "<eos> is a word"):
        assert tokenizers.decode(small, small(text)["input_ids"]) == text.strip()
    models = [AutoModelForCausalLM.from_pretrained(language.parent / n) for n in ("model", "small")]
    ids = [torch.tensor([t.convert_tokens_to_ids(kept)]) for t in (whole, small)]
    with torch.no_grad():
        before, after = (model(i).logits for model, i in zip(models, ids, strict=True))
    rows = whole.convert_tokens_to_ids(small.convert_ids_to_tokens(range(len(small))))
    torch.testing.assert_close(after, before[..., rows])
    config = json.loads((language.parent / "small" / "config.json").read_text(encoding="utf-8"))
    assert config["vocab_size"] == len(small)
    assert config["eos_token_id"] == small.eos_token_id


def test_prune_vocabulary_with_all_merges_changes_nothing(language: Path) -> None:
    assert prune(language, "same", "--common", "1000") == 0
    same = tokenizers.load(language.parent / "same")
    assert same.get_vocab() == tokenizers.load(language).get_vocab()


def test_prune_vocabulary_refuses_what_it_cannot_prune(
    language: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune(language, "model") == 2
    assert "exists already" in capsys.readouterr().err
    (language / "model.safetensors").unlink()
    assert prune(language, "small") == 2
    assert "has no model.safetensors" in capsys.readouterr().err
    tokenizer = json.loads((language / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["type"] = "Unigram"
    (language / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    assert prune(language, "small") == 2
    assert "no byte-level BPE" in capsys.readouterr().err
