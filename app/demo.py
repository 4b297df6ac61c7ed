"""The page and its API endpoint: a file and a question in, the answer as it is written out."""

from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import BlockFunction
from gradio.data_classes import APIInfo

from app import preview
from app.answering import TOP, answering
from app.choice import Choice, note
from app.look import CSS, THEME
from app.paste import PASTE
from vqa import models
from vqa.opening import NATIVE, Reading
from vqa.predictor import Predictor

EXAMPLES = Path(__file__).parent / "examples"
QUESTIONS = (
    ("receipt.png", "What is the total amount on this receipt?", "documents"),
    ("receipt.png", "What is the date on this receipt?", "documents"),
    ("12.png", "what shape is in the image?", "easy-vqa"),
    ("7.png", "what color is the circle?", "easy-vqa"),
    ("6.png", "does the image contain a triangle?", "easy-vqa"),
    ("11.png", "is there not a circle in the image?", "easy-vqa"),
)
"""A picture in EXAMPLES, a question of a test split about it, and the bundled model to ask."""

WAITING = 32
"""Requests that may wait for the model before further ones are turned away."""
KEPT = 3600
"""Seconds an uploaded file is kept."""

INTRO = """# Latte VQA
Ask a question about an image of any size. It is read at full size, unless the answer says less."""
TRAIN_NOTE = """For other images and questions, train a model on yours and start this page with
`--model`."""


class Demo(gr.Blocks):
    """Blocks whose endpoints may be called without the last values, also by a plain POST.

    What is missing is the function's own default, not what the page begins with: programs pay for
    no drawing that they did not ask for.
    """

    def validate_inputs(self, block_fn: BlockFunction, inputs: list[Any]) -> None:
        inputs += _defaults(block_fn)[len(inputs) :]
        super().validate_inputs(block_fn, inputs)

    def get_api_info(self, *arguments: Any, **options: Any) -> APIInfo:
        """As Gradio has it, with these defaults, which its clients fill in themselves."""
        info = super().get_api_info(*arguments, **options)
        for block_fn in self.fns.values():
            endpoint = info["named_endpoints"].get(f"/{block_fn.api_name}")
            if endpoint:
                defaults = _defaults(block_fn)
                for parameter, default in zip(endpoint["parameters"], defaults, strict=True):
                    parameter["parameter_default"] = default
        return info


def _defaults(block_fn: BlockFunction) -> list[Any]:
    """Of the function's arguments; None where there is none."""
    if block_fn.fn is None:
        return []
    arguments = signature(block_fn.fn).parameters.values()
    return [None if each.default is each.empty else each.default for each in arguments]


def build(predictor: Predictor, reading: Reading = NATIVE, others: Sequence[str] = ()) -> gr.Blocks:
    """The page, not yet served; `reading`: which images are accepted and what they may cost;
    `others`: bundled models that may be chosen besides."""
    choice = Choice(predictor, others)
    gr.set_static_paths([EXAMPLES])  # served as they are: a copy would be deleted with the uploads
    with Demo(title="Latte VQA", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as demo:
        gr.Markdown(INTRO)
        with gr.Row(equal_height=False):
            with gr.Column(min_width=360):
                with gr.Column(elem_id="image"):
                    image, page, picture = _uploads()
                question, show, ask = _asking()
                model, said = _models(choice)
            with gr.Column(min_width=360):
                outputs = _outputs()
        examples, example = _examples(choice)
        if models.folder(predictor.name) is not None:
            gr.Markdown(TRAIN_NOTE)
        _preview(reading, image, picture, page)
        event: dict[str, Any] = {
            "fn": answering(choice, reading),
            "inputs": [image, question, page, show, model],
            "outputs": outputs,
            # Gradio would copy the file and refuse numbers in its own words.
            "preprocess": False,
            "concurrency_limit": 1,
            "concurrency_id": "model",
        }
        gr.on([ask.click, question.submit], api_name="answer", **event)
        chosen = examples.click(
            example, examples, [image, question, page, model], api_visibility="private"
        )
        chosen.then(api_visibility="private", **event)
        model.change(note, model, said, api_visibility="private", queue=False)
    return demo.queue(max_size=WAITING)


def _uploads() -> tuple[gr.File, gr.Number, gr.Image]:
    # gr.Image would take images only, open them itself and send them to the browser whole.
    file = gr.File(label="Image, PDF or TIFF: drop, choose or paste it", height=200)
    page = gr.Number(1, label="Page", minimum=1, precision=0, visible=False, elem_id="page")
    picture = gr.Image(
        show_label=False,
        interactive=False,
        visible=False,
        buttons=["fullscreen"],
        height=320,
        alt_text="the page that is asked about",
        elem_id="preview",
    )
    return file, page, picture


def _asking() -> tuple[gr.Textbox, gr.Checkbox, gr.Button]:
    question = gr.Textbox(
        label="Question",
        placeholder="What do you want to know?",
        elem_id="question",
    )
    show = gr.Checkbox(True, label="Show where it was read", elem_id="show")
    return question, show, gr.Button("Ask", variant="primary", elem_id="ask")


def _models(choice: Choice) -> tuple[gr.Dropdown, gr.Markdown]:
    several = len(choice.names) > 1
    model = gr.Dropdown(
        choice.names, value=choice.first, label="Model", visible=several, elem_id="model"
    )
    return model, gr.Markdown(note(choice.first), elem_id="note")


def _outputs() -> list[gr.Textbox | gr.Label | gr.Markdown | gr.Image]:
    return [
        gr.Textbox(label="Answer", interactive=False, elem_id="answer"),
        gr.Label(
            label="Most probable answers",
            num_top_classes=TOP,
            show_heading=False,
            elem_id="probabilities",
        ),
        gr.Markdown(label="Details", elem_id="details"),
        gr.Image(
            label="Where it was read: red, framed where strongest",
            interactive=False,
            buttons=["fullscreen"],
            height=320,
            alt_text="where the answer was read, as a heat map with a frame on the image",
            elem_id="evidence",
        ),
    ]


def _examples(choice: Choice) -> tuple[gr.Dataset, Callable[[int], list[Any]]]:
    """The examples that the page's models are for, and what becomes of one that is clicked: its
    file, question, page and model."""
    asked = [row for row in QUESTIONS if row[2] in choice.names]
    rows = asked or [(name, text, choice.first) for name, text, _ in QUESTIONS]
    shown = gr.Dataset(
        components=[gr.Image(render=False), gr.Textbox(render=False)],
        samples=[[str(EXAMPLES / name), text] for name, text, _ in rows],
        type="index",
        label="Examples: click one to ask it",
        elem_id="examples",
    )

    def example(index: int) -> list[Any]:
        name, question, model = rows[index]
        return [str(EXAMPLES / name), question, 1, model]

    return shown, example


def _preview(reading: Reading, file: gr.File, picture: gr.Image, page: gr.Number) -> None:
    """Whatever file is there, its first page is shown; then the page that is written."""
    event: dict[str, Any] = {
        "preprocess": False,
        "api_visibility": "private",
        "trigger_mode": "always_last",
        # Not in the model's queue: a preview need not wait for somebody's answer.
        "concurrency_limit": 1,
        "concurrency_id": "preview",
    }
    file.change(preview.of_file(reading), file, [picture, page], **event)
    page.input(preview.of_page(reading), [file, page], picture, **event)


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
            js=PASTE,
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
