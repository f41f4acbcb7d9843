"""rlhfkit.data.sources: what a template refuses is counted, and forms of several rows are read."""

import json
from types import SimpleNamespace

import pytest

from rlhfkit.data import sources
from rlhfkit.data.chat_template import CannotRender
from rlhfkit.errors import UserError
from rlhfkit.types import Ranking
from rlhfkit_plugins.data import FilesConfig
from rlhfkit_plugins.data.files import FileSource

USER = {"role": "user", "content": "q"}
SYSTEM = {"role": "system", "content": "s"}


class NoSystem:
    """A format whose template knows no system role."""

    def prompt_text(self, prompt):
        if prompt[0]["role"] == "system":
            raise CannotRender("m", prompt, "no system role")
        return "q"

    def prompt_ids(self, prompt):
        return [1] * len(self.prompt_text(prompt)) * len(prompt)


@pytest.fixture
def context(tmp_path):
    """A context whose data are these rows."""

    def make(split="prompts", rows=()):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        source = FileSource(FilesConfig(**{split: str(path)}))
        return SimpleNamespace(
            findings=None,
            config=SimpleNamespace(
                model=SimpleNamespace(max_prompt_length=1),
                eval_fraction=0,
                data={"files": FilesConfig(**{split: str(path)})},
            ),
            run_dir=SimpleNamespace(record=lambda stage: None),
            build_all=lambda group: {"files": source},
        )

    return make


def said(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_prompts_that_the_template_refuses_are_counted(context, capsys):
    made = context(rows=[{"prompt": [USER]}, {"prompt": [SYSTEM, USER]}, {"prompt": [USER, USER]}])
    assert sources.training_prompts(made, NoSystem()) == [[USER]]
    assert said(capsys) == (
        "prompts: dropped 1 (the chat template refuses: no system role), "
        "1 (longer than model.max_prompt_length=1) of 3"
    )


def test_nothing_but_refused_prompts_tells_the_reason(context):
    made = context(rows=[{"prompt": [SYSTEM, USER]}])
    with pytest.raises(UserError, match=r"1 prompt read, 1 \(the chat template refuses: no syst"):
        sources.training_prompts(made, NoSystem())


def test_rankings_that_the_template_refuses_are_counted(context, capsys):
    rankings = [Ranking(turns, ["a", "b"], [1, 2], [True, True]) for turns in ([USER], [SYSTEM])]
    assert sources.renderable(context(), NoSystem(), rankings) == rankings[:1]
    assert said(capsys) == "rankings: dropped 1 (the chat template refuses: no system role) of 2"


def test_rows_of_one_prompt_are_one_ranking(context):
    rows = [
        {"prompt": "q", "response": "a", "helpfulness": 1, "source": "customer"},
        {"prompt": "q", "response": "b", "helpfulness": 3, "source": "customer"},
    ]
    expected = {"prompt": [USER], "completions": ["a", "b"], "ranks": [2, 1]}
    (row,) = sources.rows_of(context("rankings", rows), "rankings")
    assert expected.items() <= row.items()
    assert row["source"] == "customer"
    (best,) = sources.rows_of(context("demonstrations", rows), "demonstrations")
    assert best == {"prompt": [USER], "completion": "b", "source": "customer"}
