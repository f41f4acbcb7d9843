"""What ends a model's responses, and where a response ends."""

import json

import pytest

from rlhfkit.data.ends import find_ends
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.errors import UserError
from rlhfkit.testing import tiny
from rlhfkit.types import Ends, Response
from tests import byte_tokenizer


def turns(end):
    return "{% for m in messages %}<{{ m.role }}>{{ m.content }}" + end + "{% endfor %}"


ASKED = "{% if add_generation_prompt %}<assistant>{% endif %}"
MORE = ("<|im_start|>", "<|im_end|>", "<|end|>", "<|header|>", "[INST]", "[/INST]")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PHI = turns("<|end|>\n") + "{% if add_generation_prompt %}<assistant>{% else %}<eos>{% endif %}"
LLAMA_2 = (
    "{% for m in messages %}{% if m.role == 'user' %}<bos>[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content | trim }} <eos>{% endif %}{% endfor %}"
)
ONLY_THE_LAST = turns("\n") + "{% if not add_generation_prompt %}<eos>{% endif %}"
REFUSES_ANSWERS = (
    "{% for m in messages %}{% if m.role != 'user' %}{{ raise_exception('no') }}{% endif %}"
    "{{ m.content }}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (turns("<eos>") + ASKED, "<eos>"),
        (turns("<eot>") + ASKED, "<eot>"),
        (CHATML, "<|im_end|>"),
        (PHI, "<|end|>"),
        (LLAMA_2, "<eos>"),
        (ONLY_THE_LAST, "<eos>"),
        (turns("<|end|><eos>") + ASKED, "<eos>"),
        (turns("\n") + ASKED, "<eos>"),
        (turns("\n") + "<assistant>", "<eos>"),
        (turns("<no token>") + ASKED, "<eos>"),
        (REFUSES_ANSWERS, "<eos>"),
    ],
    ids=["eos", "eot", "chatml", "two ends", "blank before", "only the last", "part end", "none",
         "always a header", "not in the vocabulary", "refuses answers"],
)  # fmt: skip
def test_the_chat_templates_turn_end_is_taught(template, end):
    tokenizer = byte_tokenizer.tokenizer(template=template, more=MORE)
    ends = find_ends(tokenizer, chat=True)
    assert tokenizer.convert_ids_to_tokens(ends.taught) == end
    assert ends.ids == tuple(dict.fromkeys([ends.taught, 2]))
    assert find_ends(tokenizer, chat=False).ids == (2,)


def test_stops_are_tokens_where_they_can_be():
    tokenizer = byte_tokenizer.tokenizer()
    ends = find_ends(tokenizer, False, [2, 5], ["<eot>", r"\n\n", "a"])
    assert (ends.ids, ends.strings) == ((2, 5, 4), ("\n\n", "a"))


@pytest.mark.parametrize(
    ("ids", "length"),
    [([7, 8], None), ([7, 2], 2), ([4, 2, 4], 1), ([7, 2, 9, 4], 2), ([], None)],
)
def test_the_first_end_counts(ids, length):
    ends = Ends((2, 4))
    assert ends.find(ids) == length
    assert ends.cut(ids) == ids[:length]


def test_a_text_ends_with_the_token_that_completes_it():
    tokenizer = byte_tokenizer.tokenizer()
    ends = find_ends(tokenizer, False, (), ["\n\nHuman:", "##"])
    ids = tokenizer("fine\n\nHuman: and # ##", add_special_tokens=False).input_ids
    assert ends.find(ids) == len("fine\n\nHuman:")
    assert ends.find(ids[:8]) is None
    assert ends.find([*ids[:8], 2]) == 9, "a token may come first"
    assert ends.ended(ends.cut(ids))
    assert not ends.ended(ids[:8])
    for length in range(1, len("fine\n\nHuman:")):  # as a sampler looks, token by token
        assert ends.find(ids[: length + 1], length) == (12 if length == 11 else None)
    assert Response.from_ids(ids[:12], [0.0] * 12, ends).ended


@pytest.mark.parametrize("said", ["fine", "fine<eot>", "fine<|more|>", "fine\n\nHuman: and"])
def test_a_response_is_read_without_its_end(said):
    tokenizer = byte_tokenizer.tokenizer()
    tokenizer.add_tokens(["<|more|>"])  # it is not special: decoding alone would leave it
    ends = find_ends(tokenizer, False, (), ["<eot>", "<|more|>", r"\n\nHuman:"])
    text = TextFormat(tokenizer, chat=False, ends=ends)
    assert text.decode(tokenizer(said, add_special_tokens=False).input_ids) == "fine"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"generation_config.json": {"eos_token_id": 4}}, (2, 4)),
        ({"generation_config.json": {"eos_token_id": [5, 2, 4]}}, (2, 5, 4)),
        ({"generation_config.json": {"eos_token_id": [4, 999]}}, (2, 4)),
        ({"generation_config.json": {"top_k": 3}}, (2,)),
        ({"config.json": {"eos_token_id": [6, 4]}}, (2, 6, 4)),
        ({"config.json": {"eos_token_id": None}}, (2,)),
    ],
)
def test_the_ends_of_generation_config(tmp_path, make_context, files, expected):
    folder = write_model(tmp_path, files)
    assert load_text_format(make_context(f"model.path={folder}")).ends.ids == expected


@pytest.mark.parametrize("broken", ['{"eos_token_id": "x"}', '{"eos_token_id": [[2]]}', "{eos"])
def test_a_broken_generation_config(tmp_path, make_context, broken):
    folder = write_model(tmp_path, {})
    (folder / "generation_config.json").write_text(broken)
    with pytest.raises(UserError, match="generation_config"):
        load_text_format(make_context(f"model.path={folder}"))


def test_a_stop_that_is_empty(make_context):
    config = make_context("model.stop=['']", "model.path=x").config.model
    with pytest.raises(UserError, match=r"model\.stop: an empty text would end every response"):
        config.check("model")


def write_model(folder, files):
    """Configuration only: nothing here loads weights."""
    tiny.config().save_pretrained(folder)
    byte_tokenizer.write(folder, template=turns("<eos>") + ASKED)
    for name, changes in files.items():
        file = folder / name
        found = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**found, **changes}))
    return folder
