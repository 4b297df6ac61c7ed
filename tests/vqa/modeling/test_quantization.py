"""Quantized weights: exact arithmetic as documented, least error, whole models."""

from pathlib import Path

import pytest
import torch
from networks import TINY
from torchvision.transforms.functional import to_pil_image

from vqa import tokenizer as tokenizers
from vqa.model import LatteVQA, build
from vqa.predictor import Predictor
from vqa.quantization import GROUP, dequantize, dequantize_weights, quantize, quantize_weights


@pytest.mark.parametrize("bits", [4, 8])
def test_codes_and_scales_are_what_the_module_says(bits: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 3 * GROUP) * torch.rand(5, 1)
    codes, scales = quantize(weight, bits)
    assert scales.dtype == torch.float16 and scales.shape == (5, 3)
    for row in range(5):
        for column in range(3 * GROUP):
            code = int(codes[row, column // 2] if bits == 4 else codes[row, column])
            if bits == 4:
                code = (code & 15 if column % 2 == 0 else code >> 4) - 8
            value = code * float(scales[row, column // GROUP])
            assert value == pytest.approx(float(dequantize(codes, scales)[row, column]), abs=1e-7)
    stored = codes.nbytes + scales.nbytes
    assert 8 * stored / weight.numel() == bits + 0.5


@pytest.mark.parametrize(("bits", "most"), [(4, 0.09), (8, 0.006)])
def test_error_is_small_and_less_than_of_the_plain_scale(bits: int, most: float) -> None:
    torch.manual_seed(0)
    weight = torch.randn(64, 8 * GROUP)
    error = (dequantize(*quantize(weight, bits)) - weight).square().mean().sqrt()
    groups = weight.view(-1, GROUP)
    scale = groups.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    plain = ((groups / scale).round() * scale - groups).square().mean().sqrt()
    assert error < most and error < plain


@pytest.mark.parametrize("bits", [4, 8])
def test_noughts_and_large_weights_survive(bits: int) -> None:
    weight = torch.zeros(2, GROUP)
    weight[1, 3] = -300.0
    found = dequantize(*quantize(weight, bits))
    assert not found[0].any() and float(found[1, 3]) == pytest.approx(-300, rel=1e-3)


def test_on_its_grid_a_weight_is_kept_exactly() -> None:
    codes = torch.randint(-8, 8, (16, 2 * GROUP)).float()
    codes[:, ::GROUP] = -8
    weight = codes * 0.25
    assert torch.equal(dequantize(*quantize(weight, 4)), weight)


def test_wrong_bits_and_lost_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="4 or 8 bits, not 5"):
        quantize(torch.zeros(1, GROUP), 5)
    with pytest.raises(ValueError, match=r"weight a\.b has codes and no scales"):
        dequantize_weights({"a.b.codes": torch.zeros(1, 1)})


def test_a_quantized_model_answers_as_its_read_back_weights_do(tmp_path: Path) -> None:
    from vqa.checkpoint import save_quantized

    torch.manual_seed(0)
    tokenizer = tokenizers.train(["what?", "red"], 300)
    model = build(TINY, tokenizer).eval()
    save_quantized(model, tmp_path / "small", {"decoder.": 4, "": 8}, shard="60KB")
    tokenizer.save_pretrained(tmp_path / "small")
    assert len(list((tmp_path / "small").glob("model*.safetensors"))) > 1
    again = LatteVQA.from_pretrained(tmp_path / "small")
    codes = dequantize_weights(quantize_weights(model.state_dict(), {"decoder.": 4, "": 8}))
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, codes[name].to(weight.dtype)), name
    image = to_pil_image(torch.randint(256, (3, 64, 64), dtype=torch.uint8))
    one = Predictor(again, tokenizer).ask(image, "what?", top_k=1)
    other = Predictor.from_pretrained(tmp_path / "small").ask(image, "what?", top_k=1)
    assert (one.answer, one.score) == (other.answer, other.score)
    (tmp_path / "small" / "model.safetensors.index.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"index\.json"):
        LatteVQA.from_pretrained(tmp_path / "small")
