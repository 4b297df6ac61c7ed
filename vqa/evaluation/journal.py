"""The answers of an evaluation on their way: appended batch by batch, never lost, never doubled.

OUT/run.json           what was asked of what: a run goes on only where this is the same
OUT/parts/RANK.jsonl   the answers of one process so far, on disk after every batch
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

FINAL = "predictions.jsonl"


class Journal:
    """The answers in folder `out`; this process appends to the part of its `rank`."""

    def __init__(self, out: Path, rank: int = 0) -> None:
        self.out = out
        self.parts = out / "parts"
        self.part = self.parts / f"{rank}.jsonl"

    def begin(self, identity: Mapping[str, Any], overwrite: bool = False) -> None:
        """Makes the folder ready for the run `identity`; of several processes one does.

        Raises ValueError where it holds another run, unless that is to be overwritten.
        """
        record = self.out / "run.json"
        if overwrite:
            self._clear()
        if record.is_file():
            _check(self.out, json.loads(record.read_text(encoding="utf-8")), identity)
        elif (self.out / FINAL).exists():
            raise ValueError(
                f"{self.out} holds answers of an unknown run; give another --out, or --overwrite"
            )
        self.parts.mkdir(parents=True, exist_ok=True)
        write(record, json.dumps(identity, ensure_ascii=False, indent=1) + "\n")

    def rows(self) -> dict[int | str, Row]:
        """All answers on disk, by question_id; a line that was cut off is none."""
        files = sorted(self.parts.glob("*.jsonl")) or [self.out / FINAL]
        return {row["question_id"]: row for file in files for row in _complete(file)}

    def open(self) -> None:
        """Drops the torn line that a kill may have left at the end of this process's part."""
        if not self.part.exists():
            return
        with self.part.open("r+b") as part:
            content = part.read()
            part.truncate(content.rfind(b"\n") + 1)

    def append(self, rows: Sequence[Row]) -> None:
        """Returns when the rows are on the disk."""
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        with self.part.open("ab") as part:
            part.write(lines.encode())
            part.flush()
            os.fsync(part.fileno())

    def close(self, rows: Sequence[Row]) -> None:
        """Writes `rows`, all of them in their final order, in place of the parts."""
        write(self.out / FINAL, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
        shutil.rmtree(self.parts)

    def _clear(self) -> None:
        shutil.rmtree(self.parts, ignore_errors=True)
        for name in (FINAL, "run.json", "results.json", "scores.json", "cost.json", "report.html"):
            (self.out / name).unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """The whole file or none of it, whenever the process is killed."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _complete(file: Path) -> Iterator[Row]:
    """The rows of the lines that were written to their end."""
    if not file.exists():
        return
    with file.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _check(out: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    now = json.loads(json.dumps(now))
    changed = [
        f"{name} was {_brief(before.get(name))}, is {_brief(now.get(name))}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise ValueError(
            f"{out} holds another run ({'; '.join(changed)}); give another --out, or --overwrite "
            "to start again"
        )


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
