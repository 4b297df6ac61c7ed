"""VQA v2: [{"question_id": int, "answer": str}] (the results format of visualqa.org; EvalAI).

The official loader stops unless the ids are exactly those of the split. A file for test-dev holds
all of test2015: the server picks the questions of test-dev out of it.
"""

from vqa.submissions._rows import Rows


class Submission(Rows):
    """The results file of VQA v2."""

    whole = {"test-dev": "test", "test-dev2015": "test2015"}
