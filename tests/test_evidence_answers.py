"""Evidence as people meet it: in pixels of the image they see, drawn on it, and what goes wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import image_of, make
from PIL import Image

from encoders.tiling import Grid
from vqa import Predictor, datasets
from vqa.__main__ import main
from vqa.budget import Budget
from vqa.encoded import Source
from vqa.encodings import Encodings
from vqa.evidence import Evidence, locate
from vqa.opening import Reading
from vqa.predictor import Answer

MODEL = Path(__file__).parents[1] / "benchmarks" / "models" / "canvas"
QUESTION = "what color is the square?"


@pytest.fixture(scope="module")
def canvas() -> Predictor:
    return Predictor.from_pretrained(MODEL, device="cpu")


@pytest.fixture(scope="module")
def data() -> Any:
    return datasets.create("canvas", split="val", kinds="attribute", size=512, count=28)


def show(data: Any, index: int) -> tuple[str, np.ndarray, tuple[int, int, int, int]]:
    """A question, its picture [H, W, 3] and the box that its answer stands in."""
    example, pixels = data.render(index)
    (box,) = data.scene(index).evidence
    return example.question, pixels.permute(1, 2, 0).numpy(), box


def near(peak: tuple[int, int] | None, box: tuple[float, ...], margin: float = 32) -> bool:
    assert peak is not None
    left, top, right, bottom = box
    across, down = left - margin <= peak[0] < right + margin, top - margin <= peak[1]
    return across and down and peak[1] < bottom + margin


def test_a_trained_model_points_at_what_it_read(canvas: Predictor, data: Any) -> None:
    """Chance is 6 %."""
    pointed = []
    for index in range(len(data)):
        question, image, box = show(data, index)
        answer = canvas.ask(image, question, 1, evidence=True)
        if data.score(answer.answer, data[index].answers):
            assert answer.evidence is not None
            pointed.append(near(answer.evidence.peak, box))
    assert len(pointed) >= 16
    assert sum(pointed) >= 0.65 * len(pointed)


def test_pixels_are_those_of_the_image_as_shown(
    canvas: Predictor, data: Any, tmp_path: Path
) -> None:
    """Turned by EXIF, and twice as large but read at half its size: the same place."""
    index = 4
    question, image, box = show(data, index)
    plain = canvas.ask(image, question, 1, evidence=True).evidence
    assert plain is not None and near(plain.peak, box)

    stored = Image.fromarray(image).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[274] = 6  # to be shown turned by 90 degrees clockwise
    stored.save(tmp_path / "turned.png", exif=exif)
    turned = canvas.ask(tmp_path / "turned.png", question, 1, evidence=True).evidence
    assert turned == plain
    np.testing.assert_array_equal(turned.heat, plain.heat)

    large = Image.fromarray(image).resize((1024, 1024), Image.Resampling.NEAREST)
    words = len(canvas.tokenizer(question).input_ids)
    reading = Reading(budget=Budget(max_tokens=16 * 16 + words))
    answer = canvas.ask(large, question, 1, reading, evidence=True)
    found = answer.evidence
    assert answer.scale < 0.6 and found is not None
    assert found.heat.shape == (16, 16) and found.patch[0] == pytest.approx(32 / answer.scale)
    assert near(found.peak, tuple(2 * edge for edge in box), 64)


def test_the_answer_is_the_one_without_evidence(canvas: Predictor, data: Any) -> None:
    question, image, _ = show(data, 0)
    plain = canvas.ask(image, question).to_dict()
    shown = canvas.ask(image, question, evidence=True)
    *_, streamed = canvas.stream(image, question, evidence=True)
    assert isinstance(streamed, Answer) and streamed.evidence == shown.evidence
    words = shown.to_dict()
    told = words.pop("evidence")
    del words["seconds"], plain["seconds"]
    assert words == plain
    assert shown.evidence is not None and told == json.loads(json.dumps(told))
    assert told["share"] == pytest.approx(float(shown.evidence.heat.sum()))
    assert 0 < told["share"] < 1


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (130, 65), (63, 65)])
def test_awkward_sizes(predictor: Predictor, size: tuple[int, int]) -> None:
    """An untrained model, with an overview where there is more than one tile of 64 px."""
    found = predictor.ask(Image.new("L", size, 90), QUESTION, evidence=True).evidence
    assert found is not None
    assert found.heat.shape == (-(-size[1] // 16), -(-size[0] // 16))
    assert found.heat.dtype == np.float32 and (found.heat >= 0).all() and found.share <= 1 + 1e-5
    if found.box is not None and found.peak is not None:
        left, top, right, bottom = found.box
        assert 0 <= left <= found.peak[0] < right <= size[0]
        assert 0 <= top <= found.peak[1] < bottom <= size[1]


def test_encoded_images(predictor: Predictor, canvas: Predictor) -> None:
    """With the question in the encoder their patches are kept, else not."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8))
    whole = predictor.ask(image, QUESTION, evidence=True).evidence
    kept = predictor.ask(predictor.encode(image), QUESTION, evidence=True).evidence
    assert whole is not None and kept == whole
    with pytest.raises(ValueError, match="keeps no patches.*ask with the image itself"):
        canvas.ask(canvas.encode(image), QUESTION, evidence=True)


@pytest.mark.parametrize("way", ("encoder", "decoder"))
def test_kept_encodings_change_nothing(predictor: Predictor, way: str) -> None:
    model = make("latte", way, vocabulary=len(predictor.tokenizer))
    asked = Predictor(model, predictor.tokenizer, encodings=Encodings(2**24))
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 70, 3), dtype=np.uint8))
    plain = asked.ask(image, QUESTION)
    for _ in range(2):
        shown = asked.ask(image, QUESTION, evidence=True)
        assert (shown.answer, shown.score) == (plain.answer, plain.score)
        assert shown.evidence is not None
    assert asked.ask(image, QUESTION).score == plain.score


def place(heat: list[list[float]], size: tuple[int, int], scale: float = 1.0) -> Evidence:
    grid = Grid(len(heat), len(heat[0]))
    source = Source(*size, scale, grid.size)
    image = image_of((grid,), round(size[1] * scale), round(size[0] * scale), 10)
    return locate(torch.tensor(heat).flatten(), image, source)


def test_the_box_is_what_is_hot_around_the_peak() -> None:
    """Averaged 1 2 1 both ways, one hot patch reaches half as far as its four neighbours."""
    heat = [[0.0] * 8 for _ in range(7)]
    heat[3][2] = 1.0
    heat[3][7] = 0.9  # hot, but apart
    found = place(heat, (75, 70))  # the last column reaches over the image
    assert found.box == (10, 20, 40, 50) and found.peak == (25, 35)
    half = place(heat, (150, 140), 0.5)
    assert half.box == (20, 40, 80, 100) and half.peak == (50, 70)
    heat[3][7] = 1.5
    right = place(heat, (75, 70))
    assert right.box == (60, 20, 75, 50) and right.peak == (74, 35)
    assert place([[0.1]], (7, 3)).box == (0, 0, 7, 3)
    nothing = place([[0.0, 0.0]], (20, 10))
    assert nothing.box is None and nothing.peak is None and nothing.share == 0


def test_two_patches_that_touch_at_a_corner_are_one_region() -> None:
    heat = torch.zeros(9, 9)
    heat[2, 2], heat[3, 3], heat[7, 7] = 1.0, 0.8, 0.3
    box = place(heat.tolist(), (90, 90)).box
    assert box is not None and box[:2] <= (20, 20) and 40 <= box[2] <= 50 and 40 <= box[3] <= 50


def test_of_letters_alone_the_box_holds_all_that_were_taken() -> None:
    """They do not touch: there is paper between them."""
    places = torch.tensor([[2, 1], [2, 4], [2, 7], [8, 1], [8, 5]]).float()[None]
    letters = image_of((Grid(10, 12),), 100, 120, 10)._replace(
        tokens=torch.zeros(1, 5, 4),
        mask=torch.ones(1, 5, dtype=torch.bool),
        grids=[(Grid(1, 5),)],
        places=places,
    )
    relevance = torch.tensor([0.0, 0.3, 0.4, 0.3, 0.0])
    found = locate(relevance, letters, Source(120, 100, 1.0, 5))
    assert found.box == (0, 0, 90, 100), "and what is around them"
    assert found.peak == (75, 25)


def test_an_overview_is_spread_over_what_it_shows() -> None:
    grids = (Grid(3, 4), Grid(2, 2))
    relevance = torch.zeros(12 + 4 + 5)
    relevance[5], relevance[12], relevance[15] = 0.3, 0.3, 0.2
    relevance[16:] = 9.0  # words
    found = locate(relevance, image_of(grids, 30, 40, 10), Source(40, 30, 1.0, 16))
    # An overview's row shows one and a half of the image's rows, its column two columns.
    expected = np.array(
        [[0.1, 0.1, 0.0, 0.0], [0.05, 0.35, 0.1 / 3, 0.1 / 3], [0.0, 0.0, 0.2 / 3, 0.2 / 3]]
    )
    np.testing.assert_allclose(found.heat, expected, atol=1e-6)
    assert found.share == pytest.approx(0.8)


@pytest.mark.parametrize("ending", ("png", "jpg", "WEBP"))
def test_drawn_by_the_command(
    ending: str, data: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question, image, box = show(data, 2)
    source, out = tmp_path / "image.png", tmp_path / f"out.{ending}"
    large = Image.fromarray(image).resize((2048, 1024), Image.Resampling.NEAREST)
    large.save(source)
    tokens = ["--max-tokens", "200"]
    command = ["ask", str(source), question, "--model", str(MODEL), "--top-k", "1", *tokens]
    assert main([*command, "--evidence", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    left, top, right, bottom = told["evidence"]["box"]
    with Image.open(out) as drawn:
        assert drawn.size == (1600, 800)
        changed = np.asarray(drawn.convert("RGB")).astype(int)
    before = np.asarray(large.resize((1600, 800), Image.Resampling.BICUBIC)).astype(int)
    difference = np.abs(changed - before).sum(-1)
    scale = 1600 / 2048
    inside = difference[int(top * scale) : int(bottom * scale), int(left * scale) :]
    inside = inside[:, : int((right - left) * scale)]
    assert inside.mean() > 2 * difference.mean()
    assert main([*command, "--evidence", str(out)]) == 0
    assert f"read from pixels {left} to {right} across" in capsys.readouterr().out


def test_drawings_that_cannot_be_written(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "image.png"
    Image.new("RGB", (20, 20)).save(image)
    (tmp_path / "folder.png").mkdir()
    told = {
        "out.gif": "out.gif cannot be drawn as evidence; use a name that ends in .png, .jpg",
        "out": "use a name that ends in .png",
        "nowhere/out.png": "there is no folder",
        "folder.png": "folder.png cannot be written",
    }
    for name, sentence in told.items():
        command = ["ask", str(image), QUESTION, "--model", str(tiny)]
        assert main([*command, "--evidence", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1
