"""What data sets that are drawn on the fly check of their options."""

from collections.abc import Iterable, Sequence

from vqa.datasets import DataError
from vqa.datasets._reading import known_split


def check_options(
    name: str, split: str, splits: Iterable[str], count: int | None, **numbers: int
) -> None:
    """Raises DataError for a split that `name` does not have and for what is no whole number."""
    known_split(name, split, splits)
    for option, value in {**numbers, "count": count}.items():
        if type(value) is not int and not (option == "count" and value is None):
            raise DataError(f"{option} must be a whole number, not {value!r}")
    if count is not None and count < 1:
        raise DataError(f"count cannot be {count}; ask for at least 1 example")


def chosen(
    name: str,
    noun: str,
    names: Sequence[str] | str | None,
    known: Sequence[str],
    usual: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """The names asked for, a list or one string with commas, or the usual ones (all if not given).

    Raises DataError at one that the data set `name` does not know.
    """
    if names is None:
        return tuple(known if usual is None else usual)
    if isinstance(names, str):
        names = [one.strip() for one in names.split(",")]
    bad = [one for one in names if one not in known]
    if bad or not names:
        wrong = f"{name} has no {noun} {bad[0]!r}" if bad else f"{name} needs at least one {noun}"
        raise DataError(f"{wrong}; choose from {', '.join(known)}")
    return tuple(names)
