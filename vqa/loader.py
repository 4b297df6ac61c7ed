"""Batches of a sampler, read and collated, for Lightning and for `vqa evaluate`."""

from collections.abc import Callable, Iterator, Sequence

from torch.utils.data import DataLoader

from vqa.batch import Batch
from vqa.draws import Draws, InEpochs
from vqa.questions import At, Item, Questions
from vqa.sampler import Batches


class Loader:
    """`batches` of `questions`, collated, by `num_workers` processes (0: by this one).

    It holds a `DataLoader` and is none: Lightning would replace the sampler of one on several
    devices by its own, and the order, the sizes and the buckets of `vqa.sampler` would be lost.
    """

    def __init__(
        self,
        questions: Questions | Draws,
        batches: InEpochs | Sequence[list[At]],
        collate: Callable[[Sequence[Item]], Batch],
        num_workers: int = 0,
        persistent: bool = False,
    ) -> None:
        self.length = len(batches)
        self.loader: DataLoader[Item] = DataLoader(
            questions,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=num_workers,
            persistent_workers=persistent and num_workers > 0,
        )

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        yield from self.loader


class ResumableLoader(Loader):
    """A loader of training that knows its place: `taken` batches of the epoch."""

    def __init__(
        self,
        draws: Draws,
        batches: Batches,
        collate: Callable[[Sequence[Item]], Batch],
        num_workers: int = 0,
    ) -> None:
        super().__init__(draws, InEpochs(batches), collate, num_workers, persistent=True)
        self.batches = batches
        self.taken = 0

    @property
    def sampler(self) -> Batches:
        """Where Lightning looks for what wants to know the epoch."""
        return self.batches

    def __iter__(self) -> Iterator[Batch]:
        self.taken = self.batches.start
        for batch in self.loader:
            self.taken += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Batches taken of the epoch in progress."""
        return {"taken": self.taken}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Goes on after the batches taken; after a whole epoch that is the next one's first."""
        self.batches.start = state_dict["taken"] % max(1, len(self))
