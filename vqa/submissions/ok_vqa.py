"""OK-VQA: the results file of VQA v2, for the official evaluation on val (its test set)."""

from vqa.submissions._rows import Rows


class Submission(Rows):
    """The results file of OK-VQA."""
