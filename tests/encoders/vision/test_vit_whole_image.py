"""The encoder `vit` with latent attention: whole images, without tiles and overview."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import TINY, VIT
from safetensors.torch import save_file
from torch import Tensor, nn

from encoders import tiling
from encoders.vision.convert_vit import latent_names
from encoders.vision.vit import Encoder
from vqa import memory
from vqa import tokenizer as tokenizers
from vqa.batch import collate
from vqa.config import Network, Vision
from vqa.datasets import Example
from vqa.model import LatteVQA, build
from vqa.module import VQAModule
from vqa.work import work_of

PATCH, DIM = 16, 16
SMALL: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 2}
VITS: dict[str, dict[str, Any]] = {
    "rotary": {"vit": "vit_small_patch16_rope_224", "vit_args": {**SMALL, "init_values": 1.0}},
    "absolute": {"vit": "vit_tiny_patch16_224", "vit_args": {**SMALL, "img_size": 96}},
}
SIZES = ((64, 64), (100, 300), (1, 5), (100, 300), (30, 64), (300, 70))
close = torch.testing.assert_close


def make(kind: str = "rotary", **words: Any) -> Encoder:
    """An encoder whose every weight matters: timm's own initial weights are next to nothing."""
    torch.manual_seed(0)
    words = {"attention": "latte", "attention_args": {"radius": 2}, **VITS[kind], **words}
    encoder = Encoder(DIM, **words)
    for name, weight in encoder.named_parameters():
        if weight.dim() > 1 and "latent" not in name:
            nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    return encoder.eval()


def open_gates(encoder: Encoder) -> Encoder:
    """Latents count as much as the window, as after training."""
    for block in encoder.vit.blocks:
        nn.init.zeros_(block.attn.latent_gate.bias)
    return encoder


def noise(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * 10_000 + width)
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=generator)


@torch.no_grad()
@pytest.mark.parametrize("room", (0, 3))
@pytest.mark.parametrize("kind", VITS)
def test_encoder_mixed_size_batch_equals_single_images(kind: str, room: int) -> None:
    encoder = open_gates(make(kind))
    images = [noise(*size) for size in SIZES]
    out = encoder(images, room=room)
    assert out.tokens.shape[1] == max(encoder.count(*size) for size in SIZES) + room
    for row, (image, size) in enumerate(zip(images, SIZES, strict=True)):
        single, count = encoder([image]), encoder.count(*size)
        assert out.grids[row] == single.grids[0] == (tiling.grid_of(*size, PATCH),)
        assert out.mask[row].sum() == count == single.tokens.shape[1]
        close(out.tokens[row, :count], single.tokens[0], rtol=0, atol=1e-5)
        close(out.places[row, :count], tiling.positions(out.grids[row][0]), rtol=0, atol=0)
        assert not out.tokens[row, count:].any()


@torch.no_grad()
@pytest.mark.parametrize("kind", VITS)
def test_encoder_equals_the_softmax_vit_on_whole_images_up_to_the_window(kind: str) -> None:
    encoder = make(kind, attention_args={"radius": 5})
    softmax = make(kind, attention="softmax", attention_args=None, tile=96)
    own = encoder.state_dict()
    encoder.load_state_dict(own | softmax.state_dict())
    image = noise(96, 96)
    close(encoder([image]).tokens, softmax([image]).tokens, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("kind", VITS)
def test_encoder_latents_reach_every_patch(kind: str) -> None:
    encoder, image = open_gates(make(kind)), noise(160, 240)
    changed = image.clone()
    changed[:, 150, 230] ^= 255
    difference = (encoder([image]).tokens - encoder([changed]).tokens).abs().amax(-1)
    assert (difference > 0).all()


@torch.no_grad()
@pytest.mark.parametrize("kind", VITS)
def test_encoder_features_and_map_equal_forward(kind: str) -> None:
    encoder, images = make(kind), [noise(*size) for size in SIZES]
    whole, halves = encoder(images), encoder.map(encoder.features(images))
    close(halves.tokens, whole.tokens, rtol=1e-4, atol=1e-5)
    assert torch.equal(halves.mask, whole.mask)
    still = {id(weight) for weight in encoder.trunk.parameters()}
    learns = {name for name, weight in encoder.named_parameters() if id(weight) not in still}
    assert learns == {"project.weight", "project.bias", "kind"}


@pytest.mark.parametrize("kind", VITS)
def test_load_vit_keeps_the_latents_and_takes_the_rest(kind: str, tmp_path: Path) -> None:
    deeper = {**VITS[kind]["vit_args"], "depth": 12}
    donor = make(kind, attention="softmax", attention_args=None, tile=96, vit_args=deeper)
    save_file(donor.vit.state_dict(), tmp_path / "vit.safetensors")
    encoder = make(kind)
    before = {name: weight.clone() for name, weight in encoder.vit.state_dict().items()}
    encoder.load_vit(str(tmp_path / "vit.safetensors"))
    latents = latent_names(encoder.vit)
    assert len(latents) == 10
    for name, weight in encoder.vit.state_dict().items():
        assert torch.equal(
            weight, before[name] if name in latents else donor.vit.state_dict()[name]
        )


@pytest.mark.parametrize("kind", VITS)
def test_load_vit_takes_latents_where_the_file_has_some(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "vit.safetensors")
    donor = open_gates(make(kind))
    save_file(donor.vit.state_dict(), path)
    fresh = make(kind, vit_args={**VITS[kind]["vit_args"], "depth": 1})
    fresh.load_vit(path)
    for name, weight in fresh.vit.state_dict().items():
        assert torch.equal(weight, donor.vit.state_dict()[name]), name
    softmax = make(kind, attention="softmax", attention_args=None, tile=96)
    softmax.load_vit(path)
    assert torch.equal(softmax.vit.norm.weight, donor.vit.norm.weight)
    with pytest.raises(ValueError, match=r"vit\.safetensors do not fit: set attention_args"):
        make(kind, attention_args={"latents": 3}).load_vit(path)
    foreign = make(kind, vit_args={**VITS[kind]["vit_args"], "embed_dim": 48})
    with pytest.raises(ValueError, match=r"vit\.safetensors") as error:
        foreign.load_vit(path)
    assert len(str(error.value)) < 5000


def test_encoder_keeps_the_position_table_that_was_learned() -> None:
    encoder = Encoder(DIM, "vit_small_patch14_dinov2", SMALL, attention="latte")
    assert encoder.vit.pos_embed.shape == (1, 1 + 37 * 37, 32)  # of 518 px, whatever the tile
    assert encoder.count(2044, 448) == 146 * 32


@pytest.mark.parametrize(
    ("words", "message"),
    (
        ({"attention": "linear"}, "softmax or latte, not 'linear'"),
        ({"attention": "softmax", "attention_args": {"radius": 3}}, "softmax has none"),
        ({"attention": "latte", "attention_args": {"window": 3}}, "radius, not window"),
        ({"attention": "latte", "attention_args": {"radius": -3}}, "got radius -3"),
    ),
)
def test_encoder_refuses_bad_options(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Encoder(DIM, **{**VITS["rotary"], **words})


@pytest.mark.parametrize(
    ("words", "message"),
    (
        ({"attention": "linear"}, "softmax or latte, not 'linear'"),
        ({"attention_args": {"radius": 3}}, "softmax has none"),
        ({"attention": "latte", "encoder": "latte_vit"}, "not latte_vit"),
    ),
)
def test_vision_config_refuses_bad_options(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vision(**words)


# --- in the whole model

NETWORK = replace(
    TINY, vision=Vision(vit_args=VIT, attention="latte", attention_args={"radius": 2})
)
QUESTIONS, ANSWERS = ["what color?", "how many?", "where?"], ["red", "three", "left"]


def test_work_is_one_pass_over_the_whole_image() -> None:
    model = build(NETWORK, tokenizers.train((), 259))
    work = work_of(model, 100, 3000, question_tokens=5)
    patches = tiling.grid_of(100, 3000, PATCH).size
    assert (work.tiles, work.slots, work.tokens) == (1, patches, patches + 5)
    assert not work.overview and work.batch_pixels == patches * PATCH**2


def test_peak_memory_is_linear_in_the_patches() -> None:
    model = build(NETWORK, tokenizers.train((), 259))
    peaks = [
        memory.phases(model, work_of(model, side, 2048, 5), memory.Source(side, 2048, 0))["tiles"]
        for side in (2048, 4096)
    ]
    assert 1.8 < peaks[1] / peaks[0] < 2.2


def test_model_with_latent_vision_trains_and_answers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = tokenizers.train((), 259)
    module = VQAModule(NETWORK, lr=0.01, warmup_steps=1)
    model = module.model = module.forward_loss = build(NETWORK, tokenizer)
    images = [noise(*size) for size in SIZES[1:4]]
    examples = [
        Example(number, str(number), question, ("a",)) for number, question in enumerate(QUESTIONS)
    ]
    batch = collate(images, [0, 1, 2], QUESTIONS, tokenizer, ANSWERS, examples)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    losses = []
    for _ in range(5):
        loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    moved = model.vision.vit.blocks[0].attn.latent_key.weight.grad
    assert moved is not None and moved.isfinite().all() and moved.any()
    model.eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = LatteVQA.from_pretrained(tmp_path)
    assert Network.of(again.config.network) == NETWORK
    with torch.no_grad():
        written = [
            each.generate(each.read(images, batch.question, batch.question_mask))
            for each in (model, again)
        ]
    assert torch.equal(*written) and len(written[0]) == 3
