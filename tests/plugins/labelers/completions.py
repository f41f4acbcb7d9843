"""Prompts without a rubric, with several completions each, made from demonstrations."""

import json
import random
from pathlib import Path

RAMBLING = (
    "There are many things to say about this, and many people have said many of them before, so "
    "where to begin is a hard choice. It depends on what you mean, and on when you ask, and in the "
    "end everybody has to find an answer that fits, which takes time, and patience, and a little"
)


def demonstrations() -> list[tuple[str, str]]:
    """(prompt, completion), written for this project over the paper's ten use cases."""
    text = Path(__file__).with_name("free_demonstrations.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return [(row["prompt"], row["completion"]) for row in rows]


def cut_off(text: str) -> str:
    """The first two thirds of the words."""
    words = text.split()
    return " ".join(words[: max(1, 2 * len(words) // 3)]).rstrip(".!?,")


def variants(text: str, other: str, another: str) -> list[str]:
    """What a small model makes of a demonstration: the demonstration and ways to spoil it."""
    return [
        text,
        cut_off(text),
        f"{text} {text}",
        other,
        f"{text} {RAMBLING}",
        f"Sure! {text}",
        f"{text} {other}",
        f"{cut_off(text)} {another}",
        cut_off(other),
        f"{RAMBLING}.",
        f"{text} Thank you, and I hope you enjoy it!",
        " ".join(text.split()[:5]) + ".",
    ]


def prompts_with_completions(count: int, seed: int = 0) -> list[tuple[str, list[str]]]:
    """K = `count` variants, drawn at random, for every demonstration's prompt."""
    rows, rng = demonstrations(), random.Random(seed)
    drawn = []
    for prompt, text in rows:
        other, another = (completion for _, completion in rng.sample(rows, 2))
        drawn.append((prompt, rng.sample(variants(text, other, another), count)))
    return drawn
