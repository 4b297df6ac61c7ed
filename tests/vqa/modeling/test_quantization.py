"""Quantized weights: exact arithmetic as documented, least error, whole models."""

from pathlib import Path

import pytest
import torch
from networks import TINY
from torchvision.transforms.functional import to_pil_image

from vqa import tokenizer as tokenizers
from vqa.model import LatteVQA, build
from vqa.predictor import Predictor
from vqa.quantization import (
    GROUP,
    dequantize,
    dequantize_weights,
    quantize,
    quantize_weights,
    weight_bits,
)

ALL_BITS = (4, 5, 6, 8)


def bit_of(row: torch.Tensor, place: int) -> int:
    """A bit of a row of bytes, the lowest of each byte first."""
    return int(row[place // 8]) >> place % 8 & 1


@pytest.mark.parametrize("bits", ALL_BITS)
def test_codes_and_scales_are_what_the_module_says(bits: int) -> None:
    torch.manual_seed(0)
    columns = 3 * GROUP
    weight = torch.randn(5, columns) * torch.rand(5, 1)
    codes, scales = quantize(weight, bits)
    assert scales.dtype == torch.float16 and scales.shape == (5, 3)
    assert codes.dtype == torch.uint8
    high = bits - 4
    for row in range(5):
        for column in range(columns):
            places = [4 * column + n for n in range(4)]
            places += [4 * columns + high * column + n for n in range(high)]
            code = sum(bit_of(codes[row], place) << n for n, place in enumerate(places))
            value = (code - 2 ** (bits - 1)) * float(scales[row, column // GROUP])
            assert value == pytest.approx(float(dequantize(codes, scales)[row, column]), abs=1e-7)
    stored = codes.nbytes + scales.nbytes
    assert 8 * stored / weight.numel() == bits + 0.5


@pytest.mark.parametrize(("bits", "most"), [(4, 0.09), (5, 0.045), (6, 0.023), (8, 0.006)])
def test_error_is_small_and_less_than_of_the_plain_scale(bits: int, most: float) -> None:
    torch.manual_seed(0)
    weight = torch.randn(64, 8 * GROUP)
    error = (dequantize(*quantize(weight, bits)) - weight).square().mean().sqrt()
    groups = weight.view(-1, GROUP)
    scale = groups.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    plain = ((groups / scale).round() * scale - groups).square().mean().sqrt()
    assert error < most and error < plain


@pytest.mark.parametrize("bits", ALL_BITS)
def test_noughts_and_large_weights_survive(bits: int) -> None:
    weight = torch.zeros(2, GROUP)
    weight[1, 3] = -300.0
    found = dequantize(*quantize(weight, bits))
    assert not found[0].any() and float(found[1, 3]) == pytest.approx(-300, rel=1e-3)


@pytest.mark.parametrize("bits", ALL_BITS)
def test_a_quantized_weight_is_quantized_to_itself(bits: int) -> None:
    torch.manual_seed(0)
    once = dequantize(*quantize(torch.randn(300, 4 * GROUP), bits))
    torch.testing.assert_close(dequantize(*quantize(once, bits)), once, rtol=1e-3, atol=0)


def test_no_weight_gets_fewer_bits_than_the_decoder() -> None:
    assert weight_bits(4) == {"decoder.model.embed_tokens.": 6, "decoder.": 4, "": 6}
    assert set(weight_bits(8).values()) == {8}


def test_a_convolution_is_quantized_by_output() -> None:
    torch.manual_seed(0)
    weight = {"conv": torch.randn(32, 64, 3, 3), "depthwise": torch.randn(512, 1, 3, 3)}
    small = quantize_weights(weight, {"": 6})
    assert small["conv.codes"].shape == (32, 64 * 9 * 6 // 8)
    assert small["depthwise"].dtype == torch.float16
    again = dequantize_weights(small, {name: each.shape for name, each in weight.items()})
    expected = dequantize(*quantize(weight["conv"].flatten(1), 6)).view(32, 64, 3, 3)
    assert torch.equal(again["conv"], expected)


def test_wrong_bits_and_lost_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="4, 5, 6, 8 bits, not 7"):
        quantize(torch.zeros(1, GROUP), 7)
    with pytest.raises(ValueError, match=r"weight a\.b has codes and no scales"):
        dequantize_weights({"a.b.codes": torch.zeros(1, 1)}, {})


def test_a_quantized_model_answers_as_its_read_back_weights_do(tmp_path: Path) -> None:
    from vqa.checkpoint import save_quantized

    torch.manual_seed(0)
    tokenizer = tokenizers.train(["what?", "red"], 300)
    model = build(TINY, tokenizer).eval()
    save_quantized(model, tmp_path / "small", {"decoder.": 4, "": 8}, shard="60KB")
    tokenizer.save_pretrained(tmp_path / "small")
    assert len(list((tmp_path / "small").glob("model*.safetensors"))) > 1
    again = LatteVQA.from_pretrained(tmp_path / "small")
    shapes = {name: weight.shape for name, weight in model.state_dict().items()}
    small = quantize_weights(model.state_dict(), {"decoder.": 4, "": 8})
    codes = dequantize_weights(small, shapes)
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, codes[name].to(weight.dtype)), name
    image = to_pil_image(torch.randint(256, (3, 64, 64), dtype=torch.uint8))
    one = Predictor(again, tokenizer).ask(image, "what?", top_k=1)
    other = Predictor.from_pretrained(tmp_path / "small").ask(image, "what?", top_k=1)
    assert (one.answer, one.score) == (other.answer, other.score)
    (tmp_path / "small" / "model.safetensors.index.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"index\.json"):
        LatteVQA.from_pretrained(tmp_path / "small")
