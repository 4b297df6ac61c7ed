"""Encoded images kept for the next question: the latest in memory, all of them in a folder."""

from collections import OrderedDict
from pathlib import Path
from threading import Lock

from vqa.encoded import Encoded
from vqa.model import LatteVQA


class Encodings:
    """At most `capacity` bytes in memory, the least recently used going first.

    In `folder`, if given, every encoding is kept as a file besides, until somebody deletes it.
    """

    def __init__(self, capacity: int, folder: str | Path | None = None) -> None:
        self.capacity, self.held = capacity, 0
        self.folder = None if folder is None else Path(folder)
        self._kept: OrderedDict[str, Encoded] = OrderedDict()
        self._lock = Lock()

    def takes(self, nbytes: int) -> bool:
        """Whether an encoding of that size would be kept at all."""
        return self.folder is not None or nbytes <= self.capacity

    def get(self, key: str, model: LatteVQA, weights: str) -> Encoded | None:
        """The encoding of that key, or nothing; a file that is broken counts as nothing."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if self.folder is None:
            return None
        try:
            found = Encoded.load(self._path(key), model, weights)
        except ValueError:
            return None
        self._keep(key, found)
        return found

    def put(self, key: str, encoded: Encoded) -> None:
        self._keep(key, encoded)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            encoded.save(self._path(key))

    def _keep(self, key: str, encoded: Encoded) -> None:
        if encoded.nbytes > self.capacity:
            return
        with self._lock:
            self._drop(key)
            self._kept[key] = encoded
            self.held += encoded.nbytes
            while self.held > self.capacity:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        old = self._kept.pop(key, None)
        self.held -= 0 if old is None else old.nbytes

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{key}.safetensors"
