"""ST-VQA: [{"question_id": int, "answer": str}] (Robust Reading Competition, Scene Text VQA).

RECON: the competition's own description of the file was not at hand. Keys follow what public
evaluation tools upload for task 3; the set of ids is taken to be that of the test file.
"""

from vqa.submissions._rows import Rows


class Submission(Rows):
    """The results file of ST-VQA, task 3."""
