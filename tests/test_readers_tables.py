"""Parquet tables, huggingface. Made-up rows; pictures inside tables become files, once."""

import builtins
import importlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vqa import datasets, images
from vqa.datasets import DataError, Dataset, Example, _embedded
from vqa.questions import Questions, Sizes

DATA = Path(__file__).parent / "data" / "readers"
HINT = " (use --data.skip_bad true or --skip-bad to skip and count bad rows)"


def rows(data: Dataset) -> list[Example]:
    return [data[index] for index in range(len(data))]


def refusal(name: str, root: object, split: str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        datasets.create(name, None if root is None else str(root), split, **options)
    return str(caught.value)


# --- what lies inside tables

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("LATTE_VQA_CACHE", str(folder))
    return folder


def picture(color: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 12, 3), color, np.uint8)).save(stream, kind)
    return stream.getvalue()


def parquet(folder: Path, split: str = "train", **columns: Any) -> str:
    """A folder with one parquet file of two rows."""
    whole: dict[str, Any] = {
        "image": [{"bytes": picture(0), "path": None}, {"bytes": picture(9), "path": None}],
        "question": ["a?", "b?"],
        "answer": ["x", "y"],
    }
    content = {name: values for name, values in (whole | columns).items() if values is not None}
    (folder / "data").mkdir(exist_ok=True)
    pq.write_table(pa.table(content), folder / "data" / f"{split}-00000-of-00001.parquet")
    return str(folder)


def check_validation(data: Dataset) -> None:
    """The three rows of the fixture, over two files, two of them about the same picture."""
    read = [
        (e.question_id, e.question, e.answers, e.answer_type, e.question_type) for e in rows(data)
    ]
    assert read == [
        (11, "Is the door open?", ("yes", "yes", "no"), "yes/no", "is the"),
        (12, "What hangs there?", ("coat", "a coat", "coat"), "other", "what"),
        (21, "How many hooks?", ("2", "2", "3"), "number", "how many"),
    ]
    assert data[0].image == data[1].image != data[2].image
    assert images.load(data[0].image).shape == (3, 8, 16)
    assert images.load(data[2].image).shape == (3, 8, 8)
    assert data[2].image.endswith(".jpeg")


def test_parquet_reads_every_field(cache: Path) -> None:
    data = datasets.create("parquet", str(DATA / "parquet"), "validation")
    check_validation(data)
    assert data.splits == ("validation", "test")
    pictures = [path for path in (cache / "images").rglob("*.*") if path.suffix != ".json"]
    assert len(pictures) == 2
    # Not the path of the row, which says x.png of both: the bytes.
    assert {Path(e.image) for e in rows(data)} == set(pictures)


def test_parquet_test_split_without_answers() -> None:
    (example,) = rows(datasets.create("parquet", str(DATA / "parquet"), "test"))
    assert example.answers == () and example.answer_type is None


def test_parquet_unpacks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = parquet(tmp_path)
    stored: list[bytes] = []
    store = _embedded._store

    def counted(folder: Path, content: bytes) -> str:
        stored.append(content)
        return store(folder, content)

    monkeypatch.setattr(_embedded, "_store", counted)
    first = rows(datasets.create("parquet", root))
    assert rows(datasets.create("parquet", root)) == first
    assert stored == [picture(0), picture(9)]
    Path(first[0].image).unlink()  # a file is gone: unpacked again
    assert rows(datasets.create("parquet", root)) == first
    assert len(stored) == 4 and Path(first[0].image).read_bytes() == picture(0)


def test_parquet_that_changed_is_unpacked_again(tmp_path: Path) -> None:
    sizes = set()
    for content in ([b"aaaa", b"bbbb"], [b"cccc", b"dddd"]):
        root = parquet(tmp_path, image=content)
        sizes |= {file.stat().st_size for file in (tmp_path / "data").iterdir()}
        data = datasets.create("parquet", root)
        assert [Path(e.image).read_bytes() for e in rows(data)] == content
    assert len(sizes) == 1  # so only its time told that the file changed


def test_parquet_paths_and_other_columns(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(7))
    root = parquet(
        tmp_path,
        image=None,
        question=None,
        answer=None,
        scan=[{"bytes": None, "path": "a.png"}, {"bytes": picture(1), "path": "b.png"}],
        ask=["a?", "b?"],
        labels=[["x", "x"], ["y"]],
        key=["k0", "k1"],
    )
    options: dict[str, Any] = {
        "image": "scan",
        "question": "ask",
        "answers": "labels",
        "question_id": "key",
    }
    data = datasets.create("parquet", root, metric="vqa_accuracy", **options)
    assert [(e.question_id, e.question, e.answers) for e in rows(data)] == [
        ("k0", "a?", ("x", "x")),
        ("k1", "b?", ("y",)),
    ]
    assert data[0].image == str(tmp_path / "a.png")
    answers = ("x",) * 3 + ("y",) * 7
    assert data.score("x", answers) == pytest.approx(0.9)


def test_parquet_numbers_rows_over_files(tmp_path: Path) -> None:
    root = parquet(tmp_path, answer=[1, 2])
    shutil.copy(
        tmp_path / "data" / "train-00000-of-00001.parquet",
        tmp_path / "data" / "train-00001-of-00001.parquet",
    )
    data = datasets.create("parquet", root)
    assert [(e.question_id, e.answers) for e in rows(data)] == [
        (0, ("1",)),
        (1, ("2",)),
        (2, ("1",)),
        (3, ("2",)),
    ]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"image": [picture(0), None]}, "image holds no image"),
        ({"image": ["data", "nowhere.png"]}, "image file {root}/data does not exist"),
        ({"question": ["a?", " "]}, "question must be a non-empty string, not ' '"),
        ({"answer": ["x", None]}, "answer holds no answer"),
        ({"answer": [["x"], []]}, "answer holds no answer"),
        ({"answer": [["x"], ["", "y"]]}, "answer must hold non-empty strings, not ''"),
        ({"answer": [True, False]}, "answer must hold non-empty strings, not 'True'"),
        ({"question_id": [5, 5]}, "question_id 5 repeats row 0"),
        ({"question_id": [None, "q"]}, "question_id must be an integer or a non-empty string"),
        ({"answer_type": [3, 3]}, "answer_type must be a string, not '3'"),
    ],
)
def test_parquet_bad_row(tmp_path: Path, columns: dict[str, Any], reason: str) -> None:
    root = parquet(tmp_path, **columns)
    message = refusal("parquet", root, "train")
    assert message.startswith(f"{root}/data/train-00000-of-00001.parquet: row ")
    assert reason.format(root=root) in message and message.endswith(HINT)
    # Of two rows one is good, or both are bad in the same way.
    try:
        data = datasets.create("parquet", root, skip_bad=True)
        assert (len(data), len(data.skipped)) == (1, 1)
    except DataError as error:
        assert "has no good row (2 bad rows; the first is" in str(error)


def test_parquet_bad_files(tmp_path: Path) -> None:
    assert "parquet needs a root" in refusal("parquet", None, "train")
    assert "nowhere is not a folder" in refusal("parquet", tmp_path / "nowhere", "train")
    told = refusal("parquet", tmp_path, "train")
    assert told == f"{tmp_path} has no data/train-*.parquet; there are no parquet files"
    root = parquet(tmp_path)
    assert "has no data/test-*.parquet; it has train" in refusal("parquet", root, "test")
    told = refusal("parquet", root, "train", question="ask")
    assert "has no column 'ask'; name one of image, question, answer by the option que" in told
    assert "metric of parquet cannot be 'best'" in refusal("parquet", root, "train", metric="best")
    root = parquet(tmp_path, answer=None)
    assert "has no column answers or answer; name one of image, q" in refusal(
        "parquet", root, "train"
    )
    file = tmp_path / "data" / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    told = refusal("parquet", root, "train")
    assert told.startswith(f"{file} is not a whole parquet file (") and "get a new copy" in told


def test_cache_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LATTE_VQA_CACHE", str(tmp_path / "file"))
    told = refusal("parquet", DATA / "parquet", "validation")
    assert "cannot be written to (Not a directory); set LATTE_VQA_CACHE to a folder" in told


@pytest.mark.parametrize(("name", "module"), [("parquet", "pyarrow"), ("huggingface", "datasets")])
def test_extra_is_named_where_it_is_missing(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer = importlib.import_module

    def without(wanted: str, *rest: Any) -> Any:
        if wanted.split(".")[0] == module:
            raise ImportError(wanted)
        return importer(wanted, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    told = refusal(name, DATA / "parquet", "validation")
    assert told == (
        f'{module} is not installed; pip install "latte-vqa[datasets]" to read such data sets'
    )


def test_other_readers_need_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    importer = builtins.__import__

    def without(wanted: str, *rest: Any, **named: Any) -> Any:
        assert wanted.split(".")[0] not in ("pyarrow", "datasets")
        return importer(wanted, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in ("parquet", "huggingface", "csv"):
        importlib.reload(importlib.import_module(f"vqa.datasets.{name}"))


def test_pictures_inside_tables_are_read_like_files() -> None:
    data = datasets.create("parquet", str(DATA / "parquet"), "validation")
    read = Questions(data)
    assert Sizes(data).pixels() == [16 * 8, 16 * 8, 8 * 8]
    example, pixels = read[(2, None)]
    assert example == data[2] and isinstance(pixels, torch.Tensor)
    assert pixels.shape == (3, 8, 8) and (pixels.int() - 200).abs().max() <= 2  # a JPEG


# --- huggingface


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The datasets library without a network, and with a cache of its own."""
    found = pytest.importorskip("datasets")
    monkeypatch.setattr(found.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    monkeypatch.setattr(found.config, "HF_HUB_OFFLINE", True)
    found.disable_progress_bars()
    yield found
    found.enable_progress_bars()


def test_huggingface_local_folder(library: Any) -> None:
    data = datasets.create("huggingface", str(DATA / "parquet"), "validation")
    check_validation(data)
    assert set(data.splits) == {"validation", "test"}
    assert data.score("yes", data[0].answers) == 1.0


def test_huggingface_decodes_nothing_and_names_labels(library: Any, tmp_path: Path) -> None:
    features = library.Features(
        {
            "image": library.Image(),
            "question": library.Value("string"),
            "answer": library.ClassLabel(names=["no", "yes"]),
        }
    )
    content = {
        "image": [{"bytes": picture(5), "path": None}, {"bytes": b"no image", "path": None}],
        "question": ["a?", "b?"],
        "answer": [1, 0],
    }
    made = library.Dataset.from_dict(content, features)
    library.DatasetDict({"train": made}).save_to_disk(tmp_path / "saved")
    data = datasets.create("huggingface", str(tmp_path / "saved"), "train")
    assert [e.answers for e in rows(data)] == [("yes",), ("no",)]
    assert Path(data[0].image).read_bytes() == picture(5)
    assert Path(data[1].image).read_bytes() == b"no image"


def test_huggingface_configuration(library: Any, tmp_path: Path) -> None:
    card = "---\nconfigs:\n" + "".join(
        f"- config_name: {name}\n  data_files: {name}/*.parquet\n" for name in ("one", "two")
    )
    (tmp_path / "README.md").write_text(card + "---\n")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        root = parquet(tmp_path / name, question=[f"{name}?", "b?"])
        shutil.move(f"{root}/data/train-00000-of-00001.parquet", f"{root}/train.parquet")
    data = datasets.create("huggingface", str(tmp_path), "train", config="two")
    assert [e.question for e in rows(data)] == ["two?", "b?"]
    assert "cannot be opened (Config name is missing" in refusal("huggingface", tmp_path, "train")


def test_huggingface_bad_rows(library: Any, tmp_path: Path) -> None:
    root = parquet(tmp_path, question=["a?", ""])
    told = f"{root} train: row 1: question must be a non-empty string, not ''"
    assert refusal("huggingface", root, "train") == told + HINT
    data = datasets.create("huggingface", root, "train", skip_bad=True)
    assert (len(data), data.skipped) == (1, [told])


def test_huggingface_refusals(library: Any, tmp_path: Path) -> None:
    assert "huggingface needs a root" in refusal("huggingface", None, "train")
    root = parquet(tmp_path)
    assert refusal("huggingface", root, "dev") == f"{root} has no split 'dev'; choose one of train"
    told = refusal("huggingface", root, "train", image="picture")
    assert "has no column 'picture'; name one of image, question, answer by the opt" in told
    told = refusal("huggingface", tmp_path / "nowhere", "train")
    assert "nowhere cannot be opened (" in told and "check its name and the connection" in told
    assert "\n" not in told
