"""Broken model directories are told in one line, and never loaded with weights drawn at random."""

import shutil

import pytest
import torch

from rlhfkit.data.text_format import load_text_format
from rlhfkit.testing import tiny
from rlhfkit_plugins.rewards.classifier import load_classifier
from tests.fuzz.broken_models import ADAPTERS, CLASSIFIERS, CONFIGS, HEADS, STORED, TOKENIZERS
from tests.fuzz.outcome import refused

PROMPT = [{"role": "user", "content": "what is red"}]


@pytest.fixture(scope="session")
def good(tmp_path_factory, composed, plugins, tiny_files):
    """Directories of a classifier and of a reward model that is an adapter of the tiny model."""
    from rlhfkit.context import Context
    from rlhfkit.storage.run_dir import RunDir

    root = tmp_path_factory.mktemp("good")
    tiny.classifier(root / "classifier")
    context = Context(composed, plugins, RunDir(root), "sft")
    start = composed.model.path
    context.build("loader").scalar_model(start, trainable=True).save(root / "adapter")
    return {"model": tiny_files["model"], **{n: root / n for n in ("classifier", "adapter")}}


@pytest.fixture
def copy(good, tmp_path):
    """A copy of a good directory with a case's change."""

    def of(kind, case):
        path = tmp_path / kind
        shutil.copytree(good[kind], path)
        case.change(path)
        return str(path)

    return of


@pytest.mark.parametrize("case", [*CONFIGS, *STORED], ids=lambda case: case.id)
def test_a_model(context, copy, case):
    path = copy("model", case)
    loader = context(model={"path": path}).build("loader")
    refused(loader.language_model, None, says=case.says, names=path)


@pytest.mark.parametrize("case", TOKENIZERS, ids=lambda case: case.id)
def test_a_tokenizer(context, copy, case):
    path = copy("model", case)

    def render():
        text = load_text_format(context(model={"path": path}))
        text.prompt_ids(PROMPT)

    refused(render, says=case.says, names=path)


def test_a_template_of_the_command_line(context):
    broken = {"chat_template": "{{ messages[9].content }}"}
    refused(load_text_format, context(model=broken), says="set model.chat_template")


@pytest.mark.parametrize("case", ADAPTERS, ids=lambda case: case.id)
def test_an_adapter(context, copy, case):
    path = copy("adapter", case)
    loader = context().build("loader")
    refused(loader.language_model, path, says=case.says, names=path)
    refused(loader.roles, path, None, says=case.says, names=path)


@pytest.mark.parametrize("case", HEADS, ids=lambda case: case.id)
def test_a_head(context, copy, case):
    path = copy("adapter", case)
    refused(context().build("loader").scalar_model, path, says=case.says, names=path)


@pytest.mark.parametrize("case", CLASSIFIERS, ids=lambda case: case.id)
def test_a_classifier(context, copy, case):
    path = copy("classifier", case)
    refused(load_classifier, context(), path, 4, says=case.says, names=path)


def test_what_is_broken_was_whole(context, good):
    made = context()
    loader = made.build("loader")
    assert load_text_format(made).prompt_ids(PROMPT)
    assert loader.scalar_model(str(good["adapter"])).head.in_features == 64
    scores = load_classifier(made, str(good["classifier"]), 4)([PROMPT], ["fine"])
    assert torch.tensor(scores).isfinite().all()
