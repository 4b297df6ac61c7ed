"""Every page of a jsonl data set read by RapidOCR, kept in a file for benchmarks/ocr_baseline.py.

    pip install rapidocr onnxruntime
    python benchmarks/ocr_read.py --root ROOT --split test --out runs/ocr/test.jsonl

ROOT is a jsonl folder. A page that is in the file already is not read again.
"""

import json
import resource
import time
from pathlib import Path
from typing import Annotated

import typer
from typer import Option


def pages(root: Path, split: str) -> list[str]:
    """The images of a split, each once, relative to `root`."""
    with (root / f"{split}.jsonl").open(encoding="utf-8") as lines:
        return list(dict.fromkeys(json.loads(line)["image"] for line in lines))


def main(
    root: Annotated[Path, Option(help="A jsonl folder.")],
    out: Annotated[Path, Option(help="The file to add pages to.")],
    split: str = "test",
    every: Annotated[int, Option(help="Only every so manieth page.")] = 1,
    threads: int = 2,
) -> None:
    """Write one line a page: image, seconds, peak MiB of the process, and its texts with boxes."""
    from rapidocr import RapidOCR  # type: ignore[import-not-found]

    engine = RapidOCR(
        params={
            "Global.log_level": "error",
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
        }
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    done = set()
    if out.exists():
        done = {json.loads(line)["image"] for line in out.read_text(encoding="utf-8").splitlines()}
    for image in pages(root, split)[::every]:
        if image in done:
            continue
        start = time.perf_counter()
        found = engine(str(root / image))
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        texts = found.txts or ()
        boxes = found.boxes.tolist() if texts else []
        row = {"image": image, "seconds": seconds, "peak_mib": peak}
        row["texts"] = [[text, box] for text, box in zip(texts, boxes, strict=True)]
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    typer.run(main)
