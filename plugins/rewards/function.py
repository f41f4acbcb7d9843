"""reward=FILE.py:NAME: scores of a function of the user's own, in TRL's signature.

def score(prompts, completions, threshold=3, **kwargs) -> list[float]:
    return [float(len(text.split()) > threshold) for text in completions]
"""

from rlhfkit.context import Context
from rlhfkit.errors import Stopped, UserError
from rlhfkit.online.scoring import finite_numbers
from rlhfkit_plugins.rewards import FunctionConfig
from rlhfkit_plugins.trl_function import TrlFunction


class FunctionReward(TrlFunction):
    """The function, or an object of the class, made when it is first asked."""

    def __init__(self, config: FunctionConfig, context: Context) -> None:
        super().__init__("reward", config, context)

    def try_out(self) -> None:
        """Raise `UserError` unless it gives a finite number for each of two completions."""
        try:
            finite_numbers(self._code.word, super().try_out(), 2)
        except Stopped as error:  # nothing has started
            raise UserError(str(error)) from error
