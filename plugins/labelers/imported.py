"""labeler=imported: rankings that people made before the run."""

from collections import Counter
from collections.abc import Sequence

from rlhfkit.context import Context
from rlhfkit.data import sources
from rlhfkit.errors import UserError
from rlhfkit.types import Judgement, Messages, Ranking
from rlhfkit_plugins.labelers import ImportedConfig


class ImportedRankings:
    """Gives the label stage the data's own rankings; has no opinion on anything else."""

    def __init__(self, config: ImportedConfig, context: Context) -> None:
        self._context, self._least = context, config.min_completions

    def rankings(self) -> list[Ranking]:
        """The data's rankings; `UserError` when it has none, or none of so many completions."""
        found = sources.rankings(self._context)
        if not found:
            raise UserError(
                "labeler=imported: no data source has rankings; give data.<source>.rankings, "
                "or choose labeler=simulated or labeler=reward_model"
            )
        kept = [ranking for ranking in found if len(ranking.completions) >= self._least]
        if not kept:
            most = max(len(ranking.completions) for ranking in found)
            raise UserError(
                f"labeler.min_completions={self._least}: the data's rankings have at most {most}"
            )
        few = Counter({f"fewer than {self._least} completions": len(found) - len(kept)})
        sources.report_drops(self._context, "rankings", +few, len(found))
        return kept

    def rank(
        self, prompts: Sequence[Messages], completions: Sequence[Sequence[str]]
    ) -> list[list[Judgement]]:
        """Always a `UserError`: the people who ranked are not here to be asked."""
        raise UserError(
            "labeler=imported: imported rankings cannot judge new completions; choose "
            "labeler=simulated or labeler=reward_model for evaluation"
        )
