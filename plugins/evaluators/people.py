"""evaluator=people: what people said of the answers on the page, `rlhfkit label RUN --of evaluate`.

Source: InstructGPT, section 3.6: preference, the overall rating, and the metadata of table 3.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlhfkit.console import count_of
from rlhfkit.context import Context
from rlhfkit.errors import NotRun
from rlhfkit.labelling.human_evaluation import compares, ratings, read_store, win_rates
from rlhfkit.labelling.items import Item
from rlhfkit.labelling.ratings import numbers
from rlhfkit.labelling.records import StoredJudgement
from rlhfkit.storage.catalogue import JUDGEMENTS_FILE
from rlhfkit.types import Evaluation, Metric, PolicySamples
from rlhfkit_plugins.evaluators import PeopleConfig


class People:
    """Counts what was said of these very answers; nobody is asked."""

    def __init__(self, config: PeopleConfig, context: Context) -> None:
        self._run: Path = context.run_dir.root

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """`people_win_rate` over the SFT model, and where answers were rated `people_overall`, the
        share of answers that have each flag, and how far both are above the SFT model's."""
        pairs = {
            item_id
            for name, own in samples.items()
            if name != "sft"
            for item_id in _pairs(own, samples["sft"])
        }
        items, judged = read_store(self._run / JUDGEMENTS_FILE)
        said = [one for one in judged if compares(one) and one.item in pairs]
        if not said:
            raise NotRun(
                f"nobody has judged these answers: rlhfkit label {self._run} --of evaluate, and "
                f"then again with force_from=evaluate"
            )
        metrics: dict[str, dict[str, Metric]] = {}
        for policy, rate in win_rates(items, said).items():
            metrics[policy] = {"people_win_rate": rate}
        for policy, found in ratings(items, said).metrics("people").items():
            metrics[policy] = metrics.get(policy, {}) | found
        rows = [row for one in said for row in _rows(items[one.item], one)]
        unseen = len(pairs) - len({one.item for one in said})
        notes = [f"judged by nobody: {unseen} of {count_of(len(pairs), 'pair')} of answers"]
        return Evaluation(metrics, rows, notes=notes if unseen else [])


def _pairs(own: PolicySamples, sft: PolicySamples) -> Iterator[str]:
    """Ids of the items that the page makes of each answer beside the SFT model's; equal answers are
    not asked."""
    for prompt, *texts in zip(own.prompts, own.completions, sft.completions, strict=True):
        if texts[0] != texts[1]:
            yield Item("evaluate", prompt, texts, [True] * 2, [own.policy, sft.policy]).id


def _rows(item: Item, one: StoredJudgement) -> Iterator[dict[str, Any]]:
    """An answer a row, of both policies where they were rated."""
    own, sft = one.ranks
    share = 0.5 if own == sft else float(own < sft)
    for place, (policy, text) in enumerate(zip(item.policies, item.completions, strict=True)):
        row: dict[str, Any] = {"policy": policy, "prompt": item.prompt, "completion": text}
        row["labeler"] = one.labeler
        if place == 0:
            row |= {"sft": item.completions[1], "people_win_rate": share}
        if one.ratings:
            found = numbers(one.ratings[place])
            row |= {f"people_{name}": value for name, value in found.items()}
        if place == 0 or one.ratings:
            yield row
