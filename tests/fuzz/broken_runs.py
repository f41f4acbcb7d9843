"""Run directories that something happened to after a stage had finished."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GOOD = {
    "stage": "sft", "settings": {"seed": 0}, "inputs": {}, "seconds": 1.5,
    "finished_at": "2026-01-01T00:00:00", "outputs": {"model/weights": 5},
}  # fmt: skip
WHOLE = json.dumps(GOOD, indent=2)


def _with(**changes: Any) -> str:
    return json.dumps({**GOOD, **changes})


def _without(key: str) -> str:
    return json.dumps({name: value for name, value in GOOD.items() if name != key})


RECORDS: dict[str, bytes] = {
    name: content if isinstance(content, bytes) else content.encode()
    for name, content in {
        "empty": "",
        "blank": " \n",
        "zeros": bytes(64),
        "a brace": "{",
        "a list": "[]",
        "a text": '"sft"',
        "a number": "7",
        "null": "null",
        "not UTF-8": b'{"stage": "\xff"}',
        "utf-16": WHOLE.encode("utf-16"),
        "a mark in front": b"\xef\xbb\xbf" + WHOLE.encode(),
        "twice": WHOLE + WHOLE,
        "nested too deep": "[" * 100_000,
        "a conflict": f"<<<<<<< ours\n{WHOLE}\n=======\n{WHOLE}\n>>>>>>> theirs\n",
        "an unknown key": _with(colour="red"),
        "another stage's": _with(stage="rl"),
        "a stage that is a number": _with(stage=7),
        "without stage": _without("stage"),
        "without settings": _without("settings"),
        "without inputs": _without("inputs"),
        "settings are a list": _with(settings=[["seed", 0]]),
        "settings are nothing": _with(settings=None),
        "inputs are a list": _with(inputs=[]),
        "inputs are a text": _with(inputs="abc"),
        "outputs are a list": _with(outputs=["model/weights"]),
        "outputs are a number": _with(outputs=5),
        "seconds are a text": _with(seconds="long"),
        "seconds are nothing": _with(seconds=None),
        **{f"cut at {place}": WHOLE[:place] for place in range(1, len(WHOLE), 23)},
    }.items()
}
"""What stands in stage.json in place of the record."""


@dataclass(frozen=True)
class Damage:
    """What happened to the directory of a finished stage, and what the line says."""

    id: str
    do: Callable[[Path], object]
    says: str


def _replace(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    """In place of a file of the stage."""

    def do(stage: Path) -> None:
        (stage / name).unlink()
        make(stage / name)

    return do


def _link_to(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


_GONE = "model/weights: missing or not of the size it was written with"
DAMAGES = [
    Damage("the record is a folder", _replace("stage.json", Path.mkdir), "it is no file"),
    Damage("the record is a pipe", _replace("stage.json", os.mkfifo), "it is no file"),
    Damage("an output is gone", lambda stage: (stage / "model/weights").unlink(), _GONE),
    Damage("outputs are gone", lambda stage: shutil.rmtree(stage / "model"), _GONE),
    Damage("an output is cut", lambda stage: os.truncate(stage / "model/weights", 3), _GONE),
    Damage("an output is empty", lambda stage: os.truncate(stage / "model/weights", 0), _GONE),
    Damage("an output has grown", lambda stage: os.truncate(stage / "model/weights", 9), _GONE),
    Damage("an output is a folder", _replace("model/weights", Path.mkdir), _GONE),
    Damage("an output is a pipe", _replace("model/weights", os.mkfifo), _GONE),
    Damage("an output leads nowhere", _replace("model/weights", _link_to("none")), _GONE),
    Damage("an output leads to itself", _replace("model/weights", _link_to("weights")), _GONE),
    *(
        Damage(f"the record is {what}", lambda s, c=content: (s / "stage.json").write_bytes(c), "")
        for what, content in RECORDS.items()
    ),
]

PROMPT = [{"role": "user", "content": "what is red"}]
SAMPLED = {"prompt": PROMPT, "completions": ["it", "is"], "finished": [True, False],
           "sources": ["sft", "sft"]}  # fmt: skip
RANKED = {"prompt": PROMPT, "completions": ["it", "is"], "finished": [True, False],
          "ranks": [1, 2], "labeler": "x"}  # fmt: skip

ALTERED: dict[str, Any] = {
    "half a line": '{"prompt": [',
    "not an object": "7",
    "null": "null",
    "a list": "[]",
    "another's row": {"text": "red"},
    "no prompt": {"prompt": None},
    "a prompt of texts": {"prompt": ["what"]},
    "a prompt of nothing": {"prompt": [None]},
    "no content": {"prompt": [{"role": "user"}]},
    "completions a text": {"completions": "it"},
    "completions nothing": {"completions": None},
    "a completion a number": {"completions": ["it", 7]},
    "a completion too many": {"completions": ["it", "is", "on"]},
    "finished nothing": {"finished": None},
    "finished too few": {"finished": [True]},
    "finished texts": {"finished": ["yes", "no"]},
}
"""A line, or changes to a row, of completions.jsonl and of rankings.jsonl."""

RANKS: dict[str, Any] = {
    "ranks nothing": {"ranks": None},
    "ranks a text": {"ranks": "12"},
    "ranks too few": {"ranks": [1]},
    "ranks too many": {"ranks": [1, 2, 3]},
    "ranks texts": {"ranks": ["1", "2"]},
    "ranks halves": {"ranks": [1.5, 2.5]},
    "ranks not numbers": {"ranks": [float("nan"), 1]},
    "ranks flags": {"ranks": [True, False]},
    "ranks beyond int64": {"ranks": [1, 2**70]},
    "a column too many": {"colour": "red"},
}


def line_of(row: dict[str, Any], change: Any) -> str:
    """A line of a file: good where there is no change."""
    if isinstance(change, str):
        return change + "\n"
    kept = {} if change == ALTERED["another's row"] else row
    return json.dumps({**kept, **change}) + "\n"


METRICS: dict[str, str] = {
    "empty": "",
    "half": '{"rl": {"win_rate": {"val',
    "a list": "[]",
    "a policy of nothing": '{"rl": null}',
    "a policy of a number": '{"rl": 7}',
    "a metric of nothing": '{"rl": {"win_rate": null}}',
    "a metric of a number": '{"rl": {"win_rate": 0.5}}',
    "a metric without bounds": '{"rl": {"win_rate": {"value": 0.5}}}',
    "a metric with more": '{"rl": {"w": {"value": 1, "low": 0, "high": 1, "count": 2, "x": 3}}}',
    "a value of text": '{"rl": {"w": {"value": "1", "low": 0, "high": 1, "count": 2}}}',
    "a value of nothing": '{"rl": {"w": {"value": null, "low": 0, "high": 1, "count": 2}}}',
}
"""What stands in metrics.json of the stage evaluate."""
