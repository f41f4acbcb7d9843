"""rlhfkit.data.chat_template: a date that stays, tools and options, and templates that refuse."""

import pytest
from transformers import AutoTokenizer

from rlhfkit.data.chat_template import CannotRender
from rlhfkit.data.ends import find_ends
from rlhfkit.data.text_format import TextFormat
from rlhfkit.testing import tiny
from rlhfkit.types import Ends

TURNS = (
    "{% for m in messages %}<{{ m.role }}>"
    "{% if m.reasoning_content %}[{{ m.reasoning_content }}]{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function.name }}!{% endfor %}|{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
PROMPT = [{"role": "user", "content": "red"}]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    tiny.tokenizer(path, chat=True)
    return AutoTokenizer.from_pretrained(path)


@pytest.fixture
def text(tokenizer):
    """A format of the tiny tokenizer with a template."""

    def make(template=TURNS, **options):
        tokenizer.chat_template = template
        return TextFormat(tokenizer, True, find_ends(tokenizer, chat=True), **options)

    return make


def test_the_date_is_that_of_the_run(text):
    template = "{{ strftime_now('%d %b %Y') }} {{ messages[0].content }}"
    assert text(template).prompt_text(PROMPT) == "01 Jan 2026 red"
    assert text(template, template_date="2020-02-03").prompt_text(PROMPT) == "03 Feb 2020 red"


def test_tools_and_options_reach_the_template(text):
    template = "{{ tools[0].name if tools }} {{ thinking }} {{ style }} {{ messages[0] | tojson }}"
    given = {"tools": [{"name": "f"}], "chat_template_kwargs": {"thinking": False}}
    shown = text(template, template_kwargs={"thinking": True, "style": "s"})
    written = '{"role": "user", "content": "red"}'
    assert shown.prompt_text([PROMPT[0] | given]) == f"f False s {written}"
    assert shown.prompt_text(PROMPT) == f" True s {written}"


def test_a_refusal_is_one_line_with_its_reason(text):
    template = "{{ raise_exception('No system\n role') }}"
    with pytest.raises(CannotRender) as caught:
        text(template).prompt_text([{"role": "system", "content": "s\n"}, *PROMPT])
    assert caught.value.reason == "the chat template refuses: No system role"
    assert "cannot render 's red': No system role; set model.chat_template" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "written"),
    [
        ({"content": "blue", "reasoning_content": "why"}, "[why]blue"),
        ({"content": "", "tool_calls": [{"function": {"name": "f"}}]}, "f!"),
    ],
)
def test_an_answer_is_written_by_the_template(text, answer, written):
    shown = text()
    ids = shown.answer_ids(PROMPT, {"role": "assistant", **answer})
    assert ids == shown.completion_ids(written)


def test_an_answer_that_the_template_does_not_write(text, tokenizer):
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}
    silent = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(CannotRender, match="nothing of an answer is written"):
        text(silent).answer_ids(PROMPT, call)
    with pytest.raises(CannotRender, match=r"need model\.chat=true"):
        TextFormat(tokenizer, False, find_ends(tokenizer, chat=False)).answer_ids(PROMPT, call)


@pytest.mark.parametrize(("chat", "stored"), [(True, " \tred"), (False, "\tred")])
def test_indentation_of_a_response_stays(chat, stored):
    class Decoded:
        def decode(self, ids, skip_special_tokens):
            return " \tred \n"

    assert TextFormat(Decoded(), chat, Ends((2,))).decode([1]) == stored
