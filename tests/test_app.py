"""The demo through its API, as a program would use it, and its parts."""

import ast
import gc
import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image
from serving import ROOT, served, start

from app.answering import answering, details
from app.choice import Choice
from app.demo import build
from vqa import images, models
from vqa.opening import NATIVE, Reading
from vqa.predictor import Answer, Predictor, check_question

LIMIT = 1_000_000
ASKED = "what color is the square?"


@pytest.fixture(scope="module")
def url(tiny: Path) -> Iterator[str]:
    with served(tiny, "--max-pixels", str(LIMIT), "--max-upload", "1mb") as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images on which careless readers go wrong."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0).integers(0, 256, (60, 100, 4), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: turn by 90 degrees
    Image.fromarray(noise[..., :3]).save(folder / "exif.jpg", exif=turned, quality=95)
    noise[:, :50, 3] = 0  # transparent over colours that must not show
    Image.fromarray(noise).save(folder / "transparent.png")
    ramp = np.linspace(0, 65535, 64 * 80).astype(np.uint16).reshape(64, 80)
    Image.fromarray(ramp).save(folder / "sixteen.png")
    Image.new("RGB", (1, 1), "red").save(folder / "dot.png")
    Image.fromarray(noise[..., :3].reshape(2000, 1, -1)[:, :, :3]).save(folder / "line.png")
    return folder


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are refused."""
    folder = tmp_path_factory.mktemp("spoilt")
    (folder / "text.png").write_text("not a picture\n" * 20)
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(folder / "whole.png")
    (folder / "cut.png").write_bytes((folder / "whole.png").read_bytes()[:4000])
    Image.new("L", (1001, 1000)).save(folder / "large.png")
    # Beyond the size at which Pillow itself, and with it gr.Image, would give up.
    Image.new("1", (14000, 14000)).save(folder / "bomb.png")
    return folder


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of several pages, each page of its own size."""
    folder = tmp_path_factory.mktemp("documents")
    noise = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
    for name in ("three.pdf", "three.tif"):
        # New ones each time: saving as PDF leaves settings on them that break saving as TIFF.
        first, *others = [Image.fromarray(noise[: 120 - 30 * page]) for page in range(3)]
        # At 200 dpi, so that the PDF is drawn at the size of its pictures.
        first.save(folder / name, save_all=True, append_images=others, resolution=200)
    (folder / "text.pdf").write_text("not a document\n" * 20)
    return folder


def ask(
    client: Client, path: Path | None, question: str, *page: Any
) -> tuple[str, dict[str, Any], str]:
    image = handle_file(str(path)) if path else None
    answer, label, line, picture = client.predict(image, question, *page, api_name="/answer")
    assert picture is None  # not asked for
    return answer, label, line


def refusal(client: Client, path: Path | None, question: str, *page: Any) -> str:
    with pytest.raises(Exception) as caught:
        ask(client, path, question, *page)
    return str(caught.value)


def post(url: str, data: list[Any]) -> str:
    """What a plain POST to the endpoint is told, as it comes."""
    call = urllib.request.Request(
        url + "gradio_api/call/answer",
        json.dumps({"data": data}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=30) as reply:
        event = json.load(reply)["event_id"]
    with urllib.request.urlopen(f"{url}gradio_api/call/answer/{event}", timeout=30) as stream:
        return str(stream.read().decode())


def uploaded(url: str, path: Path) -> dict[str, Any]:
    """A file brought to the server, as the endpoint takes it."""
    head = f'--cut\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n\r\n'
    call = urllib.request.Request(
        url + "gradio_api/upload",
        head.encode() + path.read_bytes() + b"\r\n--cut--\r\n",
        {"Content-Type": "multipart/form-data; boundary=cut"},
    )
    with urllib.request.urlopen(call, timeout=30) as reply:
        return {"path": json.load(reply)[0], "meta": {"_type": "gradio.FileData"}}


def scores(found: Answer) -> list[float]:
    return [candidate.score for candidate in found.top_k]


@pytest.mark.parametrize(
    "name", ["exif.jpg", "transparent.png", "sixteen.png", "dot.png", "line.png"]
)
def test_the_page_answers_as_the_predictor_does(
    client: Client, predictor: Predictor, pictures: Path, name: str
) -> None:
    expected = predictor.ask(pictures / name, ASKED)
    answer, label, line = ask(client, pictures / name, ASKED)
    assert answer == expected.answer == label["label"]
    assert [row["label"] for row in label["confidences"]] == [c.answer for c in expected.top_k]
    found = [row["confidence"] for row in label["confidences"]]
    assert found == pytest.approx(scores(expected), rel=1e-3, abs=0)
    assert f"image {expected.width:,} × {expected.height:,} pixels" in line
    assert f"{expected.tokens:,} tokens" in line and "read at full size" in line


def test_careless_reading_would_show(predictor: Predictor, pictures: Path) -> None:
    """The test above can tell: these images read in the usual careless way score otherwise."""
    for name in ("exif.jpg", "transparent.png", "sixteen.png"):
        careless = np.asarray(Image.open(pictures / name).convert("RGB"))
        right, wrong = predictor.ask(pictures / name, ASKED), predictor.ask(careless, ASKED)
        assert scores(wrong) != pytest.approx(scores(right), rel=1e-2, abs=0)


def test_the_answer_grows_while_it_is_written(client: Client, pictures: Path) -> None:
    job = client.submit(handle_file(str(pictures / "exif.jpg")), ASKED, api_name="/answer")
    final = job.result()
    outputs = job.outputs()
    texts = [text for text, *_ in outputs[:-1]]
    assert len(texts) > 3 and outputs[-1] == final
    lengths = [len(text) for text in texts]
    assert lengths == sorted(lengths)


def test_requests_at_once_do_not_mix(client: Client, predictor: Predictor, pictures: Path) -> None:
    paths = [pictures / "exif.jpg", pictures / "sixteen.png", pictures / "dot.png"]
    jobs = [client.submit(handle_file(str(p)), ASKED, api_name="/answer") for p in paths]
    for path, job in zip(paths, jobs, strict=True):
        expected = predictor.ask(path, ASKED)
        assert f"{expected.width:,} × {expected.height:,} pixels" in job.result()[2]
        assert job.result()[0] == expected.answer


@pytest.mark.parametrize("name", ["text.png", "cut.png", "large.png", "bomb.png"])
def test_a_refused_image_is_the_sentence_of_vqa(client: Client, spoilt: Path, name: str) -> None:
    path = spoilt / name
    with pytest.raises(images.ImageError) as expected:
        images.load(path, LIMIT)
    assert refusal(client, path, ASKED) == str(expected.value).replace(str(path), name)


@pytest.mark.parametrize("question", ["", "   ", "why? " * 1000])
def test_a_refused_question_is_the_sentence_of_vqa(
    client: Client, pictures: Path, question: str
) -> None:
    with pytest.raises(ValueError) as expected:
        check_question(question)
    assert refusal(client, pictures / "dot.png", question) == str(expected.value)


@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("name", ["three.pdf", "three.tif"])
def test_a_page_is_asked_about(
    client: Client, predictor: Predictor, documents: Path, name: str, page: int
) -> None:
    expected = predictor.ask(documents / name, ASKED, reading=Reading(page=page))
    answer, label, line = ask(client, documents / name, ASKED, page)
    assert answer == expected.answer
    found = [row["confidence"] for row in label["confidences"]]
    assert found == pytest.approx(scores(expected), rel=1e-3, abs=0)
    assert f"image 90 × {150 - 30 * page} pixels" in line


def test_the_first_page_is_asked_about_if_none_is_given(
    client: Client, url: str, documents: Path
) -> None:
    assert "image 90 × 120 pixels" in ask(client, documents / "three.pdf", ASKED)[2]
    file = uploaded(url, documents / "three.tif")
    for data in ([file, ASKED], [file, ASKED, 1]):
        told = post(url, data)
        assert "event: complete" in told and "image 90 \\u00d7 120 pixels" in told


def test_a_post_without_anything_is_a_sentence(url: str) -> None:
    assert "there is no image; upload one, then ask" in post(url, [])


@pytest.mark.parametrize("name", ["three.pdf", "three.tif"])
@pytest.mark.parametrize("page", [0, -1, 4])
def test_a_page_that_is_not_there_is_the_sentence_of_vqa(
    client: Client, documents: Path, name: str, page: int
) -> None:
    told = refusal(client, documents / name, ASKED, page)
    assert told == f"{name} has no page {page}; choose 1 to 3"


@pytest.mark.parametrize("page", [1.5, "2", True])
def test_a_page_that_is_no_number_is_told(client: Client, documents: Path, page: Any) -> None:
    told = refusal(client, documents / "three.pdf", ASKED, page)
    assert told == f"a page is a whole number from 1, not {page!r}; choose another one"


def test_other_mistakes_with_documents_are_told(client: Client, documents: Path) -> None:
    told = refusal(client, documents / "three.pdf", ASKED, None)
    assert told == "there is no page number; write one from 1"
    assert "text.pdf is not an image that can be" in refusal(client, documents / "text.pdf", ASKED)


def test_an_image_is_needed(client: Client) -> None:
    assert refusal(client, None, ASKED) == "there is no image; upload one, then ask"


def test_an_upload_over_the_limit_is_refused(client: Client, tmp_path: Path) -> None:
    (tmp_path / "big.png").write_bytes(bytes(1_100_000))
    assert "exceeds the maximum file size" in refusal(client, tmp_path / "big.png", ASKED)


def test_only_answer_is_public(client: Client) -> None:
    api = client.view_api(return_format="dict")
    assert list(api["named_endpoints"]) == ["/answer"] and not api["unnamed_endpoints"]
    endpoint = api["named_endpoints"]["/answer"]
    parameters = endpoint["parameters"]
    assert [p["parameter_name"] for p in parameters] == [
        "image",
        "question",
        "page",
        "show",
        "model",
    ]
    assert [p["parameter_default"] for p in parameters] == [None, None, 1, False, None]
    assert [p["parameter_has_default"] for p in parameters] == [False, False, True, True, True]


def test_files_of_the_server_cannot_be_asked_about(url: str, pictures: Path) -> None:
    file = {"path": str(pictures / "dot.png"), "meta": {"_type": "gradio.FileData"}}
    told = post(url, [file, ASKED])
    assert "event: error" in told and "complete" not in told and "pixels" not in told


def test_a_wrong_model_folder_is_one_sentence() -> None:
    known = ", ".join(models.names())
    out, err = (process := start("--model", "/nonexistent")).communicate(timeout=120)
    assert process.returncode == 2
    assert (out, err) == (
        "",
        f"app: there is no model folder /nonexistent; bundled models: {known}\n",
    )


def test_wrong_options_are_told() -> None:
    for option, value in (("--port", "99999"), ("--max-upload", "big"), ("--max-pixels", "-1")):
        _, err = (process := start(option, value)).communicate(timeout=60)
        assert process.returncode == 2 and repr(value) in err


def test_help_is_quick_and_complete() -> None:
    begin = time.monotonic()
    out, _ = (process := start("--help")).communicate(timeout=60)
    assert process.returncode == 0 and time.monotonic() - begin < 5
    for option in ("--model", "--port", "--host", "--share", "--max-upload", "--max-pixels"):
        assert option in out


def test_out_of_memory_is_a_sentence(predictor: Predictor) -> None:
    def stream(*_: Any) -> Iterator[str]:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        yield ""

    full = Predictor(predictor.model, predictor.tokenizer)
    full.stream = stream  # type: ignore[assignment]
    with pytest.raises(Exception, match="scan.png needs more memory than there is here"):
        list(answering(Choice(full), NATIVE)({"path": "/uploads/scan.png"}, ASKED))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_page_is_built_without_serving(predictor: Predictor) -> None:
    demo = build(predictor)
    gc.collect()  # gradio leaves event loops unclosed: here, where their warnings are ignored
    public = [f for f in demo.fns.values() if f.api_visibility == "public"]
    assert [f.api_name for f in public] == ["answer"]
    assert all(f.concurrency_limit == 1 and not f.preprocess for f in public)
    assert demo.delete_cache and not demo.analytics_enabled


def test_details_of_a_large_image() -> None:
    found = Answer("yes", 0.9, (), 16000, 4000, 1.0, 250_012, 12.345, "/models/charts")
    assert details(found) == (
        "image 16,000 × 4,000 pixels (64.0 megapixels) · 250,012 tokens · 12.35 seconds · "
        "model charts · read at full size"
    )


DOORS = ("vqa.images", "vqa.predictor", "vqa.evidence", "vqa.evidence_picture")


def test_the_app_knows_the_predictor_and_pictures_only() -> None:
    for file in (ROOT / "app").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names += [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                rooms = ("images", "models", "opening", "predictor", "evidence", "evidence_picture")
                doors = {f"vqa.{room}" for room in rooms}
                known = {"app", "gradio"} | doors | sys.stdlib_module_names
                first, _, rest = name.partition(".")
                door = f"{first}.{rest.split('.')[0]}"
                assert first in known or door in known, f"{file.name}: {name}"
