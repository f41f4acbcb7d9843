"""evaluator=instructions: every constraint with an answer that keeps it and one that does not."""

import json

import pytest

from rlhfkit.errors import NotRun
from rlhfkit.testing import tiny
from rlhfkit_plugins.evaluators.constraints import CHECKS, keeps
from rlhfkit_plugins.evaluators.languages import is_written_in
from rlhfkit_plugins.evaluators.policies import Policy

from .samples import samples

CASES = {
    "keywords:existence": ({"keywords": ["red", "Blue"]}, "A red and a blue one.", "A red one."),
    "keywords:frequency": (
        {"keyword": "red", "frequency": 2, "relation": "at least"}, "Red, red.", "Red.",
    ),
    "keywords:forbidden_words": ({"forbidden_words": ["red"]}, "Bred.", "It is Red."),
    "keywords:letter_frequency": (
        {"letter": "q", "let_frequency": 2, "let_relation": "less than"}, "Quite.", "Quite quick.",
    ),
    "language:response_language": ({"language": "de"}, "Das ist nicht gut.", "This is not good."),
    "length_constraints:number_sentences": (
        {"num_sentences": 2, "relation": "at least"}, "One. Two!", "One, 2.5 and two",
    ),
    "length_constraints:number_paragraphs": (
        {"num_paragraphs": 2}, "One\n***\nTwo\n***", "One\n\nTwo",
    ),
    "length_constraints:number_words": (
        {"num_words": 4, "relation": "less than"}, "Only three words.", "Here are four words.",
    ),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        "First.\n\nThen, more.", "Then.\n\nFirst.",
    ),
    "detectable_content:number_placeholders": ({"num_placeholders": 1}, "Dear [name]", "Dear A"),
    "detectable_content:postscript": ({"postscript_marker": "P.S."}, "Hi.\np. s. more", "Hi. PS"),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, "* a\n- b", "* a\n**b**"),
    "detectable_format:constrained_response": ({}, "My answer is no.", "No."),
    "detectable_format:number_highlighted_sections": ({"num_highlights": 1}, "So *much*.", "** **"),
    "detectable_format:multiple_sections": (
        {"section_spliter": "Section", "num_sections": 2}, "Section 1 a\nSection 2 b", "Section 1",
    ),
    "detectable_format:json_format": ({}, '```json\n{"a": 1}\n```', "{a: 1}"),
    "detectable_format:title": ({}, "<<Red>>\nIt is.", "<< >>"),
    "combination:two_responses": ({}, "One\n******\nTwo", "One\n******\nOne"),
    "combination:repeat_prompt": ({"prompt_to_repeat": "What is it?"}, "What is it? Red.", "Red."),
    "startend:end_checker": ({"end_phrase": "The end."}, 'So. the end."', "The end. So."),
    "startend:quotation": ({}, '"So."', '"So.'),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 2, "capital_relation": "at least"}, "RED and BLUE", "RED and Blue",
    ),
    "change_case:english_capital": ({}, "RED 2.", "RED a"),
    "change_case:english_lowercase": ({}, "red 2.", "Red"),
    "punctuation:no_comma": ({}, "Red and blue.", "Red, blue."),
}  # fmt: skip


def test_every_constraint_has_a_case():
    assert CASES.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", CASES)
def test_kept_and_broken(name):
    arguments, kept, broken = CASES[name]
    assert keeps(name, kept, {**arguments, "unused": None})
    assert not keeps(name, broken, arguments)
    assert not keeps(name, " ", arguments)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ja", "私は日本語を話します。"), ("zh", "我喜欢红色。"), ("ko", "나는 빨간색을 좋아해요."),
        ("ru", "Это мой любимый цвет, и он красивый."), ("uk", "Це мій улюблений колір."),
        ("ar", "اللون المفضل لدي هو الأحمر"), ("hi", "मेरा पसंदीदा रंग लाल है"),
        ("es", "El color que me gusta es el de la casa."),
        ("fr", "La couleur que je préfère est le rouge."),
        ("en", "The colour that I like is red."),
    ],
)  # fmt: skip
def test_languages(language, text):
    assert is_written_in(text, language)
    assert not any(is_written_in(text, other) for other in ("de", "th", "en") if other != language)


def test_prompts_are_followed_wholly_or_in_part(make_context, tmp_path, monkeypatch):
    tiny.language_model(tmp_path / "base")
    rows = [
        ("Say red.", ["keywords:existence", "punctuation:no_comma"], [{"keywords": ["red"]}, {}]),
        ("Say blue.", ["keywords:existence"], [{"keywords": ["blue"]}]),
        ("Say it.", ["count:unknown"], [{}]),
    ]
    lines = [
        dict(zip(("prompt", "instruction_id_list", "kwargs"), row, strict=True)) for row in rows
    ]
    file = tmp_path / "ifeval.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    context = make_context(
        f"model.path={tmp_path / 'base'}", "loader=full", "evaluator=[instructions]",
        f"evaluator.instructions.path={file}",
    )  # fmt: skip
    said = {"greedy": ["red, red", "blue"], "sampled": ["green", "green"]}
    monkeypatch.setattr(Policy, "answers", lambda self, prompts, way: said[way])
    found = context.build_all("evaluator")["instructions"].evaluate({"sft": samples("sft", ["a"])})
    assert {
        name: (metric.value, metric.count) for name, metric in found.metrics["sft"].items()
    } == {
        "instructions_followed_greedy": (0.5, 2),
        "instructions_followed_sampled": (0, 2),
        "constraints_kept_greedy": (0.75, 2),
        "constraints_kept_sampled": (0.25, 2),
    }
    assert found.rows[0]["kept_greedy"] == [True, False]
    assert found.notes == [
        "1 of 3 prompts left out: their constraints are not known: count:unknown"
    ]
    file.write_text(json.dumps(lines[2]) + "\n")
    with pytest.raises(NotRun, match="1 of 1 prompt left out"):
        context.build_all("evaluator")["instructions"].evaluate({"sft": samples("sft", ["a"])})
