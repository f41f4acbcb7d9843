"""One HTML file of one or several runs, and the same as JSON."""

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from rlhfkit.figures import rounds, win_matrix
from rlhfkit.labelling import tables
from rlhfkit.labelling.agreement import Agreement
from rlhfkit.pages import people, ratings
from rlhfkit.pages.charts import charts
from rlhfkit.pages.contents import Duel, RunContents
from rlhfkit.pages.tax import TaxRow, tax_rows
from rlhfkit.pages.verdict import verdict, where_both_ended
from rlhfkit.reporting import METRIC_WORDS, confidence, counts, main_first, shown
from rlhfkit.types import Metric

POLICY_WORDS = {"base": "base model, untouched", "sft": "SFT", "rl": "RL policy"}


@dataclass(frozen=True)
class _View:
    """A run as the template asks for it."""

    contents: RunContents
    verdict: list[str]
    charts: dict[str, Markup]

    @property
    def mood(self) -> str:
        """Class of the verdict: good where the policy is preferred, also where both answers end."""
        rate = self.contents.metrics.get("rl", {}).get("win_rate")
        ended = where_both_ended(self.contents.duels)
        known = [found for found in (rate, ended) if found is not None]
        if known and all(found.low > 0.5 for found in known):
            return "good"
        return "bad" if rate is not None and rate.high < 0.5 else ""

    @property
    def level(self) -> str:
        """Confidence of the intervals."""
        found = self.contents.metrics.values()
        return confidence(metric for numbers in found for metric in numbers.values())

    @property
    def time(self) -> str:
        """Of all stages."""
        return f"{sum(stage.seconds for stage in self.contents.stages) / 60:.1f} min"

    @property
    def tax(self) -> list[TaxRow]:
        """Rows of the table of the alignment tax."""
        return tax_rows(self.contents.metrics, self.contents.tax)

    @property
    def agreements(self) -> dict[str, Agreement]:
        """By title: of the rankings that are trained on, and of people in the browser."""
        people = self.contents.people.agreement if self.contents.people else None
        found = {
            "How far labelers agree": self.contents.agreement,
            "How far people agree": people,
        }
        return {title: measured for title, measured in found.items() if measured}

    def counts(self, name: str) -> str:
        """Over how many items a metric is taken."""
        return counts(numbers.get(name) for numbers in self.contents.metrics.values())

    @property
    def metric_names(self) -> list[str]:
        """Rows of the table, those that have words first."""
        found = self.contents.metrics.values()
        return main_first(list(dict.fromkeys(name for numbers in found for name in numbers)))

    @property
    def outcomes(self) -> Counter[str]:
        """How many duels ended how; "" counts all."""
        counts = Counter(map(_outcome, self.contents.duels))
        counts[""] = len(self.contents.duels)
        return counts

    @property
    def categories(self) -> list[str]:
        """Of the prompts."""
        return sorted({duel.category for duel in self.contents.duels} - {""})

    @property
    def command(self) -> str:
        """The command that started the run last."""
        return shlex.join(["rlhfkit", *self.contents.typed])

    @property
    def next(self) -> list[str]:
        """Commands to go on with."""
        if not self.contents.metrics:
            return [shlex.join(["rlhfkit", "resume", str(self.contents.root)])]
        commands = [["rlhfkit", *self._words, f"seed={self._seed + 1}", f"run_name={self._other}"]]
        if "rl" in {stage.name for stage in self.contents.stages}:
            commands.append(["rlhfkit", "export", str(self.contents.root), "--merged"])
        return [shlex.join(command) for command in commands]

    @property
    def _words(self) -> list[str]:
        """What was typed, less what is of this run alone."""
        own = ("force_from=", "run_dir=", "run_name=", "seed=")
        return [word for word in self.contents.typed if not word.startswith(own)]

    @property
    def _other(self) -> str:
        """The name of the same run with the next seed."""
        return f"{self._name}-seed{self._seed + 1}"

    @property
    def _seed(self) -> int:
        return int(self.contents.settings.get("seed", 0))

    @property
    def _name(self) -> str:
        return self.contents.name


def render(runs: Sequence[RunContents]) -> str:
    """The page. What models wrote is text on it and nothing else."""
    environment = Environment(
        loader=PackageLoader("rlhfkit.pages", "."), autoescape=True, trim_blocks=True
    )
    environment.filters |= {"metric": _metric, "outcome": _outcome}
    views = [_View(run, verdict(run), charts(run)) for run in runs]
    return environment.get_template("report.html.jinja").render(
        title=", ".join(run.name for run in runs),
        runs=views,
        policy_words=POLICY_WORDS,
        metric_words=METRIC_WORDS,
        agreement=tables,
        people=people,
        ratings=ratings,
        rounds=rounds,
        win_matrix=win_matrix,
        version=version("rlhfkit"),
    )


def write(runs: Sequence[RunContents], folder: Path) -> Path:
    """report.html and report.json in the folder; gives the page."""
    page = folder / "report.html"
    page.write_text(render(runs), encoding="utf-8")
    content = [{"verdict": verdict(run), **asdict(run), "root": str(run.root)} for run in runs]
    (folder / "report.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return page


def _metric(metric: Metric | None) -> Any:
    return shown(metric)


def _outcome(duel: Duel) -> str:
    if duel.preferred == 0.5:
        return "tie"
    return "win" if duel.preferred > 0.5 else "loss"
