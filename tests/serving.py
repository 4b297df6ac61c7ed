"""The demo as a person starts it: `python -m app` in a process of its own."""

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def start(*arguments: str) -> subprocess.Popen[str]:
    """`python -m app ARGUMENTS`, its output in pipes."""
    command = [sys.executable, "-m", "app", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(model: Path, *arguments: str) -> Iterator[str]:
    """URL of the demo with the model in this folder, while it runs."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    process = start("--model", str(model), "--port", str(port), *arguments)
    try:
        for _ in range(900):
            if process.poll() is not None or answers(url):
                break
            time.sleep(0.1)
        if process.poll() is not None:
            raise RuntimeError(process.communicate()[1])
        yield url
    finally:
        process.terminate()
        process.communicate()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            return bool(page.read())
    except urllib.error.URLError:
        return False
