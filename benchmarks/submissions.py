"""How long does it take to write and to check a submission to VQA v2, all of test2015?

    python benchmarks/submissions.py

Makes up the official questions file in a temporary folder (447,793 questions about 81,434 images,
the images as empty files) and a run of `vqa evaluate`, then times reading the questions, reading
the run, writing the submission (with its own check) and checking the file, in one process.
"""

import itertools
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer import Option

from vqa import submissions
from vqa.evaluation import journal  # noqa: F401 - its import is not to be timed
from vqa.submissions import _run

QUESTIONS = 447_793
IMAGES = 81_434
T = TypeVar("T")
ANSWERS = ("yes", "no", "2", "white", "playing tennis", "on the left", "caf\u00e9")


def make(root: Path, count: int) -> None:
    """The official layout of test2015 and run/predictions.jsonl."""
    chance = random.Random(0)
    folder = root / "test2015"
    folder.mkdir()
    images = max(1, count * IMAGES // QUESTIONS)
    for image in range(1, images + 1):
        (folder / f"COCO_test2015_{image:012d}.jpg").touch()
    questions = [
        {"image_id": image, "question": "What is this?", "question_id": image * 1000 + number}
        for image, number in itertools.islice(
            ((1 + place % images, place // images) for place in range(count)), count
        )
    ]
    whole = {"data_subtype": "test2015", "task_type": "Open-Ended", "questions": questions}
    file = root / "v2_OpenEnded_mscoco_test2015_questions.json"
    file.write_text(json.dumps(whole), encoding="utf-8")
    with (root / "predictions.jsonl").open("w", encoding="utf-8") as lines:
        for question in questions:
            answer = chance.choice(ANSWERS)
            row = {
                "question_id": question["question_id"],
                "image": f"COCO_test2015_{question['image_id']:012d}.jpg",
                "question": question["question"],
                "answers": [],
                "answer": answer,
                "score": None,
                "probability": 0.5,
                "top_k": [{"answer": answer, "score": 0.5}],
            }
            lines.write(json.dumps(row) + "\n")


def timed(name: str, work: Callable[[], T]) -> T:
    """What `work` returns; prints its seconds of wall clock and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{name:<24}{wall:7.2f} s, {processor:6.2f} s of one core")
    return found


def main(questions: Annotated[int, Option(min=1, help="Questions.")] = QUESTIONS) -> None:
    """Print the seconds of every step."""
    form = submissions.create("vqa_v2")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        timed("make everything up", lambda: make(root, questions))
        data: Any = timed(
            "read the questions",
            lambda: submissions.open_dataset(form, "vqa_v2", folder, "test"),
        )
        rows = timed("read the run", lambda: _run.read(root / "predictions.jsonl"))
        answers = {identity: form.value(row) for identity, row in rows.items()}
        file = root / "submission.json"
        count = timed("write and check", lambda: submissions.write(form, data, answers, file))
        content = file.read_bytes()
        faults = timed("check", lambda: submissions.check(form, data, content))
        assert count == questions and not faults
        spoilt = json.loads(content)[1:]
        for row in spoilt[::2]:
            row["answer"] = 1
        content = json.dumps(spoilt).encode()
        faults = timed("check, half are faults", lambda: submissions.check(form, data, content))
        assert len(faults) == 1 + len(spoilt[::2])
        print(f"{count:,} answers, {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
