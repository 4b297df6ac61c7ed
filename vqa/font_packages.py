"""Where installed font packages keep their files."""

import importlib.util
import os
from collections.abc import Iterable

from vqa.datasets import DataError


def folders(dataset: str, packages: Iterable[str]) -> dict[str, str]:
    """The folder of each package's fonts, found without importing it.

    Raises DataError with what the data set `dataset` lacks.
    """
    found = {package: _folder(package) for package in packages}
    missing = [name.replace("_", "-") for name, folder in found.items() if folder is None]
    if missing:
        raise DataError(
            f"{dataset} lacks the fonts {', '.join(missing)}: pip install 'latte-vqa[fonts]', or "
            "choose fonts builtin, which prints every split in the same font"
        )
    return {name: folder for name, folder in found.items() if folder is not None}


def _folder(package: str) -> str | None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return os.path.join(spec.submodule_search_locations[0], "files")
