"""DocVQA: [{"questionId": int, "answer": str}] (Robust Reading Competition, Document VQA)."""

from vqa.submissions._rows import Rows


class Submission(Rows):
    """The results file of DocVQA, task 1."""

    id_key = "questionId"
