"""rlhfkit_plugins.data.hh_rlhf: dialogues to pairs, and what is left out is counted."""

import gzip
import json
import subprocess
import sys
from types import SimpleNamespace

import datasets
import pytest

from rlhfkit.console import console
from rlhfkit.data.dialogues import parse_dialogue
from rlhfkit.data.messages import Unusable
from rlhfkit.errors import UserError
from rlhfkit.protocols import DataSource
from rlhfkit_plugins.data import HhRlhfConfig
from rlhfkit_plugins.data.hh_rlhf import HhRlhfSource

CONTEXT = SimpleNamespace(findings=None)
SHORT = "\n\nHuman: Hello\n\nAssistant:"
LONG = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why:\n\n1. rain\n\nAssistant:"
SHORT_TURNS = [{"role": "user", "content": "Hello"}]
LONG_TURNS = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "Why:\n\n1. rain"},
]
GOOD = [
    {"chosen": SHORT + " Good day.", "rejected": SHORT + " Go away."},
    {"chosen": LONG + " Clouds.\n\nAnd wind. ", "rejected": LONG + " No idea."},
]
BAD = [
    {"chosen": SHORT + " a", "rejected": LONG + " b"},  # prompts differ
    {"chosen": SHORT + " a", "rejected": "\n\nHuman: Hullo\n\nAssistant: b"},  # prompts differ
    {"chosen": SHORT, "rejected": SHORT + " b"},  # an empty turn
    {"chosen": "Hello", "rejected": SHORT + " b"},  # no turns
]
RANKINGS = [
    {"prompt": SHORT_TURNS, "chosen": "Good day.", "rejected": "Go away."},
    {"prompt": LONG_TURNS, "chosen": "Clouds.\n\nAnd wind.", "rejected": "No idea."},
]  # fmt: skip


def source_of(path, rows):
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return HhRlhfSource(HhRlhfConfig(path=str(path)), CONTEXT)


@pytest.fixture
def source(tmp_path):
    return source_of(tmp_path / "pairs.jsonl.gz", [*GOOD, *BAD])


def test_rankings(source):
    assert isinstance(source, DataSource)
    assert source.splits() == ("rankings", "prompts", "demonstrations")
    assert list(source.load("rankings")) == RANKINGS


def test_prompts(source):
    assert list(source.load("prompts")) == [{"prompt": row["prompt"]} for row in RANKINGS]


def test_demonstrations_are_the_chosen_answers(source):
    assert list(source.load("demonstrations")) == [
        {"prompt": row["prompt"], "completion": row["chosen"]} for row in RANKINGS
    ]


def test_what_is_left_out_is_counted(source):
    with console.capture() as shown:
        source.load("prompts")
    assert " ".join(shown.get().split()) == (
        "hh_rlhf prompts: dropped 2 (prompts differ), 1 (empty turn), "
        "1 (turns do not alternate from Human to Assistant) of 6"
    )


def test_nothing_left_out_says_nothing(tmp_path):
    with console.capture() as shown:
        source_of(tmp_path / "pairs.jsonl.gz", GOOD).load("rankings")
    assert shown.get() == ""


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        (LONG + " x", ["Hi", "Yes?", "Why:\n\n1. rain", "x"]),
        ("Human: a\n\nAssistant: b", ["a", "b"]),
        ("\n\nHuman:a\n\nAssistant:b\nAssistant: c", ["a", "b\nAssistant: c"]),
    ],
)
def test_dialogues(text, contents):
    turns = parse_dialogue(text)
    assert [turn["content"] for turn in turns] == contents
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(contents) // 2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "dialogue is not text"),
        ("", "turns do not alternate"),
        ("Well. \n\nHuman: a\n\nAssistant: b", "turns do not alternate"),
        ("\n\nHuman: a", "turns do not alternate"),
        ("\n\nAssistant: a\n\nHuman: b", "turns do not alternate"),
        ("\n\nHuman: a\n\nHuman: b\n\nAssistant: c", "turns do not alternate"),
        ("\n\nHuman: a\n\nAssistant: b\n\nHuman: c", "turns do not alternate"),
        ("\n\nHuman: \n\nAssistant: b", "empty turn"),
        ("\n\nHuman: a\n\nAssistant:", "empty turn"),
    ],
)
def test_dialogues_that_do_not_parse(text, reason):
    with pytest.raises(Unusable, match=reason):
        parse_dialogue(text)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (BAD, "data hh_rlhf: no usable pair in {path} (4 rows read)"),
        ([{"chosen": "", "rejcted": ""}], "{path} has no column 'rejected'; did you mean 'rej"),
        ([{"prompt": "a"}], "{path} has no column 'chosen'; choices: prompt"),
    ],
)  # fmt: skip
def test_unusable_files(tmp_path, rows, message):
    path = tmp_path / "pairs.jsonl.gz"
    with pytest.raises(UserError) as caught:
        source_of(path, rows).load("rankings")
    assert message.format(path=path) in str(caught.value)


def test_errors_of_the_file_reader_come_through(tmp_path):
    source = HhRlhfSource(HhRlhfConfig(path=str(tmp_path / "none.jsonl")), CONTEXT)
    with pytest.raises(UserError, match="no such file"):
        source.load("rankings")
    with pytest.raises(UserError, match="no such file"):
        source.fingerprint("rankings")


def test_a_split_that_pairs_do_not_hold(source):
    with pytest.raises(UserError, match="hh_rlhf: has no pretraining; did you mean"):
        source.load("pretraining")


def test_from_the_hub(monkeypatch):
    asked = []

    def load_dataset(*args, **more):
        asked.append((args, more))
        return datasets.Dataset.from_list(GOOD)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = HhRlhfSource(HhRlhfConfig(split="test"), CONTEXT)
    assert list(source.load("rankings")) == RANKINGS
    assert asked == [(("Anthropic/hh-rlhf", None), {"split": "test", "revision": None})]
    assert source.fingerprint("rankings") == "Anthropic/hh-rlhf::test@main"


def test_fingerprint_is_of_the_bytes(tmp_path):
    path = tmp_path / "pairs.jsonl.gz"
    first = source_of(path, GOOD).fingerprint("rankings")
    assert source_of(path, GOOD[:1]).fingerprint("rankings") != first


def test_fingerprint_needs_no_heavy_library(tmp_path):
    (tmp_path / "a.jsonl").write_text("{}")
    program = (
        "import sys; from rlhfkit_plugins.data import HhRlhfConfig; "
        "from rlhfkit_plugins.data.hh_rlhf import HhRlhfSource; "
        f"HhRlhfSource(HhRlhfConfig({str(tmp_path / 'a.jsonl')!r}), None).fingerprint('prompts'); "
        "print([name for name in ('datasets', 'pyarrow', 'torch') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "[]\n"
