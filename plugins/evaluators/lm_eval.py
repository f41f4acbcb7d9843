"""evaluator=lm_eval: public benchmarks by lm-evaluation-harness (Gao et al.), the extra `lm-eval`.

Log-likelihood tasks have one number each; tasks that generate are asked twice, greedily and at the
run's temperature, whatever their own generation_kwargs say.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import NormalDist
from typing import Any

import yaml

from rlhfkit.console import count_of
from rlhfkit.context import Context
from rlhfkit.errors import NotRun, UserError, nearest
from rlhfkit.storage.random_state import random_state, set_random_state
from rlhfkit.types import Evaluation, Metric, PolicySamples
from rlhfkit_plugins.evaluators.items import Row
from rlhfkit_plugins.evaluators.options import LmEvalConfig
from rlhfkit_plugins.evaluators.policies import DECODING, Policy, policies

OPTION = "evaluator.lm_eval"
_CODE = ("include", "class", "unsafe_code")
"""Keys of a task file that bring code along."""


@dataclass(frozen=True)
class _Asked:
    """A task with what it is asked, made once for all policies."""

    name: str
    task: Any
    endings: tuple[str, ...]
    """What names of metrics end with: a way of decoding for tasks that generate."""


class LmEval:
    """`<task>_<metric>`, with the filter's name where a task has several and `_greedy` or
    `_sampled` where it generates; intervals are of the normal distribution, from the harness's own
    standard errors."""

    def __init__(self, config: LmEvalConfig, context: Context) -> None:
        self._config, self._context = config, context

    @staticmethod
    def check_run(config: LmEvalConfig, context: Context) -> None:
        """Raise `UserError` without the extra, for task files with code and for unknown names."""
        if find_spec("lm_eval") is None:
            raise UserError(
                "evaluator=lm_eval needs the library lm-evaluation-harness: "
                "pip install 'rlhfkit[lm-eval]'"
            )
        for task in config.tasks:
            if _is_file(task):
                task_file(task)
        names = [task for task in config.tasks if not _is_file(task)]
        if names:
            known = _task_manager(defaults=True).all_tasks
            for name in set(names) - {*known}:
                raise UserError(f"{OPTION}.tasks: no task '{name}'; {nearest(name, known)}")

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """One policy in memory at a time; tasks whose data cannot be had are told in notes. The
        harness sets every global seed, and they are set back."""
        state = random_state()
        try:
            return self._evaluate(samples)
        finally:
            set_random_state(state)

    def _evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        asked, notes = self._tasks()
        if not asked:
            raise NotRun("; ".join(notes) or f"{OPTION}.tasks names none")
        metrics: dict[str, dict[str, Metric]] = {}
        rows: list[Row] = []
        better: dict[str, Any] = {}
        for policy in policies(self._context, samples):
            for item in asked:
                for ending in item.endings:
                    found = self._ask(policy, item, ending)
                    numbers = _numbers(found, item.name, ending, self._config.confidence_level)
                    metrics.setdefault(policy.name, {}).update(numbers)
                    rows += _rows(found, policy.name, item.name, ending)
                    better |= _better(found, item.name, numbers)
        return Evaluation(metrics, rows, better, notes + self._fewer(asked))

    def _tasks(self) -> tuple[list[_Asked], list[str]]:
        config, asked, notes = self._config, list[_Asked](), list[str]()
        manager = _task_manager(defaults=not all(map(_is_file, config.tasks)))
        for name in config.tasks:
            try:
                loaded = manager.load([task_file(name) if _is_file(name) else name])
            except UserError:
                raise
            except Exception as error:  # of datasets, of the hub or of the connection
                notes.append(f"task {name} not run: {' '.join(str(error).split())[:200]}")
                continue
            asked += [_asked(key, task) for key, task in loaded["tasks"].items()]
        return asked, notes

    def _ask(self, policy: Policy, item: _Asked, ending: str) -> dict[str, Any]:
        """The harness's results of one task."""
        from lm_eval import simple_evaluate

        from rlhfkit_plugins.evaluators.harness_model import HarnessModel

        config, seed = self._config, self._context.config.seed
        found: dict[str, Any] = simple_evaluate(
            model=HarnessModel(policy, ending or "greedy"),
            tasks=[item.task],
            num_fewshot=config.num_fewshot,
            limit=config.limit,
            bootstrap_iters=config.resamples,
            apply_chat_template=config.apply_chat_template,
            system_instruction=config.system_instruction,
            task_manager=_task_manager(defaults=False),
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
        return found

    def _fewer(self, asked: list[_Asked]) -> list[str]:
        limit = self._config.limit
        counts = {item.name: len(list(item.task.eval_docs)) for item in asked if limit}
        return [
            f"{name}: {count_of(count, 'item')}, where {OPTION}.limit={limit} asks for more"
            for name, count in counts.items()
            if limit is not None and count < limit
        ]


def task_file(path: str) -> dict[str, Any]:
    """A task of the user's own; `UserError` for one that would run code."""
    file = Path(path)
    try:
        task = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{OPTION}.tasks: {file}: {error}") from error
    except yaml.YAMLError as error:
        reason = "it names a !function, which is code" if "!function" in str(error) else str(error)
        raise UserError(f"{OPTION}.tasks: {file}: {' '.join(reason.split())}") from error
    if not isinstance(task, dict) or not isinstance(task.get("task"), str):
        raise UserError(f"{OPTION}.tasks: {file}: a task file has `task: NAME`")
    metrics = [entry for entry in task.get("metric_list") or [] if isinstance(entry, dict)]
    for key in (*_CODE, *("hf_evaluate" for entry in metrics if entry.get("hf_evaluate"))):
        if key in task or key == "hf_evaluate":
            raise UserError(f"{OPTION}.tasks: {file}: `{key}` may run code, so it is not taken")
    return task


def _is_file(task: str) -> bool:
    return task.lower().endswith((".yaml", ".yml"))


def _asked(name: str, task: Any) -> _Asked:
    generates = task.get_config("output_type") == "generate_until"
    return _Asked(name, task, DECODING if generates else ("",))


@cache
def _task_manager(*, defaults: bool) -> Any:
    """One that knows the harness's own tasks only where they are needed: it reads all of their
    files, for half a minute."""
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of every default it takes
    return TaskManager(include_defaults=defaults)


def _numbers(found: Mapping[str, Any], task: str, ending: str, level: float) -> dict[str, Metric]:
    """What the harness calls `acc,none` and `acc_stderr,none`; a number without a standard error
    has no interval and is left to the rows."""
    results = found["results"][task]
    count = int(found["n-samples"][task]["effective"])
    width = NormalDist().inv_cdf((1 + level) / 2)
    numbers = {}
    for key, value in results.items():
        metric, _, filtered = key.partition(",")
        error = results.get(f"{metric}_stderr,{filtered}")
        if filtered and isinstance(value, float) and isinstance(error, float):
            low, high = value - width * error, value + width * error
            numbers[_name(task, metric, filtered, ending)] = Metric(value, low, high, count, level)
    return numbers


def _name(task: str, metric: str, filtered: str, ending: str) -> str:
    parts = (task, metric, "" if filtered == "none" else filtered, ending)
    return "_".join(part for part in parts if part)


def _better(found: Mapping[str, Any], task: str, numbers: Mapping[str, Metric]) -> dict[str, str]:
    """Which way is better, as the task says of its metrics."""
    ways = {True: "higher", False: "lower"}
    told = found["higher_is_better"].get(task, {})
    return {
        name: ways[higher]
        for metric, higher in told.items()
        for name in numbers
        if higher in ways and name.startswith(f"{task}_{metric}")
    }


def _rows(found: Mapping[str, Any], policy: str, task: str, ending: str) -> list[Row]:
    return [
        {
            "policy": policy,
            "item": f"{task} {sample['doc_id']}",
            "target": str(sample["target"]),
            f"answer{ending and '_' + ending}": str(sample["filtered_resps"][0]),
        }
        | {
            _name(task, metric, sample["filter"], ending): float(sample[metric])
            for metric in sample["metrics"]
            if isinstance(sample.get(metric), int | float)
        }
        for sample in found["samples"][task]
    ]
