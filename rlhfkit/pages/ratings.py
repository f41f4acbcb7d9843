"""Ratings of answers alone, from people or models, as a table."""

from rlhfkit.console import count_of
from rlhfkit.labelling.ratings import JudgeRatings, Ratings
from rlhfkit.labelling.submission import FLAGS
from rlhfkit.reporting import counts, shown

Rows = list[list[str]]


def head(rated: Ratings) -> list[str]:
    """Columns of `rows`: policies, and what stands above the SFT model."""
    return ["", "prompts", *rated.ratings, *(f"{policy} - sft" for policy in rated.differences)]


def rows(rated: Ratings) -> Rows:
    """The overall rating and every flag that was asked about, policies across."""
    words = {"overall": "Overall, from 1 to 7", **FLAGS}
    columns = [*rated.ratings.values(), *rated.differences.values()]
    return [
        [
            label,
            counts(own.get(name) for own in columns),
            *(shown(own.get(name)) for own in columns),
        ]
        for name, label in words.items()
        if any(name in own for own in columns)
    ]


def counted(found: JudgeRatings) -> str:
    """Who rated how much, in a sentence."""
    return (
        f"{' and '.join(found.judges)} rated {count_of(found.answers, 'answer')}, each alone; "
        f"intervals are over prompts, and differences are between a judge's ratings of the same "
        f"prompt's answers."
    )


def rating_lines(found: JudgeRatings | None) -> list[str]:
    """What models say as lines of Markdown."""
    if found is None or not found.ratings:
        return []
    return ["", "## What model judges say of each answer", "", counted(found), "", *table(found)]


def table(found: Ratings) -> list[str]:
    """Lines of Markdown."""
    return markdown([head(found), *rows(found)])


def markdown(content: Rows) -> list[str]:
    """Lines of a table whose first row is the head."""
    first, *others = content
    return [f"| {' | '.join(row)} |" for row in (first, ["---"] * len(first), *others)]
