"""Model folders: what is saved comes back bit for bit; what is no model folder is told apart."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import IMAGES, MASK, QUESTION, ints, make
from safetensors.torch import load_file, save_file
from torch import Tensor

from vqa import checkpoint
from vqa import tokenizer as tokenizers
from vqa.config import LatteVQAConfig, Network, Vision
from vqa.model import LatteVQA

WAYS = (("latte", "encoder", "state"), ("attention", "decoder", "sequence"))


def answer(model: LatteVQA) -> Tensor:
    with torch.no_grad():
        words = {"images": IMAGES, "question": QUESTION, "question_mask": MASK}
        logits: Tensor = model(ints(3, 4), **words).logits
    return logits


def save(model: LatteVQA, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizers.train(["a red square"], 300).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(make(), tmp_path_factory.mktemp("good"))


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy of a good folder, to be spoilt."""
    return Path(shutil.copytree(good, tmp_path / "spoilt"))


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_a_saved_model_answers_bit_for_bit(way: tuple[str, str, str], tmp_path: Path) -> None:
    model = make(*way)
    loaded = LatteVQA.from_pretrained(save(model, tmp_path))
    assert not loaded.training
    assert loaded.network == model.network
    assert torch.equal(answer(loaded), answer(model))
    again = LatteVQA.from_pretrained(str(save(loaded, tmp_path / "again")))
    assert torch.equal(answer(again), answer(model))


def test_no_file_of_the_folder_is_a_pickle(good: Path) -> None:
    names = {path.name for path in good.iterdir()}
    assert set(checkpoint.FILES) <= names
    assert {Path(name).suffix for name in names} <= {".json", ".safetensors", ".txt", ".jinja"}


def test_config_comes_back_from_json(good: Path) -> None:
    network = Network(vision=Vision(tile=64, overview=False), dim=36, question="decoder")
    config = LatteVQAConfig(network, vocab_size=77, eos_token_id=5)
    words = json.loads(config.to_json_string(use_diff=False))
    again = LatteVQAConfig(**words)
    assert Network.of(again.network) == network
    assert (again.vocab_size, again.eos_token_id, again.pad_token_id) == (77, 5, 0)
    saved = json.loads((good / "config.json").read_text())
    assert saved["model_type"] == "latte_vqa"
    assert Network.of(saved["network"]) == make().network


@pytest.mark.parametrize("dtype", ("bfloat16", torch.bfloat16), ids=str)
def test_weights_are_converted_to_the_dtype_asked_for(good: Path, dtype: Any) -> None:
    exact, rough = LatteVQA.from_pretrained(good), LatteVQA.from_pretrained(good, dtype=dtype)
    assert {weight.dtype for weight in rough.parameters()} == {torch.bfloat16}
    error = (answer(rough).float() - answer(exact)).norm() / answer(exact).norm()
    assert 0 < error < 0.1


def test_a_model_saved_in_bfloat16_is_read_in_float32(tmp_path: Path) -> None:
    model = LatteVQA.from_pretrained(save(make().bfloat16(), tmp_path))
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", ("int3", "cat"))
def test_an_unknown_dtype_is_refused(good: Path, dtype: str) -> None:
    with pytest.raises(ValueError, match=f"dtype.*'{dtype}'"):
        LatteVQA.from_pretrained(good, dtype=dtype)


def drop(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def write(file: str, text: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / file).write_text(text)

    return spoil


def change_config(**words: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | words))

    return spoil


def change_weights(change: Callable[[dict[str, Tensor]], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors")

    return spoil


def reshape(weights: dict[str, Tensor]) -> None:
    weights["kind"] = torch.zeros(2, 3)


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


# What is done to the folder, and what the one sentence about it says besides the folder.
FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no-config": (drop("config.json"), "has no config.json"),
    "no-weights": (drop("model.safetensors"), "has no model.safetensors"),
    "no-tokenizer": (drop("tokenizer.json"), "has no tokenizer.json"),
    "corrupt-weights": (write("model.safetensors", "cat"), "model.safetensors cannot be read"),
    "truncated-weights": (truncate, "model.safetensors cannot be read"),
    "empty-weights": (write("model.safetensors", ""), "model.safetensors cannot be read"),
    "broken-json": (write("config.json", "{"), "config.json is not JSON"),
    "empty-json": (write("config.json", ""), "config.json is not JSON"),
    "json-list": (write("config.json", "[1]"), "type None, not 'latte_vqa'"),
    "other-model": (change_config(model_type="llama"), "type 'llama', not 'latte_vqa'"),
    "unknown-word": (change_config(network={"depht": 3}), "depht"),
    "impossible-network": (change_config(network={"dim": 7}), "dim 7"),
    "network-no-words": (change_config(network=[3]), "network"),
    "missing": (change_weights(lambda weights: weights.pop("kind")), "1 missing (such as kind)"),
    "foreign": (
        change_weights(lambda weights: weights.update(alien=torch.zeros(1))),
        "1 unknown (such as alien)",
    ),
    "shape": (change_weights(reshape), "1 of another shape (such as kind)"),
    "vocabulary": (change_config(vocab_size=99), "another shape (such as text.table.weight)"),
}


def sentence_about(name: str | Path) -> str:
    with pytest.raises(ValueError) as caught:
        LatteVQA.from_pretrained(name)
    told = str(caught.value)
    assert "\n" not in told.strip() and len(told) < 600
    return told


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_folder_is_one_sentence(fault: str, folder: Path) -> None:
    spoil, expected = FAULTS[fault]
    spoil(folder)
    told = sentence_about(folder)
    assert str(folder) in told and expected in told


@pytest.mark.parametrize("name", ("none", "a/b/none", "./none", "/none/at/all", ""))
def test_a_missing_folder_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "snapshot_download", lambda name: pytest.fail("asked the hub"))
    if name:
        assert f"no model folder {name}" in sentence_about(name)
    else:
        sentence_about(name)  # the empty name is the folder one is in


def test_a_file_is_no_folder(good: Path) -> None:
    told = sentence_about(good / "config.json")
    assert str(good / "config.json") in told and "is a file" in told


def test_a_name_the_hub_does_not_give_is_told_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    told = sentence_about("nobody/nothing")
    assert "no model folder nobody/nothing" in told and "hub" in told


def test_a_name_the_hub_gives_is_loaded(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "snapshot_download", lambda name: str(good))
    assert torch.equal(answer(LatteVQA.from_pretrained("somebody/model")), answer(make()))
