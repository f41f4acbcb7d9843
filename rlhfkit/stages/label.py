"""Stage label: rankings of the sampled completions, or rankings that came with the data.

1. read completions  2. ask the labelers  3. measure how far they agree  4. write rankings

Writes: rankings.jsonl (a row per prompt and labeler), agreement.json (its `details` are
`rlhfkit.labelling.agreement.Agreement`), metrics.jsonl. Source:
InstructGPT, section 3.4 (agreement between labelers) and figure 12 (ties are allowed).
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rlhfkit.console import console, count_of, progress_bar
from rlhfkit.context import Context
from rlhfkit.data.artifacts import stored_completions
from rlhfkit.labelling.agreement import Agreement, measure
from rlhfkit.labelling.judged import Judged
from rlhfkit.plugin_calls import judgements_of
from rlhfkit.protocols import Labeler
from rlhfkit.reporting import Reporter
from rlhfkit.stages.completions import PROMPTS_AT_ONCE
from rlhfkit.storage.catalogue import AGREEMENT_FILE, COMPLETIONS_FILE, RANKINGS_FILE
from rlhfkit.storage.run_dir import write_json, write_jsonl
from rlhfkit.storage.state_file import load_state, save_state
from rlhfkit.types import Completions, Judgement, Ranking

_STATE_FILE = "judgements.safetensors"


def run(context: Context) -> None:
    """Write rankings and the labelers' agreement."""
    labeler = context.build("labeler")
    if hasattr(labeler, "rankings"):
        rankings = labeler.rankings()
        judged = _by_prompt(rankings)
    else:
        rankings, judged = _ask(context, labeler)
    found = measure([one for item, pool in enumerate(judged) for one in _named(item, pool)])
    write_jsonl(context.stage_dir / RANKINGS_FILE, [asdict(ranking) for ranking in rankings])
    share = found.agreement.value if found.agreement else None
    numbers = {"agreement": share, "pairs": found.pairs, "tied_pairs": found.tied_pairs}
    write_json(context.stage_dir / AGREEMENT_FILE, {**numbers, "details": asdict(found)})
    with Reporter(context) as reporter:
        known = {name: value for name, value in numbers.items() if value is not None}
        reporter.log(len(rankings), known)
    _tell(rankings, found)


def _ask(context: Context, labeler: Any) -> tuple[list[Ranking], list[list[Judgement]]]:
    """The rankings to train on, and for the prompts that agreement is measured on those of two
    labelers."""
    config = context.config.stage.label
    rows = stored_completions(context.output_of("sample", COMPLETIONS_FILE))
    judgements = _judge(context, labeler, rows)
    rankings = [
        Ranking(row.prompt, row.completions, judged.ranks, row.finished, judged.labeler)
        for index, (row, pool) in enumerate(zip(rows, judgements, strict=True))
        for judged in _turn(pool, index, config.labels_per_prompt)
    ]
    overlap = [_turn(pool, index, 2) for index, pool in enumerate(judgements)]
    return rankings, overlap[: config.overlap_prompts]


def _judge(context: Context, labeler: Labeler, rows: list[Completions]) -> list[list[Judgement]]:
    """Judgements of every prompt by every labeler; a stopped stage resumes where it was."""
    found = context.checkpoints.load(of_any_number=True)
    judgements: list[list[Judgement]] = []
    if found is not None:
        saved = load_state(found / _STATE_FILE)
        judgements = [[Judgement(**row) for row in pool] for pool in saved]
    with progress_bar("label", len(rows), len(judgements)) as bar:
        while len(judgements) < len(rows):
            part = rows[len(judgements) : len(judgements) + PROMPTS_AT_ONCE]
            prompts, texts = [row.prompt for row in part], [row.completions for row in part]
            judgements += judgements_of(labeler, prompts, texts)
            bar.advance(len(part))
            parts = -(-len(judgements) // PROMPTS_AT_ONCE)
            context.checkpoints.save_if_due(parts, partial(_save, judgements))
    return judgements


def _save(judgements: list[list[Judgement]], folder: Path) -> None:
    save_state(folder / _STATE_FILE, [[asdict(one) for one in pool] for pool in judgements])


def _turn(pool: list[Judgement], index: int, count: int) -> list[Judgement]:
    """Labelers take turns: `count` neighbours of the pool, moving on with every prompt."""
    return [pool[(index + offset) % len(pool)] for offset in range(min(count, len(pool)))]


def _by_prompt(rankings: list[Ranking]) -> list[list[Judgement]]:
    """Imported rankings of the same completions, gathered."""
    gathered: dict[str, list[Judgement]] = {}
    for ranking in rankings:
        key = repr((ranking.prompt, ranking.completions))
        gathered.setdefault(key, []).append(Judgement(ranking.ranks, ranking.labeler))
    return list(gathered.values())


def _named(item: int, pool: list[Judgement]) -> list[Judged]:
    """Who ranked an item once more under the same name was asked again; labelers without a name are
    different ones."""
    names = [judgement.labeler or f"unnamed {place}" for place, judgement in enumerate(pool, 1)]
    return [
        Judged(name, str(item), judgement.ranks, repeat=name in names[:place])
        for place, (name, judgement) in enumerate(zip(names, pool, strict=True))
    ]


def _tell(rankings: list[Ranking], found: Agreement) -> None:
    completions = sum(len(ranking.ranks) for ranking in rankings)
    labelers = sorted({ranking.labeler for ranking in rankings})
    names = ", ".join(labelers) if len(labelers) <= 8 else f"{len(labelers)} labelers"
    made = f"{count_of(len(rankings), 'ranking')} of {count_of(completions, 'completion')}"
    console.print(f"  {made} by {names}")
    if found.agreement is not None:
        share, pairs = found.agreement.value, count_of(found.pairs, "pair")
        console.print(f"  labelers agree on {share:.1%} of {pairs}")
