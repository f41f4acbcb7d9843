"""labeler=people: what people said in the browser, `rlhfkit label RUN`."""

from collections.abc import Sequence
from pathlib import Path

from rlhfkit.context import Context
from rlhfkit.data.artifacts import stored_completions
from rlhfkit.errors import UserError
from rlhfkit.labelling.submission import Refused
from rlhfkit.labelling.training import rankings_of
from rlhfkit.plugin_calls import judgements_of
from rlhfkit.storage.catalogue import COMPLETIONS_FILE
from rlhfkit.types import Judgement, Messages, Ranking
from rlhfkit_plugins.labelers import PeopleConfig, SimulatedConfig
from rlhfkit_plugins.labelers.simulated import SimulatedLabelers


class PeopleRankings:
    """Gives the label stage the rankings that were made on the page."""

    def __init__(self, config: PeopleConfig, context: Context) -> None:
        self._config, self._context = config, context

    @staticmethod
    def check_run(config: PeopleConfig, context: Context) -> None:
        """Raise `UserError` where nobody has ranked anything yet."""
        _read(config.file(context.run_dir.root))

    def rankings(self) -> list[Ranking]:
        """People's, and with `with_simulated` those of the simulated labelers behind them."""
        people = _read(self._config.file(self._context.run_dir.root))
        return people + (self._simulated() if self._config.with_simulated else [])

    def rank(
        self, prompts: Sequence[Messages], completions: Sequence[Sequence[str]]
    ) -> list[list[Judgement]]:
        """Always a `UserError`: the people who ranked are not here to be asked."""
        raise UserError(
            "labeler=people: people judge new completions in the browser alone: rlhfkit label RUN "
            "--of evaluate; for a judge that is always there choose labeler=simulated"
        )

    def _simulated(self) -> list[Ranking]:
        rows = stored_completions(self._context.output_of("sample", COMPLETIONS_FILE))
        labelers = SimulatedLabelers(SimulatedConfig(), self._context)
        prompts, texts = [row.prompt for row in rows], [row.completions for row in rows]
        return [
            Ranking(row.prompt, row.completions, judged.ranks, row.finished, judged.labeler)
            for row, pool in zip(rows, judgements_of(labelers, prompts, texts), strict=True)
            for judged in pool
        ]


def _read(path: Path) -> list[Ranking]:
    try:
        found = rankings_of(path)
    except Refused as error:
        raise UserError(f"{path}: {error.reason}") from error
    if not found:
        raise UserError(
            f"labeler=people: nobody has ranked anything in {path.parent}: open the page with "
            f"rlhfkit label {path.parent}"
        )
    return found
