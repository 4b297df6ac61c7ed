"""Data for training: which questions, in which order, how they become batches."""

import math
import warnings
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import LightningDataModule

from vqa import datasets, sampler
from vqa import tokenizer as tokenizers
from vqa.data.tags import TagFile
from vqa.data.transcripts import TranscriptStore, bundled_ocr
from vqa.datasets import DataError
from vqa.draws import Draws
from vqa.features import Features
from vqa.loader import Loader, ResumableLoader
from vqa.questions import Questions, Sizes, collator


class VQAData(LightningDataModule):
    """Questions about images, from one of the data sets that `vqa` can read.

    Batches bring images of similar size together, so that little of them is padding; the headers
    of image files are read for it once, 10 s for 100,000 files on a local disk. The order depends
    on the seed and the epoch only: a killed training goes on with the batch it would have had next,
    and several devices share out the batches that one would see.

    Args:
        dataset: name of the data set: easy_vqa, jsonl.
        root: its folder; easy_vqa needs none, it comes with its package.
        batch_size: questions in a training batch, at most (on each device).
        eval_batch_size: questions in a batch of validation, test and prediction, at most.
        pixels_per_batch: image pixels in any batch, at most, each image counted as the largest of
            its bucket; larger images then come in smaller batches, and the largest alone, in
            bounded memory.
        sizes: a curriculum for training: each batch draws its image size in pixels from these,
            smallest first, of which one more unlocks at equal parts of the first half of training,
            e.g. [512, 1024, 2048, 4096]. Images are drawn at that size where the data set draws
            them, and files shrunk to that longest side (never enlarged). None: images as they are.
        eval_size: the same for validation, test and prediction. None: files as they are; images
            that are drawn at the largest of sizes, or the data set's own.
        questions_per_image: this many questions about the same image stand together in
            training, which reads each image once for all of them.
        blind: show the grey square of `vqa evaluate --baseline question-only` in place of every
            image, in training and after: how far the questions alone lead. The batches are those
            of the same training with images.
        flip: mirror training images left to right half of the time; only where no question is
            about sides.
        reword: ask training questions of a known kind in another wording each epoch
            (vqa/data/wordings); validation and test ask as the data set does.
        num_workers: processes that read images; 0 reads them in the training process.
        cache_mb: megabytes of decoded images kept in memory.
        features: folder to keep the tokens of image files in, with model.freeze_vision: made in
            the first epoch, read in all later ones and by later trainings, without decoding an
            image. Other weights, tile or size, or a changed image file, make new ones; old files
            stay until you delete the folder. Drawn pictures are not kept.
        transcripts: folder to keep the text of image files in, as the OCR reads it, for a network
            with model.network.transcript: made in the first epoch, 3 s a page.
        tags: file of tags that `vqa fit-tagger` wrote, which stand in the text of photos.
        vocabulary: most tokens of the tokenizer trained on the questions and answers.
        lowercase: that tokenizer reads and writes small letters only, for few questions and a
            metric that does not tell "Yes" from "yes".
        tokenizer: folder of a Hugging Face tokenizer to use instead.
        predict_split: the split that `vqa predict` answers.
        skip_bad: leave bad rows out, and count them, where the default is to stop at the first.
        seed: seed of the order of training.
        dataset_args: further options of the data set, by name.
    """

    def __init__(
        self,
        dataset: str = "easy_vqa",
        root: str | None = None,
        batch_size: int = 128,
        eval_batch_size: int = 256,
        pixels_per_batch: int | None = None,
        sizes: list[int] | None = None,
        eval_size: int | None = None,
        questions_per_image: int = 1,
        blind: bool = False,
        flip: bool = False,
        reword: bool = False,
        num_workers: int = 0,
        cache_mb: int = 512,
        features: str | None = None,
        transcripts: str | None = None,
        tags: str | None = None,
        vocabulary: int = 1024,
        lowercase: bool = False,
        tokenizer: str | None = None,
        predict_split: str = "test",
        skip_bad: bool = False,
        seed: int = 0,
        dataset_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        _check(
            sizes,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            pixels_per_batch=pixels_per_batch,
            eval_size=eval_size,
            questions_per_image=questions_per_image,
        )
        self.source = {"name": dataset, "root": root, "skip_bad": skip_bad, **(dataset_args or {})}
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.pixels_per_batch = pixels_per_batch
        self.sizes: list[int | None] = list(sizes) if sizes else [None]
        self.eval_size = eval_size
        self.questions_per_image = questions_per_image
        self.blind = blind
        self.flip = flip
        self.reword = reword
        self.num_workers = num_workers
        self.cache_mb = cache_mb
        if features and flip:
            raise DataError(
                f"features are kept of images as they are, in {features}, and flip mirrors them: "
                "give one of data.features and data.flip"
            )
        self.features = Features(features) if features else None
        self.transcripts: TranscriptStore | None = None
        if transcripts:
            told = TagFile(tags) if tags else None
            self.transcripts = TranscriptStore(transcripts, bundled_ocr(), told)
        self.predict_split = predict_split
        self.seed = seed
        self.resume = {"taken": 0}
        self.train_loader: ResumableLoader | None = None
        self.open: dict[str, datasets.Dataset] = {}
        self.tokenizer = (
            tokenizers.load(tokenizer)
            if tokenizer
            else tokenizers.train(self._texts(), vocabulary, lowercase)
        )

    def questions(self, split: str) -> datasets.Dataset:
        """The examples of `split`, read once."""
        if split not in self.open:
            self.open[split] = datasets.create(**self.source, split=split)
        return self.open[split]

    def score(self, prediction: str, answers: tuple[str, ...]) -> float:
        """The data set's own metric."""
        return next(iter(self.open.values())).score(prediction, answers)

    def setup(self, stage: str) -> None:
        """Raises DataError for features of an image encoder that learns."""
        module = self.trainer.lightning_module if self.trainer else None
        if self.features is not None and not getattr(module, "freeze_vision", False):
            raise DataError(
                f"features in {self.features.folder} are of an image encoder that no longer "
                "learns: set model.freeze_vision to true, or leave data.features out"
            )

    def train_dataloader(self) -> ResumableLoader:
        data = self.questions("train")
        read = Sizes(data)
        plans = {
            size: sampler.Plan(
                read.images,
                self._pixels(read, size),
                self.batch_size,
                self.pixels_per_batch,
                self.questions_per_image,
            )
            for size in self.sizes
        }
        overfit = getattr(self.trainer, "overfit_batches", 0) > 0
        batches = sampler.Batches(plans, self.seed, *self._share(), reshuffle=not overfit)
        if len(plans) > 1:
            batches.epochs = self._epochs(len(batches))
        self.train_loader = ResumableLoader(
            Draws(self._shown(data), self.seed, self.flip, self.reword),
            batches,
            collator(self.tokenizer, True, self.transcripts is not None),
            self.num_workers,
        )
        self.train_loader.load_state_dict(self.resume)
        return self.train_loader

    def state_dict(self) -> dict[str, int]:
        """How much of the epoch was seen: part of each checkpoint.

        Lightning keeps a loader's state too, but forgets to restore it where the loader was made
        early, to count the optimiser's steps, as ours is for the learning rate schedule.
        """
        return self.train_loader.state_dict() if self.train_loader else self.resume

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Training goes on after the batches that were seen."""
        self.resume = state_dict

    def val_dataloader(self) -> Loader:
        return self._evaluation("val")

    def test_dataloader(self) -> Loader:
        return self._evaluation("test")

    def predict_dataloader(self) -> Loader:
        # Lightning looks for question numbers in DataLoaders only; our answers carry their own.
        warnings.filterwarnings("ignore", "Couldn't infer the batch indices")
        return self._evaluation(self.predict_split, by_size=False)

    def _evaluation(self, split: str, by_size: bool = True) -> Loader:
        """Batches of a split, small images first, or (answers are written so) as it has them."""
        data = self.questions(split)
        read = Sizes(data)
        size = self.eval_size
        if size is None and read.rendered:
            size = self.sizes[-1]
        pixels = self._pixels(read, size)
        order = sampler.by_size(read.images, pixels) if by_size else range(len(pixels))
        batches = sampler.in_order(
            order,
            read.images,
            pixels,
            self.eval_batch_size,
            self.pixels_per_batch,
            *self._share(),
        )
        trainer = self.trainer
        if self.features is not None and trainer and trainer.state.fn != "fit":
            trainer.lightning_module.name_features()  # type: ignore[operator]
        return Loader(
            self._shown(data),
            [[(index, size) for index in batch] for batch in batches],
            collator(self.tokenizer, True, self.transcripts is not None),
            self.num_workers,
        )

    def _shown(self, data: datasets.Dataset) -> Questions:
        return Questions(
            data,
            self.cache_mb,
            features=self.features,
            blinded=self.blind,
            transcripts=self.transcripts,
        )

    def _pixels(self, read: Sizes, size: int | None) -> list[int]:
        if read.rendered and size is None and self.pixels_per_batch:
            raise DataError(
                f"pixels_per_batch {self.pixels_per_batch} needs the size of images, which "
                f"{self.source['name']} does not tell; give sizes, or eval_size"
            )
        return read.pixels(size)

    def _share(self) -> tuple[int, int]:
        """Over how many processes batches are shared out, and which of them this one is."""
        words = (self.trainer and self.trainer.distributed_sampler_kwargs) or {}
        return words.get("num_replicas", 1), words.get("rank", 0)

    def _epochs(self, batches: int) -> float:
        """Epochs of the whole training, of which one process reads `batches` each."""
        trainer = self.trainer
        if trainer is None:
            return 1.0
        limit = trainer.limit_train_batches
        read = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        epochs = steps = math.inf
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            epochs = trainer.max_epochs
        if trainer.max_steps >= 0:
            steps = trainer.max_steps * trainer.accumulate_grad_batches / max(1, read)
        if min(epochs, steps) == math.inf:
            raise DataError(
                f"sizes {self.sizes} unlock over the first half of training, which has no end; "
                "set trainer.max_epochs or trainer.max_steps"
            )
        return max(min(epochs, steps), 1 / batches)

    def _texts(self) -> Iterator[str]:
        data = self.questions("train")
        for index in range(len(data)):
            example = data[index]
            yield from (example.question, *example.answers)


def _check(sizes: list[int] | None, **counts: int | None) -> None:
    """Raises DataError for sizes that are no curriculum and for counts below 1."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise DataError(f"{name} must be 1 or more, not {count}")
    if sizes is not None and (not sizes or sizes[0] < 1 or sorted(set(sizes)) != sizes):
        raise DataError(f"sizes must be pixels, smallest first, each once, not {sizes}")
