"""ST-VQA: 31,791 questions about text in 23,038 images of seven other data sets.

Source: the Scene Text VQA challenge of the Robust Reading Competition (rrc.cvc.uab.es, channel 11),
Biten et al. 2019, task 3 (open dictionary). Layout below `root`:

    {train,test}_task_3.json               {"data": [{question_id, question, answers, file_path}]}
    [train_imgs/|test_task3_imgs/]{file_path}   such as coco-text/COCO_train2014_000000000042.jpg

RECON: no official file was at hand. Keys and file names follow public readers of the data set;
where the image archives unpack to differs between them, so `file_path` is looked for below `root`,
{split}_imgs, {split}_task3_imgs, {split}, and these in Images/.

Splits: train, test; there is no official val, and test has no answers. Metric: ANLS.
"""

from collections.abc import Sequence
from typing import Any

from vqa.datasets import Example
from vqa.datasets._reading import (
    Examples,
    Place,
    Root,
    a_row,
    a_text,
    an_id,
    known_split,
    listed,
    load_object,
    texts,
)
from vqa.metrics import anls


class Dataset(Examples):
    """One split of ST-VQA, task 3. Raises DataError."""

    splits = ("train", "test")

    def __init__(self, root: str | None, split: str, skip_bad: bool = False) -> None:
        super().__init__(skip_bad)
        self.split = known_split("st_vqa", split, self.splits)
        place = Root(
            root, "st_vqa", "the Robust Reading Competition (rrc.cvc.uab.es, Scene Text VQA)"
        )
        name = f"{split}_task_3.json"
        file = place.file(name, f"Annotations/{name}", f"{split}/{name}")
        folders = (f"{split}_imgs", f"{split}_task3_imgs", split)
        self._images = place.images(".", *folders, "Images", *(f"Images/{f}" for f in folders))
        rows = listed(file, load_object(file), "data")
        self.read(file, enumerate(rows), self._example)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """ANLS, as the Robust Reading Competition computes it."""
        return anls(prediction, answers)

    def _example(self, place: Place, row: Any) -> Example:
        a_row(row, "question_id", "question", "file_path")
        question_id, question = an_id(row, "question_id"), a_text(row, "question")
        image = self._images.path(a_text(row, "file_path"))
        if self.split == "test":
            return Example(question_id, image, question, ())
        return Example(question_id, image, question, texts(a_row(row, "answers"), "answers"))
