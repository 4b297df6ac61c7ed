"""Converted models saved, loaded and trained by transformers and peft."""

import pickle
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_language_models import (
    FAMILIES,
    VOCAB,
    assert_same_gradients,
    converted,
    ids_of,
    naive_copy,
    open_gates,
)
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from encoders.language import latte_layers

close = torch.testing.assert_close
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
OPTIONS: dict[str, dict[str, Any]] = {"qwen3": {"softmax_layers": (1,)}, "mistral": {"gain": 2.0}}

LOADER = """
import sys, torch
torch.set_num_threads(1)
import encoders.language
from transformers import AutoConfig, AutoModelForCausalLM
ids, out = torch.load(sys.argv[1]), {}
for folder in sys.argv[3:]:
    config = AutoConfig.from_pretrained(folder)
    for name, options in {
        "float32": {},
        "bfloat16": {"dtype": torch.bfloat16},
        "sdpa": {"attn_implementation": "sdpa"},
    }.items():
        model = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
        assert type(model.config) is type(config)
        with torch.no_grad():
            logits = model(ids).logits
        out[folder, name] = config.model_type, type(model).__name__, logits
torch.save(out, sys.argv[2])
"""


def test_convert_saved_models_load_in_another_process(tmp_path: Path) -> None:
    ids, models = ids_of(40), {}
    torch.save(ids, tmp_path / "ids.pt")
    for family in FAMILIES:
        model = open_gates(converted(family, **OPTIONS.get(family, {})))
        model.save_pretrained(tmp_path / family)
        models[str(tmp_path / family)] = model
    command = [sys.executable, "-c", LOADER, "ids.pt", "out.pt", *models]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    loaded = torch.load(tmp_path / "out.pt")
    assert len(loaded) == 3 * len(FAMILIES)
    for (folder, name), (model_type, class_name, logits) in loaded.items():
        model = models[folder]
        assert model_type == model.config.model_type and model_type.startswith("latte_")
        assert class_name == type(model).__name__
        with torch.no_grad():
            expected = model(ids).logits
        if name == "bfloat16":
            assert logits.dtype == torch.bfloat16
            assert (logits.float() - expected).norm() < 0.2 * expected.norm()
        else:
            close(logits, expected, rtol=0, atol=1e-5)


def test_convert_saved_config_loads(tmp_path: Path) -> None:
    model = converted(window=5, softmax_layers=(1,))
    model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.latte == model.config.latte and config.model_type == "latte_llama"
    fresh = AutoModelForCausalLM.from_config(config)
    assert [layer.layer_idx for layer in latte_layers(fresh)] == [0]
    assert latte_layers(fresh)[0].gate.bias.min() > 1


@torch.no_grad()
def test_convert_bfloat16_is_close() -> None:
    model = open_gates(converted())
    expected = model(ids_of(100)).logits.softmax(-1)
    got = model.bfloat16()(ids_of(100)).logits
    assert got.dtype == torch.bfloat16
    assert (got.float().softmax(-1) - expected).abs().mean() < 2e-2 / VOCAB**0.5


@torch.no_grad()
@pytest.mark.parametrize("copy", (deepcopy, lambda model: pickle.loads(pickle.dumps(model))))
def test_convert_copies_are_independent(copy: Any) -> None:
    model = open_gates(converted())
    expected = model(ids_of(40)).logits
    copied = copy(model)
    assert copied(ids_of(40)).logits.equal(expected)
    assert latte_layers(copied)[0].rotary[0] is copied.model.rotary_emb
    for weight in copied.parameters():
        weight.zero_()
    assert model(ids_of(40)).logits.equal(expected)


def test_convert_state_dict_round_trip(tmp_path: Path) -> None:
    model, other = open_gates(converted("llama-tied")), converted("llama-tied")
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.no_grad():
        assert other(ids_of(40)).logits.equal(model(ids_of(40)).logits)
    assert other.lm_head.weight is other.model.embed_tokens.weight
    names = {name.split(".")[-2] for name in model.state_dict() if "self_attn" in name}
    assert names == {*PROJECTIONS[:4], "latent_query", "latent_key", "gate"}


def loss_of(model: Any) -> Tensor:
    ids = ids_of(40)
    loss: Tensor = model(ids, labels=ids).loss
    return loss


def test_convert_gradient_checkpointing_changes_no_gradient() -> None:
    model = open_gates(converted()).train()
    other = deepcopy(model)
    other.activation_checkpointing_enable()
    for each in (model, other):
        loss_of(each).backward()
    assert_same_gradients(other, model, 1e-5)


@torch.no_grad()
def test_convert_hidden_states_equal_naive() -> None:
    model = open_gates(converted())
    got, expected = (
        each(ids_of(40), output_hidden_states=True).hidden_states
        for each in (model, naive_copy(model))
    )
    assert len(got) == 3
    for one, other in zip(got, expected, strict=True):
        close(one, other, rtol=1e-4, atol=1e-4)


def train_some(model: Any, steps: int = 5) -> list[float]:
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("targets", (PROJECTIONS, "all-linear"), ids=("projections", "all"))
def test_convert_peft_trains_saves_loads_and_merges(
    targets: list[str] | str, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    base = open_gates(converted())
    before = {name: weight.clone() for name, weight in base.named_parameters()}
    config = peft.LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(deepcopy(base), config)
    assert len(latte_layers(adapted)) == 2
    losses = train_some(adapted)
    assert losses[-1] < losses[0]
    trainable = [weight for weight in adapted.parameters() if weight.requires_grad]
    assert len(trainable) >= 2 * 2 * len(PROJECTIONS)
    assert all(weight.grad is not None and weight.grad.any() for weight in trainable)
    with torch.no_grad():
        expected = adapted(ids_of(30)).logits
        adapted.save_pretrained(tmp_path, save_embedding_layers=False)
        loaded = peft.PeftModel.from_pretrained(deepcopy(base), tmp_path)
        close(loaded(ids_of(30)).logits, expected, rtol=0, atol=1e-4)
        merged = loaded.merge_and_unload()
        assert type(merged) is type(base)
        close(merged(ids_of(30)).logits, expected, rtol=1e-4, atol=1e-3)
        tokens = adapted.generate(input_ids=ids_of(9), max_new_tokens=4, do_sample=False)
    assert tokens.shape[1] > 9
    assert all(weight.equal(before[name]) for name, weight in base.named_parameters())


class Texts(torch.utils.data.Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        ids = ids_of(30, 1, seed=index % 2)[0]
        return {"input_ids": ids, "labels": ids}


@pytest.mark.filterwarnings("ignore:.*pin_memory")
def test_convert_transformers_trainer_trains(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    model = open_gates(converted())
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=6,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=Texts())
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 6 and losses[-1] < losses[0]
