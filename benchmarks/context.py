"""What a pretrained language model gains from its conversion to Latte-Macchiato at long contexts.

    python benchmarks/context.py perplexity --original DIR --trained DIR --text A.txt B.txt
    python benchmarks/context.py speed      --original DIR --trained DIR --text A.txt
    python benchmarks/context.py passkey    --original DIR --trained DIR --text A.txt B.txt
    python benchmarks/context.py report

Models: `original` (softmax), `window` (the original with a window and nothing else), `sinks` (a
window and 4 sinks, no latents), `untrained` (latents as initialised; `vqa convert --transfer-steps
0 --steps 0` writes its folder) and `trained` (written by `vqa convert`). Texts are held out from
training, each file a document. Each measurement is a line of benchmarks/results/context.jsonl and
is made once; `report` prints Markdown tables and writes context.json and context.svg beside it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import context_passkey
import context_perplexity
import context_speed
import torch
from context_models import MODELS, MeasurementLog, load_documents, model_specs
from context_report import write_report
from transformers import AutoTokenizer

OUT = Path(__file__).parent / "results" / "context.jsonl"
PASSKEY_MODELS = ("original", "sinks", "trained")
SPEED_MODELS = ("original", "trained")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = parser.add_subparsers(dest="task", required=True)
    perplexity = tasks.add_parser("perplexity", help="of held-out documents against the context")
    perplexity.add_argument(
        "--sequences", type=int, default=8, help="texts a document at up to 2,048 tokens"
    )
    speed = tasks.add_parser("speed", help="prefill and decoding, each in a fresh process")
    speed.add_argument(
        "--only",
        nargs="+",
        choices=context_speed.KINDS,
        default=context_speed.KINDS,
        help="prefill in one pass, prefill in chunks of 2,048 tokens, decoding",
    )
    passkey = tasks.add_parser("passkey", help="a five-digit number hidden in held-out text")
    passkey.add_argument("--trials", type=int, default=10, help="prompts a length")
    report = tasks.add_parser("report", help="tables, JSON and picture of what was measured")
    for task, models in (
        (perplexity, [name for name in MODELS if name != "untrained"]),
        (speed, SPEED_MODELS),
        (passkey, PASSKEY_MODELS),
    ):
        _add_model_options(task, models)
    for task in (perplexity, speed, passkey, report):
        task.add_argument("--out", type=Path, default=OUT, help="measurements, a jsonl file")
    return parser


def _add_model_options(parser: argparse.ArgumentParser, models: Sequence[str]) -> None:
    parser.add_argument("--original", type=Path, required=True, help="folder of the softmax model")
    parser.add_argument("--trained", type=Path, help="folder of the converted model")
    parser.add_argument("--untrained", type=Path, help="folder of one converted without training")
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="held-out UTF-8 files")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=models)
    parser.add_argument("--lengths", type=int, nargs="+", help="context lengths in tokens")
    parser.add_argument("--window", type=int, default=256, help="of the converted models")
    parser.add_argument("--threads", type=int, default=1)


def measure(args: argparse.Namespace) -> None:
    """Make the measurements of one task that are missing in `args.out`.

    Raises ValueError for missing folders and for texts too short for the lengths.
    """
    torch.set_num_threads(args.threads)
    folders = {"original": args.original, "untrained": args.untrained, "trained": args.trained}
    specs = model_specs(args.models, folders, args.window)
    tokenizer = AutoTokenizer.from_pretrained(args.original)
    documents = load_documents(args.text, tokenizer)
    log = MeasurementLog(args.out)
    if args.task == "perplexity":
        lengths = args.lengths or context_perplexity.LENGTHS
        context_perplexity.measure_perplexity(specs, documents, lengths, args.sequences, log)
    elif args.task == "speed":
        ids = next(iter(documents.values())).tolist()
        context_speed.measure_speed(specs, ids, args.lengths, args.only, args.threads, log)
    else:
        lengths = args.lengths or context_passkey.LENGTHS
        context_passkey.measure_passkey(
            specs, documents, tokenizer, lengths, args.trials, args.window, log
        )


def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.task == "report":
        print(write_report(MeasurementLog(args.out).rows, args.out))
        return
    try:
        measure(args)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
