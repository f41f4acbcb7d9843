"""Pairs of dialogues that are no pairs, for data=hh_rlhf."""

import math
from dataclasses import dataclass
from typing import Any

GOOD = "\n\nHuman: what is red\n\nAssistant: it is fine"
OTHER = "\n\nHuman: what is red\n\nAssistant: you like it"


@dataclass(frozen=True)
class Dialogue:
    """What stands where the better dialogue should, and what its drop is called."""

    id: str
    chosen: Any
    says: str


TURNS = "turns do not alternate from Human to Assistant"
CASES = [
    Dialogue(name, chosen, says)
    for name, chosen, says in (
        ("missing", None, "dialogue is not text"),
        ("a number", 7, "dialogue is not text"),
        ("no number", math.nan, "dialogue is not text"),
        ("messages", [{"role": "user", "content": "what"}], "dialogue is not text"),
        ("empty", "", TURNS),
        ("blank", " \n\n ", TURNS),
        ("no turns", "what is red", TURNS),
        ("a human alone", "\n\nHuman: what is red", TURNS),
        ("an assistant alone", "\n\nAssistant: fine", TURNS),
        ("an assistant first", "\n\nAssistant: fine\n\nHuman: what", TURNS),
        ("two humans", "\n\nHuman: what\n\nHuman: is\n\nAssistant: fine", TURNS),
        ("two assistants", GOOD + "\n\nAssistant: and on", TURNS),
        ("a human last", GOOD + "\n\nHuman: and what", TURNS),
        ("words before", "Answer:\n\nHuman: what\n\nAssistant: fine", TURNS),
        ("other names", "\n\nUser: what is red\n\nBot: it is fine", TURNS),
        ("names in capitals", GOOD.upper(), TURNS),
        ("single line breaks", GOOD.strip().replace("\n\n", "\n"), TURNS),
        ("an empty question", "\n\nHuman:\n\nAssistant: fine", "empty turn"),
        ("an empty answer", "\n\nHuman: what is red\n\nAssistant: ", "empty turn"),
        ("another prompt", "\n\nHuman: what is blue\n\nAssistant: fine", "prompts differ"),
        ("a longer prompt", GOOD + "\n\nHuman: go\n\nAssistant: on", "prompts differ"),
    )
]
