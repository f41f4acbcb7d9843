"""evaluator=instructions: constraints that a program can check, in IFEval's form.

What the paper asks labelers as "satisfies the constraint in the instruction" (section 3.6)."""

from collections.abc import Mapping
from typing import Any

from rlhfkit.console import count_of
from rlhfkit.context import Context
from rlhfkit.errors import NotRun
from rlhfkit.types import Evaluation, PolicySamples
from rlhfkit_plugins.evaluators.constraints import constraint, keeps
from rlhfkit_plugins.evaluators.items import Row, first, metrics_of, read_items
from rlhfkit_plugins.evaluators.languages import known
from rlhfkit_plugins.evaluators.options import InstructionsConfig
from rlhfkit_plugins.evaluators.policies import DECODING, Policy, policies, user

COLUMNS = ("prompt", "instruction_id_list", "kwargs")
OPTION = "evaluator.instructions"


class Instructions:
    """`instructions_followed`: the share of prompts all of whose constraints are kept, and
    `constraints_kept`: the mean share of a prompt's constraints; both greedy and sampled. A
    constraint is kept or not by the answer as it stands (IFEval's strict accuracy)."""

    def __init__(self, config: InstructionsConfig, context: Context) -> None:
        self._config, self._context = config, context

    @staticmethod
    def check_run(config: InstructionsConfig, context: Context) -> None:
        """Raise `UserError` for a file that cannot be read."""
        if config.path is not None:
            read_items(f"{OPTION}.path", config.path, COLUMNS)

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """Its independent items are the prompts; those with a constraint that cannot be checked
        are left out, and a note says how many."""
        config = self._config
        every = read_items(f"{OPTION}.path", config.path, COLUMNS)
        rows = [row for row in every if not _unknown(row)]
        notes = _left_out(every)
        if not rows:
            raise NotRun(f"{OPTION}.path={config.path}: {'; '.join(notes)}")
        rows, fewer = first(rows, config.limit, OPTION)
        found = [
            row for policy in policies(self._context, samples) for row in _measure(policy, rows)
        ]
        names = [f"{kind}_{way}" for kind in KINDS for way in DECODING]
        level, resamples = config.confidence_level, config.resamples
        metrics = metrics_of(found, names, level, resamples, self._context.config.seed)
        return Evaluation(metrics, found, dict.fromkeys(names, "higher"), notes + fewer)


KINDS = ("instructions_followed", "constraints_kept")


def _measure(policy: Policy, rows: list[Row]) -> list[Row]:
    found: list[Row] = [{"policy": policy.name, "item": row["prompt"]} for row in rows]
    prompts = [user(row["prompt"]) for row in rows]
    for way in DECODING:
        answers = policy.answers(prompts, way)
        for own, row, answer in zip(found, rows, answers, strict=True):
            kept = [keeps(name, answer, arguments) for name, arguments in _constraints(row)]
            own[f"answer_{way}"], own[f"kept_{way}"] = answer, kept
            own[f"instructions_followed_{way}"] = float(all(kept))
            own[f"constraints_kept_{way}"] = sum(kept) / len(kept)
    return found


def _constraints(row: Row) -> list[tuple[str, dict[str, Any]]]:
    arguments = row["kwargs"] or [{}] * len(row["instruction_id_list"])
    return list(zip(row["instruction_id_list"], arguments, strict=True))


def _unknown(row: Row) -> list[str]:
    """The constraints of a prompt that cannot be checked here."""
    names = [
        name
        for name, arguments in _constraints(row)
        if constraint(name) is None or not known(arguments.get("language") or "en")
    ]
    return names if row["instruction_id_list"] else ["(none)"]


def _left_out(rows: list[Row]) -> list[str]:
    unknown = [found for row in rows if (found := _unknown(row))]
    if not unknown:
        return []
    names = sorted({name for found in unknown for name in found})
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    prompts = count_of(len(rows), "prompt")
    said = f"{len(unknown)} of {prompts} left out: their constraints are not known"
    return [f"{said}: {some}"]
