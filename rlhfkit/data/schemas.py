"""Published forms of data, told by their columns and converted to the rows that stages read.

A form is a line of a table: its name, its columns, and the function that converts a row. The
forms of rankings give prompts and demonstrations (the best answers) as well.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from rlhfkit.data import oasst, preferences
from rlhfkit.data.dialogues import from_sharegpt
from rlhfkit.data.messages import Unusable
from rlhfkit.data.row_parsing import CONVERT, Row, ranks_of
from rlhfkit.errors import UserError, nearest
from rlhfkit.types import Split

_CARRIED = ("user", "source", "annotator", "labeler", "tools", "chat_template_kwargs")
"""Columns that mean the same in every form."""

PROMPT_NAMES = ("prompt", "instruction", "question", "query", "input", "problem")
COMPLETION_NAMES = ("completion", "output", "response", "answer", "solution")

_LIKE = {
    "prompt": (*PROMPT_NAMES, "context", "history"),
    "completion": (*COMPLETION_NAMES, "reply", "target", "text"),
    "completions": ("responses", "answers", "outputs", "candidates"),
    "ranks": ("rank", "ranking", "scores", "score"),
    "chosen": ("preferred", "accepted", "better", "winner"),
    "rejected": ("dispreferred", "worse", "loser"),
    "text": ("content", "document"),
}
"""What others call a column."""


@dataclass(frozen=True)
class Schema:
    """A form of data."""

    name: str
    """Of two forms that fit, and are called the same, the first is taken."""

    columns: frozenset[str]
    """It is a file's form when the file has all of these."""

    convert: Callable[[Row], Row] | None = None
    """A row in the form that stages read; None for a row that is. Raises `Unusable`."""

    gather: Callable[[Iterable[Row]], Sequence[Row]] | None = None
    """First of all, rows made of several rows."""

    def __call__(self, row: Row) -> Row:
        """A row as stages read it."""
        if self.convert is None:
            return row
        return {name: row[name] for name in _CARRIED if name in row} | dict(self.convert(row))


def schema_of(name: str, split: Split, columns: Iterable[str]) -> Schema:
    """The form of a file or set with these columns.

    name: of the data source. Raises `UserError` when it is none of a split's, or several.
    """
    known = set(columns)
    fitting = [schema for schema in (*OWN[split], *OTHERS[split]) if schema.columns <= known]
    widest = [one for one in fitting if not any(one.columns < other.columns for other in fitting)]
    if not widest:
        raise UserError(f"data {name}: {split} {_missing(split, known)}")
    own = [schema for schema in widest if schema.convert is None and schema.gather is None]
    if not own and len({schema.name for schema in widest}) > 1:
        forms = " or ".join("+".join(sorted(schema.columns)) for schema in widest)
        column = min(widest[0].columns - widest[1].columns)
        meant = (name for name, alike in _LIKE.items() if column in (name, *alike))
        ours = next(meant, "prompt")
        raise UserError(
            f"data {name}: {split} could be read as {forms}; say which column is which, as in "
            f"columns={{{ours}:{column}}}"
        )
    return (own or widest)[0]


def _missing(split: Split, columns: set[str]) -> str:
    """What a file lacks, by the form that it is nearest to."""
    forms = [form.split() for form in _OWN_COLUMNS[split]]
    form = max(forms, key=lambda form: len(columns.intersection(form)))
    missing = next(column for column in form if column not in columns)
    left = columns.difference(form) - {""}
    alike = [column for column in _LIKE.get(missing, ()) if column in left]
    near = f"did you mean '{alike[0]}'?" if alike else nearest(missing, left)
    near = near.encode(errors="backslashreplace").decode()  # a terminal may refuse half a surrogate
    known = " or ".join(map("+".join, forms))
    return (
        f"has no column '{missing}' (needs {known}); {near} "
        f"(columns={{{missing}:...}} maps another name)"
    )


def _answered(prompt: str, completion: str, row: Row) -> Row:
    return {"prompt": preferences.asked(row, row.get(prompt)), "completion": row.get(completion)}


def _instructed(more: str, completion: str, row: Row) -> Row:
    """An instruction, and below it what it is about."""
    prompt, about = row.get("instruction"), row.get(more)
    if isinstance(prompt, str) and isinstance(about, str) and about.strip():
        prompt = f"{prompt}\n\n{about}" if prompt.strip() else about
    return _answered("text", completion, {**row, "text": prompt})


def _conversation(column: str, row: Row) -> Row:
    """ShareGPT's conversations, a column for the system's message beside them."""
    turns = from_sharegpt(row.get(column))
    return {"messages": preferences.with_system(row, turns)}


def _best(convert: Callable[[Row], Row], row: Row) -> Row:
    """The best answer as a demonstration."""
    made = convert(row)
    answers = made.get("completions")
    if answers is None:
        whole = made.get("prompt") is None
        return {"messages": made["chosen"]} if whole else {**made, "completion": made["chosen"]}
    if not isinstance(answers, list):
        raise Unusable("'completions' are no list")
    ranks = ranks_of(made, len(answers))
    return {"prompt": made["prompt"], "completion": answers[ranks.index(min(ranks))]}


def _asked(convert: Callable[[Row], Row], row: Row) -> Row:
    """The prompt alone."""
    made = convert(row)
    return {"prompt": made["prompt"] if "prompt" in made else CONVERT["rankings"](made).prompt}


def _schema(
    name: str,
    columns: str,
    convert: Callable[[Row], Row] | None = None,
    gather: Callable[[Iterable[Row]], Sequence[Row]] | None = None,
) -> Schema:
    return Schema(name, frozenset(columns.split()), convert, gather)


_OWN_COLUMNS: dict[Split, tuple[str, ...]] = {
    "demonstrations": ("prompt completion", "messages"),
    "prompts": ("prompt", "messages"),
    "eval_prompts": ("prompt", "messages"),
    "pretraining": ("text",),
    "rankings": (
        "prompt completions ranks",
        "prompt chosen rejected",
        "prompt completions scores",
    ),
}

OWN: dict[Split, tuple[Schema, ...]] = {
    split: tuple(_schema("", columns) for columns in forms) for split, forms in _OWN_COLUMNS.items()
}
"""The forms that stages read."""

_RANKINGS = tuple(_schema(*line) for line in preferences.TABLE)

_TURNS = tuple(
    _schema("ShareGPT", column, partial(_conversation, column))
    for column in ("conversations", "conversation")
)
_TREES = ("message_id parent_id text role", "message_tree_id prompt")


def _trees(gather: Callable[[Iterable[Row]], Sequence[Row]]) -> tuple[Schema, ...]:
    return tuple(_schema("OpenAssistant", columns, None, gather) for columns in _TREES)


def _derived(convert: Callable[[Callable[[Row], Row], Row], Row]) -> tuple[Schema, ...]:
    """Prompts or demonstrations of the forms of rankings."""
    return tuple(replace(schema, convert=partial(convert, schema)) for schema in _RANKINGS)


_PROMPTS = (
    *(_schema(name, name, partial(_answered, name, "")) for name in PROMPT_NAMES[1:]),
    _schema("Alpaca", "instruction input", partial(_instructed, "input", "")),
    _schema("Dolly", "instruction context", partial(_instructed, "context", "")),
    *_TURNS,
    *_trees(oasst.prompts),
    *_derived(_asked),
)

OTHERS: dict[Split, tuple[Schema, ...]] = {
    "demonstrations": (
        *(
            _schema(
                f"{prompt} and {completion}",
                f"{prompt} {completion}",
                partial(_answered, prompt, completion),
            )
            for prompt, completion in product(PROMPT_NAMES, COMPLETION_NAMES)
            if (prompt, completion) != ("prompt", "completion")
        ),
        _schema("Alpaca", "instruction input output", partial(_instructed, "input", "output")),
        _schema(
            "Dolly", "instruction context response", partial(_instructed, "context", "response")
        ),
        *_TURNS,
        *_trees(oasst.demonstrations),
        *_derived(_best),
        *(replace(schema, convert=partial(_best, schema)) for schema in OWN["rankings"]),
    ),
    "prompts": _PROMPTS,
    "eval_prompts": _PROMPTS,
    "pretraining": (),
    "rankings": (
        *_RANKINGS,
        *(_schema(*line) for line in preferences.SCORED_ROWS),
        *_trees(oasst.rankings),
    ),
}
"""The published forms."""
