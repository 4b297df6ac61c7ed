"""A tagger is trained on photos with known tags, and tags each of them as if it had not seen it."""

import json
from pathlib import Path

import pytest
import torch
from torchvision.transforms.functional import to_pil_image

from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens
from vqa.__main__ import main
from vqa.data.tags import TagFile
from vqa.datasets import DataError
from vqa.tagger_folder import tagger_groups, tagger_weights
from vqa.training.tagging import (
    UNKNOWN,
    Recipe,
    labels_of,
    read_tags,
    tag,
    tag_out_of_fold,
    tagging_accuracy,
    train_tagger,
)


def photo(features: torch.Tensor) -> ImageTokens:
    places = torch.cartesian_prod(torch.arange(2), torch.arange(2)).float()
    mask, pitch = torch.ones(1, 4, dtype=torch.bool), torch.full((1, 2), 0.5)
    return ImageTokens(features[None], mask, [(Grid(2, 2),)], places[None], pitch)


def test_labels_tell_what_is_known() -> None:
    tags = [
        {"kind": "scene", "sees": {"dog": True, "cat": False}},
        {"kind": "object", "thing": "ant"},
        {"kind": "scene", "sees": {"dog": False}},
    ]
    labels = labels_of(tags)
    assert not labels_of(tags, least=2).groups["sees"]
    assert labels.groups == {"kind": ("object", "scene"), "sees": ("dog",), "thing": ("ant",)}
    assert labels.several == ("sees",)
    assert labels.of["kind"].tolist() == [1, 0, 1]
    assert labels.of["thing"].tolist() == [UNKNOWN, 0, UNKNOWN]
    assert labels.of["sees"].tolist() == [[1], [UNKNOWN], [0]]


def test_learns_what_features_show_and_not_what_they_do_not() -> None:
    torch.manual_seed(0)
    names, directions = [f"{n}.png" for n in range(120)], torch.randn(2, 24)
    tags = [
        {"thing": "ab"[n % 2], "luck": "cd"[int(torch.randint(2, ()))]} for n in range(len(names))
    ]
    photos = [photo(torch.randn(4, 24) + 2 * directions[n % 2]) for n in range(len(names))]
    labels, recipe = labels_of(tags), Recipe(epochs=40, batch_size=16, lr=1e-2)
    known = tagging_accuracy(tag(train_tagger(photos, labels, recipe), photos), labels)
    unseen = tagging_accuracy(tag_out_of_fold(photos, labels, recipe, names), labels)
    assert known["thing"] > 0.95 and unseen["thing"] > 0.95
    assert known["luck"] > 0.8  # by heart
    assert unseen["luck"] < 0.68  # by chance: out of fold means unseen


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "no images"), ("{}", "line 1"), ('{"image": "a"}\n', "line 1"), ("[", "line 1")],
)
def test_files_that_are_no_tags_are_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_tags(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_tags(tmp_path / "missing.jsonl")


CONFIG = """
model:
  network:
    vision: {vit_args: {patch_size: 16, embed_dim: 32, depth: 1, num_heads: 2}, tile: 64}
    dim: 32
    heads: 2
    latents: 8
  vit_weights: WEIGHTS
"""


def test_command_writes_a_tagger_and_the_tags_of_its_photos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from vqa.config import Vision
    from vqa.model import build_vision

    vit = {"patch_size": 16, "embed_dim": 32, "depth": 1, "num_heads": 2}
    encoder = build_vision(Vision(vit_args=vit, tile=64, conv_stem=False), 32)
    from safetensors.torch import save_file

    save_file(encoder.vit.state_dict(), tmp_path / "vit.safetensors")
    config = CONFIG.replace("WEIGHTS", str(tmp_path / "vit.safetensors"))
    config = config.replace("tile: 64}", "tile: 64, conv_stem: false}")
    (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
    for split, count in (("train", 24), ("val", 4)):
        lines = []
        for n in range(count):
            pixels = torch.zeros(3, 48, 80, dtype=torch.uint8)
            pixels[n % 2] = 200 + n % 20
            to_pil_image(pixels).save(tmp_path / f"{split}{n}.png")
            tags = {"kind": "scene", "colour": ["red", "green"][n % 2]}
            if n >= 20:
                tags = {"kind": "page"}
            lines.append(json.dumps({"image": f"{split}{n}.png", "tags": tags}))
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    words = ["fit-tagger", str(tmp_path / "train.jsonl"), str(tmp_path / "tagger")]
    words += ["--config", str(tmp_path / "config.yaml"), "--features", str(tmp_path / "features")]
    words += ["--val", str(tmp_path / "val.jsonl"), "--epochs", "30", "--folds", "2"]
    words += ["--shown", '{"scene": ["colour"], "page": []}']
    assert main(words) == 0
    assert "colour 100.0" in capsys.readouterr().out
    groups = tagger_groups(tmp_path / "tagger")
    assert groups["groups"]["colour"] == ["green", "red"] and groups["several"] == []
    assert any(name.startswith("heads.") for name in tagger_weights(tmp_path / "tagger"))
    told = TagFile(tmp_path / "tagger" / "tags.jsonl")
    assert told.of(tmp_path / "val0.png").startswith("colour: red")
    assert told.of(tmp_path / "val1.png").startswith("colour: green")
    assert main(words) == 2  # the folder is there
    with pytest.raises(ValueError, match="no folder of `vqa fit-tagger`"):
        tagger_groups(tmp_path)
    with pytest.raises(ValueError, match="no folder of `vqa fit-tagger`"):
        tagger_weights(tmp_path)
