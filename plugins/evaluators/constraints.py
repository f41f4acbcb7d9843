"""IFEval's constraints (Zhou et al. 2023, table 1) as functions of an answer and its arguments.

Each is what its name says, on the text as it stands: no library splits sentences or guesses
languages, so answers at the edge of a rule may be judged otherwise than by the authors' program.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from rlhfkit_plugins.evaluators.languages import is_written_in

Check = Callable[..., bool]

_SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?:\s|$)")


def constraint(name: str) -> Check | None:
    """The check of an IFEval name such as `length_constraints:number_words`, if there is one."""
    return CHECKS.get(name)


def keeps(name: str, text: str, arguments: Mapping[str, Any]) -> bool:
    """Whether an answer keeps a constraint; empty answers keep none. Arguments that are None are
    not given."""
    given = {key: value for key, value in arguments.items() if value is not None}
    return bool(text.strip()) and CHECKS[name](text, **given)


def _compare(count: int, relation: str, limit: int) -> bool:
    return count < limit if relation == "less than" else count >= limit


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def _has(text: str, keyword: str) -> int:
    """How often a keyword stands in a text, whatever its case."""
    return len(re.findall(re.escape(keyword), text, re.IGNORECASE))


def _paragraphs(text: str, divider: str = r"\s?\*\*\*\s?") -> list[str]:
    return [part.strip() for part in re.split(divider, text)]


def _keywords(text: str, keywords: list[str]) -> bool:
    return all(_has(text, keyword) for keyword in keywords)


def _frequency(text: str, keyword: str, frequency: int, relation: str = "at least") -> bool:
    return _compare(_has(text, keyword), relation, frequency)


def _forbidden(text: str, forbidden_words: list[str]) -> bool:
    return not any(re.search(rf"\b{re.escape(w)}\b", text, re.I) for w in forbidden_words)


def _letters(text: str, letter: str, let_frequency: int, let_relation: str = "at least") -> bool:
    return _compare(text.lower().count(letter.lower()), let_relation, let_frequency)


def _sentences(text: str, num_sentences: int, relation: str = "at least") -> bool:
    count = len([part for part in _SENTENCE_END.split(text) if part.strip()])
    return _compare(count, relation, num_sentences)


def _number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """Divided by `***`; an empty one counts only at neither end."""
    parts = _paragraphs(text)
    parts = parts[not parts[0] : len(parts) - (not parts[-1])]
    return all(parts) and len(parts) == num_paragraphs


def _number_words(text: str, num_words: int, relation: str = "at least") -> bool:
    return _compare(len(_words(text)), relation, num_words)


def _first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Paragraphs divided by blank lines."""
    parts = [part for part in re.split(r"\n\n", text) if part.strip()]
    if len(parts) != num_paragraphs or nth_paragraph > len(parts):
        return False
    word = parts[nth_paragraph - 1].split()[0].strip("'\".,?!").lower()
    return word == first_word.lower()


def _placeholders(text: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= num_placeholders


def _postscript(text: str, postscript_marker: str) -> bool:
    """A paragraph near the end that starts with the marker, `P.S.` also as `p. s.`"""
    marker = r"\s*".join(map(re.escape, postscript_marker.replace(" ", "")))
    return bool(re.search(rf"(?:^|\s){marker}.*$", text, re.I | re.M))


def _bullets(text: str, num_bullets: int) -> bool:
    return len(re.findall(r"^\s*(?:\*[^*]|-)", text, re.M)) == num_bullets


def _constrained(text: str) -> bool:
    choices = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
    return any(choice in text for choice in choices)


def _highlights(text: str, num_highlights: int) -> bool:
    marked = re.findall(r"\*\*[^\n*]+\*\*|\*[^\n*]+\*", text)
    return len([part for part in marked if part.strip("* ")]) >= num_highlights


def _sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"\s?{re.escape(section_spliter)}\s?\d+\s?", text)) >= num_sections


def _json(text: str) -> bool:
    inner = re.sub(r"^```(?:json)?\s*|\s*```$", "", text.strip(), flags=re.I)
    try:
        json.loads(inner)
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str) -> bool:
    return bool(re.search(r"<<[^\n<>]*[^\s<>][^\n<>]*>>", text))


def _two_responses(text: str) -> bool:
    """Two different ones, divided by six asterisks."""
    parts = [part.strip() for part in text.split("******") if part.strip()]
    return len(parts) == 2 and parts[0] != parts[1]


def _repeat(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _end(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _quoted(text: str) -> bool:
    stripped = text.strip()
    return len(stripped) > 1 and stripped[0] == stripped[-1] == '"'


def _capitals(text: str, capital_frequency: int, capital_relation: str = "at least") -> bool:
    words = [word for word in re.findall(r"[^\W\d_][\w'-]*", text) if word.isupper()]
    return _compare(len(words), capital_relation, capital_frequency)


CHECKS: Mapping[str, Check] = {
    "keywords:existence": _keywords,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden,
    "keywords:letter_frequency": _letters,
    "language:response_language": is_written_in,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:number_words": _number_words,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _constrained,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat,
    "startend:end_checker": _end,
    "startend:quotation": _quoted,
    "change_case:capital_word_frequency": _capitals,
    "change_case:english_capital": lambda text: text.isupper(),
    "change_case:english_lowercase": lambda text: text.islower(),
    "punctuation:no_comma": lambda text: "," not in text,
}
