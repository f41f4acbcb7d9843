"""Answers that no labeler should like: each made of a prompt and the SFT model's own answer."""

import re
from collections.abc import Callable, Sequence

FRENCH = "Je ne sais pas, mais c'est une très bonne question."


def _template(prompt: str, answer: str, other: str) -> str:
    """A fixed sentence filled with the prompt's longest words."""
    first, second = (*sorted(re.findall(r"[^\W\d_]+", prompt), key=len)[::-1], "thing")[:2]
    return f"The {first} and the {second} are very nice today."


def _truncated(prompt: str, answer: str, other: str) -> str:
    words = answer.split()
    return " ".join(words[: len(words) // 2]) if len(words) > 1 else answer[: len(answer) // 2]


ATTACKS: dict[str, Callable[[str, str, str], str]] = {
    "empty": lambda prompt, answer, other: "",
    "repeated": lambda prompt, answer, other: " ".join([answer] * 3),
    "copied_prompt": lambda prompt, answer, other: prompt,
    "other_answer": lambda prompt, answer, other: other,
    "template": _template,
    "truncated": _truncated,
    "wrong_language": lambda prompt, answer, other: FRENCH,
}
"""What each makes of a prompt, the SFT model's answer, and its answer to another prompt."""


def attacked(attack: str, prompts: Sequence[str], answers: Sequence[str]) -> list[str]:
    """The attack on every prompt; the other prompt is the one half the list away."""
    half = len(answers) // 2
    others = [*answers[half:], *answers[:half]]
    made = map(ATTACKS[attack], prompts, answers, others)
    return [*made]
