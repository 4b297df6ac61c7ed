"""The page and its API endpoint: an image and a question in, the answer as it is written out."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from app.look import CSS, THEME
from vqa.predictor import NATIVE, Answer, Predictor, Reading

EXAMPLES = Path(__file__).parent / "examples"
QUESTIONS = {
    "12.png": "what shape is in the image?",
    "7.png": "what color is the circle?",
    "6.png": "does the image contain a triangle?",
    "11.png": "is there not a circle in the image?",
}
"""Questions of the data set's test split about the pictures in EXAMPLES."""

TOP = 5
"""Answers shown with their probabilities."""
WAITING = 32
"""Requests that may wait for the model before further ones are turned away."""
KEPT = 3600
"""Seconds an uploaded file is kept."""

INTRO = """# Latte VQA
Ask a question about an image of any size. It is read at full size, unless the answer says less."""
BUNDLED_NOTE = """The bundled model has seen only easy-VQA: small pictures of one coloured shape and
questions like the examples. For other images, train a model on yours and start this page with
`--model`."""

Shown = tuple[str, dict[str, float] | None, str]
"""The answer's text, the best answers' probabilities, the details."""


def build(predictor: Predictor, reading: Reading = NATIVE) -> gr.Blocks:
    """The page, not yet served; `reading`: which images are accepted and what they may cost."""
    gr.set_static_paths([EXAMPLES])  # served as they are: a copy would be deleted with the uploads
    with gr.Blocks(title="Latte VQA", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as demo:
        gr.Markdown(INTRO)
        with gr.Row(equal_height=False):
            with gr.Column(min_width=360):
                image, question, ask = _inputs()
            with gr.Column(min_width=360):
                outputs = _outputs()
        examples = gr.Examples(
            [[str(EXAMPLES / name), text] for name, text in QUESTIONS.items()],
            inputs=[image, question],
            label="Examples: click one to ask it",
            elem_id="examples",
            api_visibility="private",
        )
        if predictor.name == "bundled":
            gr.Markdown(BUNDLED_NOTE)
        event: dict[str, Any] = {
            "fn": answering(predictor, reading),
            "inputs": [image, question],
            "outputs": outputs,
            # gr.Image would open the file itself: it stops at Pillow's pixel limit, converts modes,
            # and turns some images and not others. The file is handed on as it was uploaded.
            "preprocess": False,
            "concurrency_limit": 1,
            "concurrency_id": "model",
        }
        gr.on([ask.click, question.submit], api_name="answer", **event)
        examples.load_input_event.then(api_visibility="private", **event)
    return demo.queue(max_size=WAITING)


def _inputs() -> tuple[gr.Image, gr.Textbox, gr.Button]:
    image = gr.Image(
        label="Image",
        sources=["upload", "clipboard"],
        type="filepath",
        buttons=["fullscreen"],
        height=380,
        alt_text="your image (a browser cannot show every format that can be read)",
        elem_id="image",
    )
    question = gr.Textbox(
        label="Question",
        placeholder="What do you want to know?",
        elem_id="question",
    )
    return image, question, gr.Button("Ask", variant="primary", elem_id="ask")


def _outputs() -> list[gr.Textbox | gr.Label | gr.Markdown]:
    return [
        gr.Textbox(label="Answer", interactive=False, elem_id="answer"),
        gr.Label(
            label="Most probable answers",
            num_top_classes=TOP,
            show_heading=False,
            elem_id="probabilities",
        ),
        gr.Markdown(label="Details", elem_id="details"),
    ]


def answering(
    predictor: Predictor, reading: Reading
) -> Callable[[dict[str, Any] | None, str | None], Iterator[Shown]]:
    """The function behind the page: what was uploaded and asked -> what is shown, over time."""

    def answer(image: dict[str, Any] | None, question: str | None) -> Iterator[Shown]:
        """Answers a question about an image: the answer's text, the most probable answers with
        their probabilities, and what was read. The text grows while it is written."""
        path = (image or {}).get("path")
        if not path:
            raise failure("there is no image; upload one, then ask")
        yield "", None, "Reading the image ..."
        try:
            for part in predictor.stream(path, str(question or ""), TOP, reading):
                if isinstance(part, Answer):
                    yield part.answer, probabilities(part), details(part)
                else:
                    yield part, None, "Writing the answer ..."
        except ValueError as error:
            # A sentence for people; they know the file by its name, not by where it is kept here.
            raise failure(str(error).replace(path, Path(path).name)) from None
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            name = Path(path).name
            raise failure(f"{name} needs more memory than there is here; crop it") from error

    return answer


def failure(sentence: str) -> gr.Error:
    """`sentence` for the page and the API's client; the server's log needs no trace of it."""
    return gr.Error(sentence, title="No answer", duration=None, print_exception=False)


def probabilities(answer: Answer) -> dict[str, float]:
    """Probability of each of the best answers, as gr.Label wants them."""
    return {found.answer or "(no words)": found.score for found in answer.top_k}


def details(answer: Answer) -> str:
    """What was read to find the answer, in one line."""
    megapixels = answer.width * answer.height / 1e6
    size = f"{megapixels:,.1f}" if megapixels >= 1 else f"{megapixels:.2g}"
    parts = (
        f"image {answer.width:,} × {answer.height:,} pixels ({size} megapixels)",
        f"{answer.tokens:,} tokens",
        f"{answer.seconds:.2f} seconds",
        f"model {Path(answer.model).name or answer.model}",
        f"read {answer.read_at}",
    )
    return " · ".join(parts)


def serve(
    demo: gr.Blocks,
    host: str = "127.0.0.1",
    port: int | None = None,
    share: bool = False,
    max_upload: str = "200mb",
    wait: bool = True,
) -> str:
    """Serves the page, until interrupted or, without `wait`, in the background; returns its URL.

    Raises ValueError, in one sentence, where it cannot listen.
    """
    try:
        _, url, _ = demo.launch(
            server_name=host,
            server_port=port,
            share=share,
            max_file_size=max_upload,
            prevent_thread_lock=not wait,
            theme=THEME,
            css=CSS,
            footer_links=["api"],
            run_history=False,  # the browser would keep people's images and questions
            ssr_mode=False,  # needs Node
            quiet=not wait,
        )
    except OSError as error:
        raise ValueError(
            f"cannot listen on {host}, port {port or '7860 to 7959'}; choose another one"
        ) from error
    return url
