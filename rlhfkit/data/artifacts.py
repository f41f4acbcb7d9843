"""What stages wrote for later ones, read again and checked: a file altered since is one line."""

from pathlib import Path

from rlhfkit.context import Context
from rlhfkit.data.split_keys import prompt_key
from rlhfkit.storage.catalogue import RANKINGS_FILE
from rlhfkit.storage.run_dir import as_written, read_jsonl
from rlhfkit.types import Completions, Ranking
from rlhfkit.validators import is_ranking


def stored_completions(path: Path) -> list[Completions]:
    """The completions of stage sample; raises `UserError` for rows that it cannot have written."""
    rows = read_jsonl(path)
    with as_written(path):
        found = [
            Completions(row["prompt"], row["completions"], row["finished"], row["sources"])
            for row in rows
        ]
        for item in found:
            _check(item)
    return found


def stored_rankings(path: Path) -> list[Ranking]:
    """The rankings of stage label; raises `UserError` for rows that it cannot have written."""
    rows = read_jsonl(path)
    with as_written(path):
        found = [Ranking(**row) for row in rows]
        for item in found:
            _check(item)
            if not is_ranking(item.ranks, len(item.completions)):
                raise ValueError(f"ranks {item.ranks!r:.80}")
    return found


def training_rankings(context: Context) -> list[Ranking]:
    """The rankings of stage label, with those of earlier rounds in front of them, each once."""
    own = stored_rankings(context.output_of("label", RANKINGS_FILE))
    if not context.earlier_rounds:
        return own
    folders = [run.stage_dir("label") for run in context.earlier_rounds]
    earlier = [ranking for path in folders for ranking in stored_rankings(path / RANKINGS_FILE)]
    return list({repr(ranking): ranking for ranking in (*earlier, *own)}.values())


def _check(item: Completions | Ranking) -> None:
    prompt_key(item.prompt)
    texts = item.completions
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"completions {texts!r:.80}")
    if [type(flag) for flag in item.finished] != [bool] * len(texts):
        raise ValueError(f"finished {item.finished!r:.80}")
