"""Stage report: what the run did, as one page with tables and a plot.

Writes: report.md, reward_vs_kl.png; figure_1.png where few shots, overoptimization.png where a gold
reward was measured, frontier.png where stage rl compared policies, rounds.png from round 2 on. In
the run's directory: report.html, for a browser, and report.json.
"""

from pathlib import Path

from rich.table import Table

from rlhfkit import figures
from rlhfkit.console import console, text_table
from rlhfkit.context import Context
from rlhfkit.data.prepared import STAGE
from rlhfkit.figures import comparison, frontier, gold_curves, headline, rounds
from rlhfkit.figures.win_matrix import read_win_matrix, win_lines
from rlhfkit.labelling import tables
from rlhfkit.labelling.agreement import Agreement
from rlhfkit.pages.contents import read_agreement, read_run
from rlhfkit.pages.page import write
from rlhfkit.pages.people import people_lines
from rlhfkit.pages.ratings import rating_lines
from rlhfkit.pages.tax import tax_lines, tax_rows
from rlhfkit.pages.verdict import TOY_TASTES, verdict
from rlhfkit.reporting import (
    Metrics,
    counts,
    evaluation_notes,
    read_metrics,
    read_tax,
    shown,
    toy_tastes,
)
from rlhfkit.stages.registry import stages_of
from rlhfkit.storage.catalogue import COUNTS_FILE, METRICS_FILE, SAMPLES_FILE
from rlhfkit.storage.run_dir import as_written, read_json, read_jsonl
from rlhfkit.types import SPLITS


def run(context: Context) -> None:
    """Write the page; stages that did not run are left out of it."""
    metrics = read_metrics(context.run_dir)
    curves = gold_curves.read(context)
    pictures = (
        _plot(context)
        | dict.fromkeys(headline.draw(context, metrics), "win rates")
        | dict.fromkeys(gold_curves.draw(context, curves), "gold and proxy reward")
        | dict.fromkeys(frontier.draw(context), "policies that were compared, and the one kept")
        | _drawn_rounds(context)
    )
    lines = [f"# {context.config.run_name}", "", *_header(context), "", *_stages(context)]
    lines += _prepared(context)
    if metrics:
        lines += ["", "## Held-out prompts", "", *_metrics_lines(metrics)]
        lines += win_lines(read_win_matrix(context.run_dir))
        lines += tax_lines(tax_rows(metrics, read_tax(context.run_dir)))
    lines += ["", *(f"* {note}" for note in evaluation_notes(context.run_dir))]
    contents = read_run(context.run_dir, stages_of(context.plugins))
    people = contents.people
    lines += people_lines(people, metrics)
    lines += rating_lines(contents.rated)
    lines += _agreement("How far labelers agree", read_agreement(context.run_dir))
    lines += _agreement("How far people agree", people.agreement if people else None)
    lines += _rounds(context)
    lines += gold_curves.table(curves)
    lines += [f"\n![{words}]({picture.name})" for picture, words in pictures.items()]
    lines += _examples(context)
    page = context.stage_dir / "report.md"
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    console.print(_stage_table(context))
    console.print("\n".join(verdict(contents)), markup=False)
    overview = write([contents], context.run_dir.root)
    written = [
        f"  for a browser: {overview}",
        f"  report: {page}",
        *(f"  plot: {picture}" for picture in pictures),
    ]
    console.print("\n".join(written), markup=False)


def _header(context: Context) -> list[str]:
    config = context.config
    labeler = config.labeler.name
    warning = [TOY_TASTES, ""] if toy_tastes(labeler, config.data) else []
    return [
        *warning,
        f"Model {config.model.path}, loader {config.loader.name}, optimizer "
        f"{config.optimizer.name}, KL {config.kl.name}, labeler {labeler}, seed {config.seed}.",
        "A small-scale run: its numbers say that the loop works, not how good a model is."
        if labeler == "simulated"
        else "",
    ]


def _metrics_lines(metrics: Metrics) -> list[str]:
    names = list(dict.fromkeys(name for found in metrics.values() for name in found))
    lines = [f"| metric | n | {' | '.join(metrics)} |", "|---" * (len(metrics) + 2) + "|"]
    for name in names:
        found = [own.get(name) for own in metrics.values()]
        lines.append(f"| {name} | {counts(found)} | {' | '.join(map(shown, found))} |")
    return lines


def _summaries(context: Context) -> list[tuple[str, float, str]]:
    """(stage, seconds, what it did) for every finished stage."""
    found = []
    for stage in stages_of(context.plugins):
        record = context.run_dir.record(stage.name)
        if record is not None:
            path = context.run_dir.stage_dir(stage.name)
            with as_written(path):
                line = stage.described(path)
            if line is not None:
                found.append((stage.name, record.seconds, line))
    return found


def _stages(context: Context) -> list[str]:
    rows = [f"| {stage} | {seconds:.0f} | {text} |" for stage, seconds, text in _summaries(context)]
    return ["| stage | seconds | result |", "|---|---|---|", *rows]


def _stage_table(context: Context) -> Table:
    table = text_table("stage", "seconds", "result")
    for stage, seconds, text in _summaries(context):
        table.add_row(stage, f"{seconds:.0f}", text)
    return table


def _prepared(context: Context) -> list[str]:
    """The rows that each step of the stage prepare left."""
    path = context.run_dir.stage_dir(STAGE) / COUNTS_FILE
    if not path.exists():
        return []
    steps = read_json(path)
    with as_written(path):
        kinds = [kind for kind in SPLITS if any(kind in step for step in steps)]
        lines = ["", "## Data", "", f"| rows after | {' | '.join(kinds)} |"]
        lines.append("|---" * (len(kinds) + 1) + "|")
        for step in steps:
            cells = " | ".join(str(step.get(kind, "")) for kind in kinds)
            lines.append(f"| {step['step']} | {cells} |")
    return lines


def _agreement(title: str, found: Agreement | None) -> list[str]:
    """How far labelers agree, and each of them with the rest."""
    if found is None:
        return []
    summary = [f"| {name} | {value} |" for name, value in tables.summary(found)]
    rows = [
        f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
        for row in (tables.HEAD, ["---"] * len(tables.HEAD), *tables.labelers(found))
    ]
    return [
        "",
        f"## {title}",
        "",
        "| measure | value |",
        "|---|---|",
        *summary,
        "",
        *rows,
    ]


def _rounds(context: Context) -> list[str]:
    """This round and those before it."""
    found = rounds.points(context.run_dir)
    if not found:
        return []
    rows = [rounds.HEAD, ["---"] * len(rounds.HEAD), *rounds.table(found)]
    return ["", "## Rounds", "", *(f"| {' | '.join(row)} |" for row in rows)]


def _drawn_rounds(context: Context) -> dict[Path, str]:
    found = rounds.points(context.run_dir)
    picture = context.stage_dir / "rounds.png"
    evaluated = len(found) > 1 and all("sft" in point.metrics for point in found)
    return {picture: "round by round"} if evaluated and comparison.draw(found, picture) else {}


def _plot(context: Context) -> dict[Path, str]:
    """Reward against KL over the iterations of an online optimizer."""
    path = context.run_dir.stage_dir("rl") / METRICS_FILE
    with as_written(path):
        rows = read_jsonl(path) if path.exists() else []
        rows = [row for row in rows if "objective/scores" in row]
        kl = [float(row["objective/kl"]) for row in rows]
        scores = [float(row["objective/scores"]) for row in rows]
        episodes = [float(row["episode"]) for row in rows]
    if not rows:
        return {}
    figure, axes = figures.new()
    points = axes.scatter(kl, scores, c=episodes, cmap="viridis", zorder=2)
    axes.plot(kl, scores, color="0.8", linewidth=1, zorder=1)
    figure.colorbar(points, label="episodes")
    axes.set_xlabel("KL to the SFT model (nats per completion)")
    axes.set_ylabel("score")
    axes.set_title(f"{context.config.run_name}: reward against KL during RL")
    return dict.fromkeys(figures.save(context, figure, "reward_vs_kl"), "reward against KL")


def _examples(context: Context, count: int = 5) -> list[str]:
    """The first held-out prompts with every policy's answer."""
    path = context.run_dir.stage_dir("evaluate") / SAMPLES_FILE
    with as_written(path):
        rows = read_jsonl(path) if path.exists() else []
        prompts = list(dict.fromkeys(row["prompt"][-1]["content"] for row in rows))[:count]
        lines = ["", "## Examples"] if prompts else []
        for prompt in prompts:
            lines += ["", *_quoted(prompt)]
            for row in rows:
                if row["prompt"][-1]["content"] == prompt:
                    lines += [f"\n{row['policy']}:", "", *_quoted(row["completion"])]
    return lines


def _quoted(text: str) -> list[str]:
    """What people and models wrote, as a block of code: it is no Markdown of this page."""
    return [f"    {line}" for line in text.splitlines() or [""]]
