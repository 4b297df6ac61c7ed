"""Image files decoded to their end, on several processes: which cannot be, and why."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from tqdm import tqdm

from vqa import images
from vqa.images import ImageError
from vqa.images.picture import BLOCK

FEW = 64  # starting processes takes longer than decoding so many small images


@dataclass(frozen=True)
class Check:
    """What became of one image file."""

    path: str
    size: tuple[int, int] | None
    """Width and height in pixels by the header; None where that cannot be read."""
    reason: str | None = None
    """Why it cannot be decoded to the end; None: it can."""


def check_image(path: str) -> Check:
    """Decode one file, a band of rows at a time."""
    size = None
    try:
        with images.open(path) as picture:
            _, height, width = picture.shape
            size = (width, height)
            for top in range(0, height, BLOCK):
                picture[:, top : top + BLOCK]
    except ImageError as error:
        return Check(path, size, str(error))
    return Check(path, size)


def check_images(
    paths: Sequence[str],
    processes: int | None = None,
    check: Callable[[str], Check] = check_image,
) -> list[Check]:
    """Decode every file, one result a path, in order; `processes` is one a core if not given.

    A file on which the decoder itself crashes, or runs out of memory, is told from the others.
    """
    if processes is None:
        processes = 1 if len(paths) <= FEW else os.cpu_count() or 1
    with tqdm(total=len(paths), unit="image", desc="check", delay=1) as bar:
        if processes <= 1:
            return list(_counted(map(check, paths), bar))
        return _Processes(check, bar).run(paths, processes)


def _counted(checks: Iterator[Check], bar: tqdm) -> Iterator[Check]:
    for check in checks:
        bar.update()
        yield check


class _Processes:
    """Checks on several processes, some of which may die."""

    def __init__(self, check: Callable[[str], Check], bar: tqdm) -> None:
        self._check = check
        self._bar = bar

    def run(self, paths: Sequence[str], processes: int) -> list[Check]:
        found: dict[str, Check] = {}
        left = list(dict.fromkeys(paths))
        while left:
            found |= self._finished(left, processes)
            left = [path for path in left if path not in found]
            # A process died and took others' work along: those it may have died of go alone.
            suspects = left[: 2 * processes + 1]
            for path in suspects:
                reason = f"{path} made the process that decoded it crash; get a new copy"
                alone = self._finished([path], 1)
                found[path] = alone.get(path) or Check(path, None, reason)
            left = left[len(suspects) :]
        return [found[path] for path in paths]

    def _finished(self, paths: Sequence[str], processes: int) -> dict[str, Check]:
        """The checks that were finished: all of them, unless a process died."""
        found: dict[str, Check] = {}
        with ProcessPoolExecutor(processes, _context()) as pool:
            futures: list[Future[Check]] = []
            with contextlib.suppress(BrokenProcessPool):  # it may die before all are handed over
                for path in paths:
                    futures.append(pool.submit(self._check, path))
            for future in futures:
                with contextlib.suppress(BrokenProcessPool):
                    check = future.result()
                    found[check.path] = check
                    self._bar.update()
        return found


def _context() -> multiprocessing.context.BaseContext:
    """Processes forked from one that has imported what they need, and holds no threads or locks."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context
