"""Every command of the README and of the tutorial, typed as it stands and in the order of its page,
with a tiny model where the quickstart's is kept."""

import io
import re
import shlex
import shutil

import pytest
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from rlhfkit.commands.init import tasks
from rlhfkit.commands.main import main
from rlhfkit.labelling import serve as page
from rlhfkit.labelling.submission import Submission
from rlhfkit.storage.run_dir import read_jsonl
from tests.exports.test_gguf import SHAPE, text_format
from tests.test_docs_commands import ROOT, commands

SPOKEN = "What is the capital of Peru?\n/vote 2\n/quit\n"
"""What is typed into a chat."""

SMALL = (
    "model.max_prompt_length=600", "stage.sft.max_completion_length=300",
    "sampler.response_length=6", "stage.sample.num_prompts=6", "stage.rl.total_episodes=8",
    "stage.rl.batch_size=8", "stage.rl.micro_batch_size=8", "stage.evaluate.num_prompts=4",
)  # fmt: skip
"""Typed behind `recipe=quickstart`, which would take minutes."""

NOT_TYPED = {
    "rlhfkit label RUN": "a form in a table, in which RUN stands for a name",
}
FOUND_WRONG = 1
"""The doctor's exit status where it finds something."""


def texts(page):
    return (ROOT / page).read_text(encoding="utf-8")


def typed(page):
    """The words behind `rlhfkit` of each command that is typed, in order."""
    for command in commands(ROOT / page):
        words = shlex.split(command.strip(" `").replace("\\\n", " "), comments=True)
        if shlex.join(words) not in NOT_TYPED:
            yield words[1:]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, and a model of random weights and a token a byte for the quickstart's."""
    model = tmp_path / "cache" / "smollm2-135m-instruct"
    LlamaForCausalLM(LlamaConfig(**SHAPE | {"max_position_embeddings": 1024})).save_pretrained(
        model
    )
    text_format().tokenizer.save_pretrained(model)
    monkeypatch.setenv("RLHFKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(page, "serve", judge_all)
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def judge_all(listener, store, settings):
    """In place of the page: a person who finds the first answer shown the best, to the end."""
    for name in store.invited():
        while (assignment := store.next_assignment(name, settings.plan)) is not None:
            count = len(assignment.item.completions)
            store.judge(assignment, Submission(0, [1] + [2] * (count - 1), seconds=2.0))


@pytest.fixture
def type_in(folder, monkeypatch):
    """`type_in(["list"])`: type a command in the folder, which must end well."""

    def run(words):
        monkeypatch.chdir(folder)
        monkeypatch.setattr("sys.stdin", io.StringIO(SPOKEN))
        status = 0
        try:
            main([*words, *SMALL] if "recipe=quickstart" in words else words)
        except SystemExit as ended:
            status = ended.code
        assert status in ((0, FOUND_WRONG) if words[0] == "doctor" else (0,)), words

    return run


def test_the_tutorial(folder, type_in):
    text = texts("docs/tutorial.md")
    program, end = (
        re.search(rf"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("python", "yaml")
    )
    for words in typed("docs/tutorial.md"):
        if words[0] == "init" and not (folder / "prompts.jsonl").exists():
            exec(program, {})
        type_in(words)
        if words == ["init", "ppo"]:
            file = folder / "ppo.yaml"
            begin, _, _ = file.read_text(encoding="utf-8").partition("optimizer:")
            file.write_text(begin + end, encoding="utf-8")
    assert len(list(read_jsonl(folder / "answers.jsonl"))) == 30
    assert len(list(read_jsonl(folder / "runs/ppo/chat/rankings.jsonl"))) == 1
    assert len([*folder.glob("runs/ppo/export/rl-gguf/*.gguf")]) == 1
    assert 'AutoModelForCausalLM.from_pretrained("my_model")' in text
    assert AutoModelForCausalLM.from_pretrained(folder / "my_model").num_parameters() > 0


def test_the_readme(folder, type_in, tiny_files):
    for split in ("demonstrations", "prompts", "rankings"):
        shutil.copy(tiny_files[split], folder / f"{split}.jsonl")
    words = [*typed("README.md")]
    for one in words:
        type_in(one)
    assert {"init", "check", "plan", "run", "chat", "export", "label"} < {one[0] for one in words}
    assert {one[1] for one in words if one[0] == "init"} == set(tasks())
    for name in ("quickstart", "sft", "rank", "rank-round2"):
        assert (folder / "runs" / name).is_dir()


def test_what_is_not_typed_stands_in_a_page():
    pages = [*commands(ROOT / "README.md"), *commands(ROOT / "docs/tutorial.md")]
    found = {command.strip(" `").partition("#")[0].strip() for command in pages}
    assert set(NOT_TYPED) <= found


def test_every_target_of_make_that_the_readme_names():
    rules = re.findall(r"^([a-z-]+):", texts("Makefile"), re.M)
    named = re.findall(r"(?:`|^ {4})make ([a-z-]+)", texts("README.md"), re.M)
    assert {"demo", "test", "rank"} <= set(named) <= set(rules)
