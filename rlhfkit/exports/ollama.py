"""An Ollama Modelfile: the GGUF file beside it, the chat template as Ollama writes one, and where
responses end."""

from dataclasses import dataclass
from typing import Any

from rlhfkit.data.chat_template import CannotRender, render
from rlhfkit.data.text_format import TextFormat

_SYSTEM, _ASKED, _ANSWER, _NEXT = "System 4711", "Hello 4712", "Fine 4713", "Next 4714"


@dataclass(frozen=True)
class Turns:
    """What a chat template writes before and after the text of each role."""

    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]


def modelfile(file: str, text: TextFormat, temperature: float) -> str:
    """The text of a Modelfile. file: the GGUF file's name."""
    lines = [f"FROM ./{file}"]
    turns = find_turns(text) if text.chat else None
    if turns is not None:
        lines += [f'TEMPLATE """{_template(turns)}"""']
    ends = [text.tokenizer.convert_ids_to_tokens(token) for token in text.ends.ids]
    lines += [f"PARAMETER stop {_quoted(end)}" for end in [*ends, *text.ends.strings]]
    lines += [f"PARAMETER temperature {temperature:g}"]
    return "\n".join(lines) + "\n"


def find_turns(text: TextFormat) -> Turns | None:
    """What stands around each role's text; None for a template that is no sequence of turns, which
    Ollama then makes of the one in the GGUF file what it can."""
    system = {"role": "system", "content": _SYSTEM}
    asked = {"role": "user", "content": _ASKED}
    answer = {"role": "assistant", "content": _ANSWER}
    following = {"role": "user", "content": _NEXT}
    try:
        whole = _rendered(text, [system, asked, answer, following], generation=False)
        more = _rendered(text, [system, asked, answer, following], generation=True)
        answered = _rendered(text, [system, asked, answer], generation=False)
    except CannotRender:
        return None
    rest, parts = whole, []
    for content in (_SYSTEM, _ASKED, _ANSWER, _NEXT):
        before, found, rest = rest.partition(content)
        if not found:
            return None
        parts.append(before)
    first, after_system, after_user, after_answer = parts
    user_end, answer_end = rest, answered.rpartition(_ANSWER)[2]
    user_start = after_answer.removeprefix(answer_end)
    turns = Turns(
        (_without_bos(text, first), after_system.removesuffix(user_start)),
        (user_start, user_end),
        (after_user.removeprefix(user_end), answer_end),
    )
    return turns if _first(text, first) + _of(turns) == more else None


def _of(turns: Turns) -> str:
    """A conversation as those turns write it."""
    said = [
        (turns.system, _SYSTEM), (turns.user, _ASKED), (turns.assistant, _ANSWER),
        (turns.user, _NEXT),
    ]  # fmt: skip
    written = [f"{before}{content}{after}" for (before, after), content in said]
    return "".join(written) + turns.assistant[0]


def _rendered(text: TextFormat, messages: list[Any], generation: bool) -> str:
    kwargs = text.template_kwargs
    return render(text.tokenizer, messages, text.template_date, kwargs, generation)


def _first(text: TextFormat, start: str) -> str:
    """The BOS token, which llama.cpp adds by itself."""
    bos = text.tokenizer.bos_token or ""
    adds = text.tokenizer("a").input_ids[:1] == [text.tokenizer.bos_token_id]
    return bos if bos and adds and start.startswith(bos) else ""


def _without_bos(text: TextFormat, start: str) -> str:
    return start.removeprefix(_first(text, start))


def _template(turns: Turns) -> str:
    """In Go's templates, of which Ollama runs one a turn."""
    system, user, assistant = turns.system, turns.user, turns.assistant
    return (
        f"{{{{ if .System }}}}{system[0]}{{{{ .System }}}}{system[1]}{{{{ end }}}}"
        f"{{{{ if .Prompt }}}}{user[0]}{{{{ .Prompt }}}}{user[1]}{{{{ end }}}}"
        f"{assistant[0]}{{{{ .Response }}}}{assistant[1]}"
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
