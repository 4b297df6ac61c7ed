"""A vision encoder with `max_patches` reads large images smaller, and says so."""

from dataclasses import replace

import pytest
import torch
from networks import TINY

from vqa import tokenizer as tokenizers
from vqa.config import Vision
from vqa.model import build
from vqa.opening import source_of
from vqa.predictor import Predictor
from vqa.work import work_of

VIT = {"embed_dim": 32, "depth": 1, "num_heads": 2, "patch_size": 16, "init_values": 1.0}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    network = replace(TINY, vision=Vision(vit_args=VIT, tile=64, max_patches=40))
    tokenizer = tokenizers.train(["what?"], 300)
    return Predictor(build(network, tokenizer), tokenizer)


@pytest.mark.parametrize(
    ("height", "width"), [(96, 96), (97, 111), (500, 700), (3000, 64), (16, 4000), (1, 1)]
)
def test_no_more_patches_than_that_and_the_count_is_right(
    predictor: Predictor, height: int, width: int
) -> None:
    vision = predictor.model.vision
    read = vision.read_size(height, width)
    image = vision([torch.zeros(3, height, width, dtype=torch.uint8)])
    own = image.grids[0][0]
    assert own.size <= 40 and int(image.mask.sum()) == vision.count(height, width)
    assert work_of(predictor.model, height, width, 0).tokens == vision.count(height, width)
    if -(-height // 16) * -(-width // 16) <= 40:
        assert read == (height, width)
    else:
        assert own.size >= 16  # not far less than may be
    places = (image.places[0, : own.size] + 0.5) * image.pitch[0]
    assert float(places.min()) > 0 and float(places.max()) < 1 + 0.5 * float(image.pitch.max())


def test_an_answer_tells_at_which_scale_patches_were_read(predictor: Predictor) -> None:
    shapes = [(3, 60, 80), (3, 600, 800)]
    small, large = (source_of(predictor.model, shape, shape) for shape in shapes)
    assert small.patch_scale == 1.0
    assert 0.1 < large.patch_scale < 0.2 and large.scale == 1.0
    image = torch.zeros(600, 800, 3, dtype=torch.uint8).numpy()
    answer = predictor.ask(image, "what?", top_k=1)
    assert answer.patch_scale == large.patch_scale
    assert answer.read_at.startswith("at full size, what is no print at 1")
