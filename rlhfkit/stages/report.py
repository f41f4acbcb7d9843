"""Stage report: what the run did, as one page with tables and a plot.

Writes: report.md, reward_vs_kl.png; figure_1.png where few shots, overoptimization.png where a gold
reward was measured.
"""

from pathlib import Path
from typing import Any

from rlhfkit import figures
from rlhfkit.console import console
from rlhfkit.context import Context
from rlhfkit.data.prepared import COUNTS_FILE, PARTS, STAGE, TEST, TRAIN, VALIDATION
from rlhfkit.figures import gold_curves, headline
from rlhfkit.reporting import Metrics, read_metrics, shown
from rlhfkit.stages.evaluate import ROWS, metrics_table
from rlhfkit.storage.run_dir import as_written, read_json, read_jsonl
from rlhfkit.types import SPLITS, Metric


def run(context: Context) -> None:
    """Write the page; stages that did not run are left out of it."""
    metrics = read_metrics(context.run_dir)
    curves = gold_curves.read(context)
    pictures = (
        _plot(context)
        | dict.fromkeys(headline.draw(context, metrics), "win rates")
        | dict.fromkeys(gold_curves.draw(context, curves), "gold and proxy reward")
    )
    lines = [f"# {context.config.run_name}", "", *_header(context), "", *_stages(context)]
    lines += _prepared(context)
    if metrics:
        lines += ["", "## Held-out prompts", "", *_metrics_lines(metrics)]
    lines += gold_curves.table(curves)
    lines += [f"\n![{words}]({picture.name})" for picture, words in pictures.items()]
    lines += _examples(context)
    page = context.stage_dir / "report.md"
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    console.print(_stage_table(context))
    if metrics:
        console.print(metrics_table(metrics))
    written = [f"  report: {page}", *(f"  plot: {picture}" for picture in pictures)]
    console.print("\n".join(written), markup=False)


def _header(context: Context) -> list[str]:
    config = context.config
    labeler = config.labeler.name
    return [
        f"Model {config.model.path}, loader {config.loader.name}, optimizer "
        f"{config.optimizer.name}, KL {config.kl.name}, labeler {labeler}, seed {config.seed}.",
        "A small-scale run: its numbers say that the loop works, not how good a model is."
        if labeler == "simulated"
        else "",
    ]


def _metrics_lines(metrics: Metrics) -> list[str]:
    names = list(dict.fromkeys(name for found in metrics.values() for name in found))
    lines = [f"| policy | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for policy, found in metrics.items():
        cells = " | ".join(shown(found.get(name)) for name in names)
        lines.append(f"| {policy} | {cells} |")
    return lines


def _summaries(context: Context) -> list[tuple[str, float, str]]:
    """(stage, seconds, what it did) for every finished stage."""
    found = []
    for stage, describe in _DESCRIBE.items():
        record = context.run_dir.record(stage)
        if record is not None:
            path = context.run_dir.stage_dir(stage)
            with as_written(path):
                found.append((stage, record.seconds, describe(path)))
    return found


def _stages(context: Context) -> list[str]:
    rows = [f"| {stage} | {seconds:.0f} | {text} |" for stage, seconds, text in _summaries(context)]
    return ["| stage | seconds | result |", "|---|---|---|", *rows]


def _stage_table(context: Context) -> Any:
    from rich.table import Table

    table = Table("stage", "seconds", "result")
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


def _prepare(path: Path) -> str:
    parts = {part: (path / part).glob("*.jsonl") for part in PARTS}
    counts = {part: sum(len(read_jsonl(file)) for file in files) for part, files in parts.items()}
    return ", ".join(f"{count} rows to {_USES[part]}" for part, count in counts.items() if count)


def _sft(path: Path) -> str:
    losses = [row["eval_loss"] for row in read_jsonl(path / "metrics.jsonl") if "eval_loss" in row]
    return f"validation loss {losses[-1]:.3f}" if losses else "trained"


def _sample(path: Path) -> str:
    rows = read_jsonl(path / "completions.jsonl")
    count = sum(len(row["completions"]) for row in rows)
    ended = sum(sum(row["finished"]) for row in rows)
    return f"{count} completions of {len(rows)} prompts, {ended / count:.0%} ended by themselves"


def _label(path: Path) -> str:
    agreement = read_json(path / "agreement.json")
    count = len(read_jsonl(path / "rankings.jsonl"))
    if agreement["agreement"] is None:
        return f"{count} rankings"
    return f"{count} rankings, labelers agree on {agreement['agreement']:.1%} of pairs"


def _reward_model(path: Path) -> str:
    result = read_json(path / "result.json")
    if result["validation_accuracy"] is None:
        return "trained, no validation prompts"
    return (
        f"validation accuracy {result['validation_accuracy']:.1%} on "
        f"{result['validation_pairs']} pairs of {result['validation_prompts']} prompts"
    )


def _rl(path: Path) -> str:
    rows = [row for row in read_jsonl(path / "metrics.jsonl") if "objective/scores" in row]
    if not rows:
        return "trained offline"
    first, last = rows[0], rows[-1]
    return (
        f"score {first['objective/scores']:.2f} to {last['objective/scores']:.2f}, "
        f"KL {last['objective/kl']:.1f} nats after {last['episode']:.0f} episodes"
    )


def _evaluate(path: Path) -> str:
    metrics = read_json(path / "metrics.json")
    files = ", ".join(f"`{file.name}`" for file in sorted((path / ROWS).glob("*.jsonl")))
    rows = f"; answer by answer in evaluate/{ROWS}: {files}" if files else ""
    if "win_rate" not in metrics.get("rl", {}):
        return f"measured{rows}"
    return f"policy preferred to SFT: {shown(Metric(**metrics['rl']['win_rate']))}{rows}"


_USES = {TRAIN: "train on", VALIDATION: "validate on", TEST: "test on"}
_DESCRIBE = {
    "prepare": _prepare,
    "sft": _sft,
    "rl_sft": _sft,
    "sample": _sample,
    "label": _label,
    "reward_model": _reward_model,
    "rl": _rl,
    "evaluate": _evaluate,
}


def _plot(context: Context) -> dict[Path, str]:
    """Reward against KL over the iterations of an online optimizer."""
    path = context.run_dir.stage_dir("rl") / "metrics.jsonl"
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
    path = context.run_dir.stage_dir("evaluate") / "samples.jsonl"
    with as_written(path):
        rows = read_jsonl(path) if path.exists() else []
        prompts = list(dict.fromkeys(row["prompt"][-1]["content"] for row in rows))[:count]
        lines = ["", "## Examples"] if prompts else []
        for prompt in prompts:
            lines += ["", f"**{prompt}**", ""]
            lines += [
                f"- {row['policy']}: {row['completion']}"
                for row in rows
                if row["prompt"][-1]["content"] == prompt
            ]
    return lines
