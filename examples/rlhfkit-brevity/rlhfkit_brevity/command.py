"""`rlhfkit brevity FILE [WORDS]`: the reward of every line of a file, and their mean."""

from pathlib import Path

from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins
from rlhfkit_brevity import BrevityConfig
from rlhfkit_brevity.reward import BrevityReward


def score(arguments: list[str], plugins: Plugins) -> None:
    """Print a line an answer. arguments: the file, and perhaps how many words are short."""
    if not arguments or not Path(arguments[0]).is_file():
        raise UserError("rlhfkit brevity FILE: say which file has the answers, one a line")
    words = int(arguments[1]) if len(arguments) > 1 else BrevityConfig.words
    answers = Path(arguments[0]).read_text(encoding="utf-8").splitlines()
    scores = BrevityReward(BrevityConfig(words), None)([[] for _ in answers], answers)
    for value, answer in zip(scores, answers, strict=True):
        print(f"{value:.2f}  {answer}")
    print(f"{sum(scores) / len(scores):.2f}  mean of {len(scores)}")
