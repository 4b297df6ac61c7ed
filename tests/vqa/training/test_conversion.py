"""The two stages of training a converted model, without a trainer."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from tiny_language_models import converted, ids_of, open_gates, original
from torch import Tensor
from torch.nn.functional import cross_entropy

from encoders.language import convert, latte_layers
from vqa.batch import IGNORE
from vqa.training.conversion import (
    LATENT_NAMES,
    AttentionTransfer,
    NextTokenTuning,
    add_adapters,
    is_latent,
    label_loss,
    transfer_errors,
)

close = torch.testing.assert_close


def errors_of(model: Any, ids: Tensor) -> list[Tensor]:
    """Where every token is a label."""
    return transfer_errors(model, ids, ids)


def trained(stage: Any) -> set[str]:
    return {name for name, weight in stage.named_parameters() if weight.requires_grad}


def test_is_latent_is_true_of_new_parameters_alone() -> None:
    before = set(dict(original().named_parameters()))
    for name, _ in converted().named_parameters():
        assert is_latent(name) == (name not in before), name


def test_attention_transfer_trains_new_parameters_alone() -> None:
    stage = AttentionTransfer(converted())
    assert trained(stage) == {name for name, _ in stage.named_parameters() if is_latent(name)}
    assert len(trained(stage)) == 2 * (2 + 1 + 2)


@pytest.mark.parametrize("stage", (AttentionTransfer, NextTokenTuning))
def test_stages_save_trained_weights_alone(stage: Any) -> None:
    module = stage(converted())
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    assert set(checkpoint["state_dict"]) == trained(module)


@torch.no_grad()
def test_transfer_errors_are_zero_within_the_window() -> None:
    """Shut gates, and no token out of reach: each layer is its own softmax."""
    errors = errors_of(converted(window=7, sinks=2), ids_of(9))
    assert len(errors) == 2 and max(errors) < 1e-9
    assert min(errors_of(converted(window=7, sinks=2), ids_of(60))) > 1e-3


@torch.no_grad()
def test_transfer_errors_compare_with_the_original() -> None:
    """Squared difference of each layer's output, given the original's input, by hand; with a
    single label, its place weighs as much as all others."""
    before = original()
    model = open_gates(convert(deepcopy(before), 7, 5, 2))
    inputs: list[Any] = []
    outputs: list[Any] = []
    for layer in before.model.layers:
        layer.self_attn.register_forward_pre_hook(
            lambda _, args, words: inputs.append((words["hidden_states"], words)), with_kwargs=True
        )
        layer.self_attn.register_forward_hook(lambda _, args, out: outputs.append(out[0]))
    before(ids_of(40), use_cache=False)
    errors = errors_of(model, ids_of(40))
    labels = torch.full((2, 40), IGNORE)
    labels[0, 30] = 5  # predicted from place 29
    answer_error = dict(
        zip(latte_layers(model), transfer_errors(model, ids_of(40), labels), strict=True)
    )
    for layer, (x, words), target, error in zip(
        latte_layers(model), inputs, outputs, errors, strict=True
    ):
        got = layer(x, words["position_embeddings"])[0]
        wrong, power = ((t[:, :-1] ** 2).mean(-1) for t in (got - target, target))
        close(error, wrong.mean() / power.mean(), rtol=1e-3, atol=1e-6)
        answer = wrong[0, 29] / power[0, 29]
        close(answer_error[layer], (answer + error) / 2, rtol=1e-3, atol=1e-6)


def test_transfer_errors_send_no_gradient_between_layers() -> None:
    model = open_gates(converted())
    AttentionTransfer(model)
    errors_of(model, ids_of(40))[1].backward()
    first, second = latte_layers(model)
    for name in LATENT_NAMES:
        assert getattr(first, name).weight.grad is None
        assert getattr(second, name).weight.grad.abs().max() > 0


def test_transfer_errors_leave_no_hooks() -> None:
    model = open_gates(converted())
    with torch.no_grad():
        expected = model(ids_of(40)).logits
        errors_of(model, ids_of(40))
        assert model(ids_of(40)).logits.equal(expected)


def test_label_loss_is_cross_entropy_of_labelled_tokens() -> None:
    model = open_gates(converted())
    ids = ids_of(40, 1)
    labels = torch.full_like(ids, IGNORE)
    labels[0, [0, 7, 8, 39]] = ids[0, [0, 7, 8, 39]]
    logits = model(ids).logits[0, :-1]
    expected = cross_entropy(logits, labels[0, 1:], ignore_index=IGNORE)
    close(label_loss(model, ids, labels), expected)
    close(label_loss(model, ids, ids), model(ids, labels=ids).loss)


def test_next_token_tuning_of_rank_zero_trains_everything() -> None:
    model = converted()
    AttentionTransfer(model)  # leaves pretrained weights frozen
    stage = NextTokenTuning(model, lora_rank=0)
    assert trained(stage) == {name for name, _ in stage.named_parameters()}
    assert stage.merged() is model


def test_next_token_tuning_with_adapters_trains_them_and_latents() -> None:
    pytest.importorskip("peft")
    model = converted()
    AttentionTransfer(model)
    stage = NextTokenTuning(model, lora_rank=3)
    names = trained(stage)
    assert all(is_latent(name) or "lora_" in name for name in names)
    assert sum(map(is_latent, names)) == 2 * 5
    assert sum("lora_" in name for name in names) == 2 * 7 * 2


def test_next_token_tuning_merged_equals_adapted() -> None:
    pytest.importorskip("peft")
    model = open_gates(converted())
    stage = NextTokenTuning(model, lora_rank=3)
    with torch.no_grad():
        for name, weight in stage.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
        expected = stage.model(ids_of(40)).logits
        merged = stage.merged()
        close(merged(ids_of(40)).logits, expected, rtol=1e-4, atol=1e-3)
    assert type(merged).__name__ == "LatteLlamaForCausalLM"
    assert not any("lora" in name for name, _ in merged.named_parameters())


def test_add_adapters_names_the_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(ValueError, match="LoRA needs peft: pip install"):
        add_adapters(converted(), 4)
