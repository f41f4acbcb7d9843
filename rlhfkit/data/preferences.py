"""Published forms of preferences: pairs and a verdict, lists of scored answers, rows that share a
prompt. Each line of `TABLE` is a form, and every function makes a row that stages read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from rlhfkit.data.dialogues import (
    from_sharegpt,
    is_dialogue,
    parse_dialogue,
    parse_prompt,
    shared_beginning,
)
from rlhfkit.data.messages import Unusable

Row = Mapping[str, Any]
Made = dict[str, Any]


def asked(row: Row, prompt: Any) -> Any:
    """A prompt with the row's `system` message, and its `history` of questions and answers."""
    earlier = row.get("history")
    if not isinstance(prompt, str) or not isinstance(earlier, list | None):
        return prompt
    turns = [
        {"role": role, "content": text}
        for pair in earlier or ()
        if isinstance(pair, list)
        for role, text in zip(("user", "assistant"), pair, strict=False)
    ]
    found = with_system(row, [*turns, {"role": "user", "content": prompt}])
    return found if len(found) > 1 else prompt


def with_system(row: Row, turns: Any) -> Any:
    """Messages after the row's `system` message, where it has one and they have none."""
    system = row.get("system") or row.get("system_prompt")
    if not isinstance(system, str) or not system.strip() or not isinstance(turns, list):
        return turns
    if turns and isinstance(turns[0], Mapping) and turns[0].get("role") == "system":
        return turns
    return [{"role": "system", "content": system}, *turns]


def _named(prompt: str, row: Row) -> Made:
    """A pair whose prompt has another name."""
    question = asked(row, row.get(prompt))
    return {"prompt": question, "chosen": row.get("chosen"), "rejected": row.get("rejected")}


def _instructed(row: Row) -> Made:
    """A pair with Alpaca's prompt."""
    parts = [row.get("instruction"), row.get("input")]
    texts = [part for part in parts if isinstance(part, str) and part.strip()]
    return _named("text", {**row, "text": "\n\n".join(texts)})


def _sharegpt_pair(row: Row) -> Made:
    prompt = with_system(row, from_sharegpt(row.get("conversations")))
    return {"prompt": prompt, **{name: _turns(row, name) for name in ("chosen", "rejected")}}


def _turns(row: Row, column: str) -> Any:
    value = row.get(column)
    return value if isinstance(value, str) else from_sharegpt(value)


def _implicit(row: Row) -> Made:
    """A pair of conversations, of hh-rlhf's dialogues or of whole texts, that begin alike."""
    pair = [_turns(row, name) for name in ("chosen", "rejected")]
    if all(map(is_dialogue, pair)):
        pair = [parse_dialogue(text) for text in pair]
        if pair[0][:-1] != pair[1][:-1]:
            raise Unusable("prompts differ")
    if all(isinstance(text, str) for text in pair):
        prompt = shared_beginning(pair)
        if not prompt.strip():
            raise Unusable("chosen and rejected do not begin alike")
        return {"prompt": prompt, **_pair(*(text[len(prompt) :] for text in pair))}
    return _pair(*pair)


def _pair(chosen: Any, rejected: Any) -> Made:
    return {"chosen": chosen, "rejected": rejected}


def _two(prompt: str, first: str, second: str, better: Callable[[Row], float], row: Row) -> Made:
    """Two answers and a verdict. better: above 0 where the first is, 0 for a tie."""
    verdict = better(row)
    ranks = [1, 1] if verdict == 0 else [1, 2] if verdict > 0 else [2, 1]
    answers = [row.get(first), row.get(second)]
    return {"prompt": row.get(prompt), "completions": answers, "ranks": ranks}


def _number(row: Row, column: str) -> float:
    value = row.get(column)
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise Unusable(f"'{column}' is no number") from error


def _named_winner(column: str, row: Row) -> float:
    """Of verdicts such as "a", "model_b", "Response A is better" and "tie"."""
    words = str(row.get(column)).lower().replace("_", " ").split()
    a, b = ("a" in words), ("b" in words)
    if a == b and "tie" not in words:
        raise Unusable(f"'{column}' names no winner")
    return a - b


def _arena(row: Row) -> Made:
    """Two whole conversations with one user."""
    made = _two("", "conversation_a", "conversation_b", partial(_named_winner, "winner"), row)
    made.pop("prompt")
    if not all(isinstance(answer, list) and answer for answer in made["completions"]):
        raise Unusable("a conversation is no list of messages")
    turns = made["completions"][0][:-1]
    return {"prompt": turns, **made}


def _webgpt(row: Row) -> Made:
    """OpenAI's comparisons: the question is an object, and the scores are of the two answers."""
    question = row.get("question")
    text = question.get("full_text") if isinstance(question, Mapping) else question
    answers = {name: _number(row, f"score_{index}") for index, name in enumerate("01")}
    made = _two("", "answer_0", "answer_1", lambda _: answers["0"] - answers["1"], row)
    return made | {"prompt": text}


def _summaries(row: Row) -> Made:
    """OpenAI's summarize_from_feedback, prompts as Stiennon et al. (2020) give them."""
    info, summaries, choice = row.get("info"), row.get("summaries"), row.get("choice")
    if not isinstance(info, Mapping) or not isinstance(summaries, list) or choice not in (0, 1):
        raise Unusable("no post, no summaries or no choice")
    texts = [item.get("text") if isinstance(item, Mapping) else None for item in summaries]
    parts = {
        "SUBREDDIT": info.get("subreddit"),
        "TITLE": info.get("title"),
        "POST": info.get("post"),
    }
    named = [f"{name}: {text}" for name, text in parts.items() if text]
    prompt = "\n\n".join([*named, "TL;DR:"]) if named else info.get("article")
    ranks = [1 + (index != choice) for index in range(len(texts))]
    return {"prompt": prompt, "completions": texts, "ranks": ranks}


def _listed(prompt: str, column: str, text: str, number: str, kind: str, row: Row) -> Made:
    """Answers as objects with a text and a score or a rank. kind: "scores" or "ranks"."""
    items = row.get(column)
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise Unusable(f"'{column}' are no list of answers")
    question = row.get(prompt)
    return {
        "prompt": parse_prompt(question) if is_dialogue(question) else question,
        "completions": [item.get(text) for item in items],
        kind: [item.get(number) for item in items],
    }


def _gather(prompt: str, answer: str, score: str, rows: Iterable[Row]) -> Sequence[Row]:
    """Rows of one answer each, those of a prompt together."""
    found: dict[str, Made] = {}
    for row in rows:
        made = found.setdefault(
            repr(row.get(prompt)),
            {**row, "prompt": row.get(prompt), "completions": [], "scores": []},
        )
        made["completions"].append(row.get(answer))
        made["scores"].append(row.get(score))
    return list(found.values())


def _gathered(row: Row) -> Made:
    return {name: row[name] for name in ("prompt", "completions", "scores")}


def _grouped(prompt: str, answer: str, score: str) -> tuple[Any, ...]:
    return f"{prompt} {answer} {score}", _gathered, partial(_gather, prompt, answer, score)


def _verdict(prompt: str, first: str, second: str, column: str, better: Any) -> tuple[Any, ...]:
    return f"{prompt} {first} {second} {column}", partial(_two, prompt, first, second, better)


TABLE: tuple[tuple[Any, ...], ...] = (
    ("chosen and rejected", "chosen rejected", _implicit),
    *((name, f"{name} chosen rejected", partial(_named, name)) for name in ("question", "query")),
    ("Alpaca pairs", "instruction chosen rejected", _instructed),
    ("ShareGPT pairs", "conversations chosen rejected", _sharegpt_pair),
    ("UltraFeedback", "instruction completions",
     partial(_listed, "instruction", "completions", "response", "overall_score", "scores")),
    ("Nectar", "prompt answers", partial(_listed, "prompt", "answers", "answer", "rank", "ranks")),
    ("HelpSteer", *_grouped("prompt", "response", "helpfulness")),
    ("SHP", *_verdict("history", "human_ref_A", "human_ref_B", "labels",
                      lambda row: _number(row, "labels") - 0.5)),
    ("HelpSteer2", *_verdict("prompt", "response_1", "response_2", "preference_strength",
                             lambda row: -_number(row, "preference_strength"))),
    ("HelpSteer3", *_verdict("context", "response1", "response2", "overall_preference",
                             lambda row: -_number(row, "overall_preference"))),
    ("two responses", *_verdict("prompt", "response_a", "response_b", "label",
                                partial(_named_winner, "label"))),
    ("PKU-SafeRLHF", *_verdict("prompt", "response_0", "response_1", "better_response_id",
                               lambda row: 0.5 - _number(row, "better_response_id"))),
    ("Chatbot Arena", "conversation_a conversation_b winner", _arena),
    ("WebGPT", "question answer_0 answer_1 score_0 score_1", _webgpt),
    ("summarize_from_feedback", "info summaries choice", _summaries),
)  # fmt: skip
"""A form a line: name, columns, how a row is converted, and how rows are gathered before."""

SCORED_ROWS = (
    ("scored responses", *_grouped("prompt", "response", "score")),
    ("scored completions", *_grouped("prompt", "completion", "score")),
    ("unpaired preferences", *_grouped("prompt", "completion", "label")),
)
"""Rankings alone: as demonstrations such rows are what they are without their score."""
