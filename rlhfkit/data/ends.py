"""Where a model says what ends its responses.

Any of these does: the turn end of its chat template, the tokenizer's EOS, the list in
generation_config.json, and `model.stop`.
"""

from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from typing import Any

from rlhfkit.types import Ends

_ASKED, _ANSWER = "Hello 4711", "Fine 4712"


def find_ends(
    tokenizer: Any, chat: bool, generation: Sequence[int] = (), stop: Sequence[str] = ()
) -> Ends:
    """All ends of a model; the chat template's is taught, else the tokenizer's EOS.

    generation: those of generation_config.json. stop: tokens, or texts of several tokens.
    """
    eos = tokenizer.eos_token_id
    turn_end = _turn_end(tokenizer, {eos, *generation}) if chat else None
    known = tokenizer.get_added_vocab()
    stop = [item.replace(r"\n", "\n") for item in stop]  # as a command line has it
    tokens = [known[item] for item in stop if item in known]
    ids = [eos if turn_end is None else turn_end, eos, *generation, *tokens]
    strings = tuple(item for item in stop if item not in known)
    decode = partial(tokenizer.decode, clean_up_tokenization_spaces=False)
    return Ends(tuple(dict.fromkeys(ids)), strings, decode)


def _turn_end(tokenizer: Any, ends: set[int]) -> int | None:
    """The token that the chat template puts after an answer.

    It stands after the last answer and before a next question, where a template without turn ends
    has who speaks; one of the other ends may stand after the last answer alone.
    """
    asked = {"role": "user", "content": _ASKED}
    answered = [asked, {"role": "assistant", "content": _ANSWER}]
    last = _special_after_answer(tokenizer, answered)
    before_next = _special_after_answer(tokenizer, [*answered, asked])
    pairs = zip(last, before_next, strict=False)
    shared = [token for token, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    known = [token for token in shared or last if token in ends]
    return next(iter([*known, *shared]), None)


def _special_after_answer(tokenizer: Any, turns: list[dict[str, str]]) -> list[int]:
    """The tokens after the answer that are no ordinary text."""
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception:  # one that cannot render an answer is only asked for prompts
        return []
    _, found, after = text.rpartition(_ANSWER)
    ids = tokenizer(after, add_special_tokens=False).input_ids if found else []
    special = {*tokenizer.get_added_vocab().values()} - {tokenizer.unk_token_id}
    return [token for token in ids if token in special]
