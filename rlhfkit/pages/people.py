"""What people said, beside the run's own judges."""

from rlhfkit.console import count_of
from rlhfkit.labelling.human_evaluation import HumanEvaluation
from rlhfkit.pages import ratings
from rlhfkit.pages.ratings import Rows, markdown
from rlhfkit.reporting import Metrics, shown

WIN_HEAD = ("policy", "preferred to SFT by people", "prompts", "by the run's labelers", "prompts")


def win_rows(people: HumanEvaluation, metrics: Metrics) -> Rows:
    """A row of `WIN_HEAD` for each policy that people compared with the SFT model."""
    rows = []
    for policy, rate in people.win_rates.items():
        own = metrics.get(policy, {}).get("win_rate")
        others = [shown(own), str(own.count) if own else ""]
        rows.append([policy, shown(rate), str(rate.count), *others])
    return rows


def counted(people: HumanEvaluation) -> str:
    """How much there is, in a sentence."""
    labelers = count_of(people.labelers, "labeler")
    pairs = count_of(people.items, "blind pair")
    said = f"{labelers} compared {pairs} of answers; intervals are over prompts."
    if people.outdated:
        said += f" Not counted: {count_of(people.outdated, 'judgement')} of earlier answers."
    return said


def people_lines(people: HumanEvaluation | None, metrics: Metrics) -> list[str]:
    """The same as lines of Markdown."""
    if people is None or not people.win_rates:
        return []
    lines = ["", "## What people say", "", counted(people), ""]
    lines += markdown([list(WIN_HEAD), *win_rows(people, metrics)])
    if people.ratings:
        lines += ["", *ratings.table(people)]
    return lines
