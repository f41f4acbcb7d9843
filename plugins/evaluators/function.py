"""evaluator=FILE.py:NAME: a number per answer, of a function that could be a reward too.

def words(completions, **kwargs) -> list[float]:
    return [len(text.split()) for text in completions]
"""

from collections.abc import Mapping
from typing import Any

from rlhfkit.context import Context
from rlhfkit.errors import Stopped, UserError
from rlhfkit.intervals import by_prompt, interval, item_rows
from rlhfkit.online.scoring import ask, finite_numbers
from rlhfkit.protocols import Evaluator
from rlhfkit.types import Evaluation, PolicySamples
from rlhfkit_plugins.evaluators import FunctionConfig
from rlhfkit_plugins.evaluators.statistics import reward_columns
from rlhfkit_plugins.trl_function import TrlFunction


def build(config: FunctionConfig, context: Context) -> Evaluator:
    """The function as an evaluator, or an object of the class."""
    code = config.user_code
    target = code.load()
    if not isinstance(target, type):
        return FunctionEvaluator(config, context)
    with code.named_in_errors("evaluator"):
        evaluator: Evaluator = target(**config.options)
    return evaluator


class FunctionEvaluator:
    """Gives every policy a metric of the component's name: the mean over prompts of the function's
    numbers."""

    def __init__(self, config: Any, context: Context) -> None:
        self._config, self._context = config, context
        self._function = TrlFunction("evaluator", config, context)

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """The function is asked for each policy's answers."""
        config, name = self._config, self._config.name
        metrics, rows = {}, []
        for policy, own in samples.items():
            columns = reward_columns(self._context, own)
            values = ask(name, self._function, own.prompts, own.completions, columns, "evaluator")
            numbers = by_prompt(own, values)
            metrics[policy] = {
                name: interval(
                    numbers, config.confidence_level, config.resamples, self._context.config.seed
                )
            }
            rows += item_rows(own, **{name: values})
        return Evaluation(metrics, rows)

    def try_out(self) -> None:
        """Raise `UserError` unless it gives a finite number for each of two completions."""
        try:
            finite_numbers(self._config.name, self._function.try_out(), 2, "evaluator")
        except Stopped as error:  # nothing has started
            raise UserError(str(error)) from error
