"""Training on features of images: bit for bit as without, decoding none, and never stale."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from networks import ROPE, make, noise
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from vqa import datasets, images
from vqa.config import LatteVQAConfig, Network, Vision
from vqa.datamodule import VQAData
from vqa.datasets import Example
from vqa.features import Features, Missing, of_vision
from vqa.model import LatteVQA
from vqa.module import VQAModule
from vqa.questions import Questions, collator, token_counts

VISION: dict[str, Any] = {"vit_args": ROPE, "tile": 32, "conv_stem": False}
SIZES: dict[str, Any] = {"dim": 16, "heads": 2, "latents": 8}
SIZES |= {"encoder_depth": 1, "decoder_depth": 1}


def test_the_encoder_is_told_by_weights_and_words() -> None:
    def of(seed: int = 0, precision: str = "32-true", **words: Any) -> str:
        torch.manual_seed(seed)
        network = Network(vision=Vision(**{**VISION, **words}), **SIZES)
        model = LatteVQA(LatteVQAConfig(network, vocab_size=12))
        return of_vision(network, model.vision.trunk, precision)

    assert of() == of()
    others = [of(1), of(precision="bf16-mixed"), of(tile=64), of(overview=False)]
    others += [of(vit_args={**ROPE, "num_heads": 2})]
    assert len({of(), *others}) == 6


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 12 + 4 images, each another, with two questions each."""
    root = tmp_path_factory.mktemp("pictures")
    for split, heights in (("train", range(20, 80, 5)), ("val", range(21, 80, 15))):
        lines = []
        for height in heights:
            name = f"{split}{height}.png"
            Image.fromarray(noise(height, 50).permute(1, 2, 0).numpy()).save(root / name)
            row = {"image": name, "split": split}
            for question, answer in (("how high?", str(height)), ("how wide?", "50")):
                row |= {"question": question, "answers": [answer]}
                lines.append(json.dumps(row | {"question_id": f"{name} {question}"}) + "\n")
        (root / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return root


@pytest.fixture
def data(pictures: Path, tmp_path: Path) -> Path:
    """A copy of the data set, to change."""
    return Path(shutil.copytree(pictures, tmp_path / "data"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images decoded, as they are."""
    names: list[str] = []
    read = images.open

    def watched(source: Any, *words: Any, **more: Any) -> Any:
        names.append(Path(source).name)
        return read(source, *words, **more)

    monkeypatch.setattr(images, "open", watched)
    return names


def fit(
    root: Path,
    features: Path | None = None,
    frozen: bool = True,
    question: Any = "encoder",
    vit_weights: Path | None = None,
    watch: Callable[[VQAModule], None] | None = None,
    epochs: int = 2,
    words: dict[str, Any] | None = None,
    **vision: Any,
) -> dict[str, Tensor]:
    """Weights after training, validation included."""
    seed_everything(0, verbose=False)
    network = Network(vision=Vision(**{**VISION, **vision}), question=question, **SIZES)
    module = VQAModule(
        network,
        warmup_steps=2,
        max_answer_tokens=3,
        freeze_vision=frozen,
        vit_weights=None if vit_weights is None else str(vit_weights),
    )
    if watch is not None:
        module.on_train_epoch_start = lambda: watch(module)  # type: ignore[method-assign]
    kept = None if features is None else str(features)
    more: dict[str, Any] = {"batch_size": 6, "vocabulary": 300, "eval_batch_size": 16}
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, VQAData("jsonl", str(root), features=kept, **{**more, **(words or {})}))
    assert module.model is not None
    return dict(module.model.state_dict())


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("question", ("encoder", "decoder"))
def test_features_change_no_bit_and_no_image_is_decoded_twice(
    question: str, pictures: Path, tmp_path: Path, decoded: list[str]
) -> None:
    kept = tmp_path / "features"
    without = fit(pictures, question=question)
    decoded.clear()
    assert equal(fit(pictures, kept, question=question), without)
    assert len(set(decoded)) == len(list(kept.rglob("*.safetensors"))) == 12 + 4
    # Twice only where both questions of an image are in its first batch, or the one read ahead.
    assert len(decoded) < 2 * (12 + 4)
    decoded.clear()
    assert equal(fit(pictures, kept, question=question), without)
    assert decoded == []
    shutil.rmtree(next(kept.iterdir()))  # some are missing: both ways in one batch
    assert equal(fit(pictures, kept, question=question), without)
    assert decoded


def test_only_the_rest_learns(pictures: Path) -> None:
    start = fit(pictures, epochs=0)
    frozen, learned = fit(pictures), fit(pictures, frozen=False)
    for name in start:
        still = torch.equal(start[name], frozen[name])
        assert still == name.startswith("vision.vit."), name
    assert not torch.equal(learned["vision.project.weight"], start["vision.project.weight"])
    assert frozen.keys() == learned.keys()


def test_the_image_encoder_stays_in_eval_mode_and_out_of_the_optimiser(pictures: Path) -> None:
    seen = []

    def watch(module: VQAModule) -> None:
        module.train()  # as any callback may
        assert module.model is not None and module.model.training
        (optimizer,) = module.trainer.optimizers
        learning = {id(w) for group in optimizer.param_groups for w in group["params"]}
        frozen = {id(weight) for weight in module.model.vision.trunk.parameters()}
        every = {id(weight) for weight in module.parameters()}
        assert learning == every - frozen and frozen
        seen.append(any(part.training for part in module.model.vision.vit.modules()))

    fit(pictures, watch=watch)
    assert seen == [False, False]


def test_another_tile_size_is_another_image_encoder(pictures: Path, tmp_path: Path) -> None:
    kept = tmp_path / "features"
    fit(pictures, kept, epochs=1)
    count = len(list(kept.rglob("*.safetensors")))
    second = fit(pictures, kept, tile=48)
    assert len(list(kept.rglob("*.safetensors"))) == 2 * count
    assert equal(second, fit(pictures, tile=48))


def test_other_vit_weights_are_another_image_encoder(pictures: Path, tmp_path: Path) -> None:
    kept, files, results = tmp_path / "features", [], []
    for seed in (1, 2):
        vit = make(seed=seed).vision.vit
        files.append(tmp_path / f"{seed}.safetensors")
        save_file(vit.state_dict(), files[-1])
        results.append(fit(pictures, kept, vit_weights=files[-1]))
        assert equal(results[-1], fit(pictures, vit_weights=files[-1]))
        name = next(name for name in vit.state_dict() if name.endswith("qkv.weight"))
        assert torch.equal(results[-1][f"vision.vit.{name}"], vit.state_dict()[name])
    assert not equal(*results)


def test_a_changed_image_is_encoded_again_and_no_other(
    data: Path, tmp_path: Path, decoded: list[str]
) -> None:
    kept = tmp_path / "features"
    fit(data, kept, epochs=1)
    path = data / "train40.png"
    Image.fromarray(noise(70, 100).permute(1, 2, 0).numpy()).save(path)
    decoded.clear()
    after = fit(data, kept)
    assert set(decoded) == {"train40.png"}
    assert equal(after, fit(data))


def test_an_image_changed_between_epochs(data: Path, tmp_path: Path, decoded: list[str]) -> None:
    """The second epoch trains on the new image, with features as without them."""
    old = (data / "train40.png").read_bytes()

    def change(module: VQAModule) -> None:
        if module.current_epoch == 1:
            decoded.clear()
            Image.fromarray(noise(99, 33).permute(1, 2, 0).numpy()).save(data / "train40.png")

    without = fit(data, watch=change, words={"cache_mb": 0})
    (data / "train40.png").write_bytes(old)
    assert equal(fit(data, tmp_path / "features", watch=change), without)
    assert set(decoded) == {"train40.png"}


def test_shrunk_images_have_features_of_their_own(pictures: Path, tmp_path: Path) -> None:
    kept = tmp_path / "features"
    fit(pictures, kept)
    small = {"sizes": [16, 60], "eval_size": 16}
    assert equal(fit(pictures, kept, words=small), fit(pictures, words=small))


def test_questions_that_stand_together_share_an_image(
    pictures: Path, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, read, get = tmp_path / "features", [], Features.get
    monkeypatch.setattr(Features, "get", lambda *at: read.append(at) or get(*at))
    words = {"questions_per_image": 2}
    without = fit(pictures, words=words)
    decoded.clear()
    assert equal(fit(pictures, kept, words=words), without)
    assert len(decoded) <= (12 + 4) + 4  # validation looks at two batches before training starts
    read.clear()
    assert equal(fit(pictures, kept, words=words), without)
    assert len(read) == 2 * 12 + 3 * 4


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = Features(tmp_path / "features", "weights")
    split = datasets.create("jsonl", str(data), "train")
    questions = Questions(split, features=features)
    read = images.open

    def changing(source: Any, *words: Any, **more: Any) -> Any:
        picture = read(source, *words, **more)
        Image.new("RGB", (50, 40)).save(source)
        return picture

    found = questions[0, None][1]
    assert isinstance(found, Missing) and found.key == features.key(split[0].image)
    monkeypatch.setattr(images, "open", changing)
    found = questions[2, None][1]
    assert isinstance(found, Missing) and found.key is None


def test_workers_read_the_folder(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, words = tmp_path / "features", {"num_workers": 1}
    first = fit(pictures, kept)
    assert len(list(kept.rglob("*.safetensors"))) == 12 + 4

    def refuse(*_: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(images, "open", refuse)  # in the workers, too: they are forked
    assert equal(fit(pictures, kept, words=words), first)


class Drawn:
    """A data set that draws its pictures."""

    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Example:
        return Example(index, f"picture {index // 2}", "how high?", (str(index),))

    def render(self, index: int, size: int | None = None) -> tuple[Example, Tensor]:
        return self[index], noise(20 + index // 2, 30)

    def score(self, prediction: str, answers: tuple[str, ...]) -> float:
        return float(prediction in answers)


def test_drawn_pictures_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "create", lambda **_: Drawn())
    kept = tmp_path / "features"
    assert equal(fit(tmp_path, kept), fit(tmp_path))
    assert list(kept.iterdir()) == []


def test_batches_of_both_kinds(pictures: Path, tmp_path: Path) -> None:
    """Numbers, keys and counts of tokens, where of four images two are known."""
    features, vision = Features(tmp_path, "weights"), make().vision
    split = datasets.create("jsonl", str(pictures), "train")
    plain, kept = Questions(split), Questions(split, features=features)
    at = [(index, None) for index in (2, 0, 6, 3, 4)]
    for index in (0, 6):
        with torch.no_grad():
            features.put(features.key(split[index].image), vision([plain[index, None][1]]))
    join = collator(VQAData("jsonl", str(pictures), vocabulary=300).tokenizer)
    batch, expected = join([kept[place] for place in at]), join([plain[place] for place in at])
    assert batch.image_index.tolist() == [0, 2, 3, 0, 1]
    assert batch.keys == [features.key(split[index].image) for index in (2, 4)]
    assert all(map(torch.equal, batch.images, [expected.images[0], expected.images[3]]))
    assert batch.stored is not None and len(batch.stored.grids) == 2
    assert token_counts(batch, vision.count) == token_counts(expected, vision.count)
    assert expected.stored is None and list(expected.keys) == []
    moved = batch.to("meta").stored
    assert moved is not None and {moved.tokens.device.type, moved.mask.device.type} == {"meta"}


def test_weights_that_change_under_features_stop_the_training(
    pictures: Path, tmp_path: Path
) -> None:
    def change(module: VQAModule) -> None:
        assert module.model is not None
        if module.current_epoch == 1:
            with torch.no_grad():
                next(module.model.vision.trunk.parameters()).add_(1)

    with pytest.raises(ValueError, match="changed under the features in .*features;"):
        fit(pictures, tmp_path / "features", watch=change)
    fit(pictures, watch=change)  # without features nothing can be stale
