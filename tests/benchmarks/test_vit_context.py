"""Tables of benchmarks/vit_context.py, and what it leaves out."""

from collections.abc import Callable
from typing import Any

from _pytest.capture import CaptureFixture


def test_costs_table_names_what_was_not_run(script: Callable[[str], Any]) -> None:
    module = script("vit_context")
    cost = {"seconds": 1.234, "peak_bytes": 3 * 2**20}
    rows = [{"way": way, "side": 448, "patches": 1024, **cost} for way in module.WAYS]
    rows += [{"way": module.WHOLE, "side": 2044, "patches": 21316}]
    table = module.costs_table(rows).splitlines()
    assert table[2] == "| 448 | 1,024 |" + " 1.23 s, 3 MiB |" * 3
    assert table[3] == "| 2044 | 21,316 | not run |"


def test_cosine_table_ends_with_the_mean(script: Callable[[str], Any]) -> None:
    found = script("vit_context").cosine_table({"image": ["a.png", "b.png"], "tiles": [0.5, 1.0]})
    assert found.splitlines() == [
        "| image | a.png | b.png | mean |",
        "| --- | --- | --- | --- |",
        "| tiles | 0.500 | 1.000 | 0.750 |",
    ]


def test_affordable_grows_with_the_squared_patches(script: Callable[[str], Any]) -> None:
    module = script("vit_context")
    before = {"patches": 100, "seconds": 20.0, "peak_bytes": 10**8}
    assert module._affordable(before, {"patches": 200})
    assert not module._affordable(before, {"patches": 300})  # 180 s
    assert not module._affordable(before | {"peak_bytes": 3e9}, {"patches": 200})
    assert not module._affordable({"patches": 100}, {"patches": 200})  # itself left out


def test_measure_prints_one_line(script: Callable[[str], Any], capsys: CaptureFixture[str]) -> None:
    module = script("vit_context")
    module.VIT = "vit_tiny_patch16_224"
    module.measure(module.LATTE, 64)
    row = module.json.loads(capsys.readouterr().out)
    assert row["seconds"] > 0 and row["peak_bytes"] >= 0
