"""Models answer prompts, one after the other; a stage that was stopped goes on where it was."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rlhfkit.console import progress_bar
from rlhfkit.context import Context
from rlhfkit.distributed import processes
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.sampling import sampler_for
from rlhfkit.reporting import Reporter
from rlhfkit.storage.state_file import load_state, save_state
from rlhfkit.trainers.nonfinite import NonFiniteGuard
from rlhfkit.types import Ends, Response

PROMPTS_AT_ONCE = 64
"""Prompts of a process between two movements of the bar, and two places to go on from."""

_STATE_FILE = "answers.safetensors"


class CompletionSampler:
    """Those of one stage; a model that has answered all prompts is not loaded again."""

    def __init__(self, context: Context, reporter: Reporter, seed: int | None = None) -> None:
        """seed: the run's unless told."""
        self._context, self._reporter = context, reporter
        self._given: dict[str, list[Response]] = {}
        self._at_once = PROMPTS_AT_ONCE * processes.world_size()
        self._generator = processes.generator(
            context.config.seed if seed is None else seed, context.device
        )
        found = context.checkpoints.load()
        if found is not None:
            state = load_state(found / _STATE_FILE)
            self._generator.set_state(state["generators"][processes.rank()])
            self._given = {
                name: [Response(**row) for row in rows] for name, rows in state["given"].items()
            }

    def of(
        self,
        name: str,
        load: Callable[[], LanguageModel],
        prompts: Sequence[Sequence[int]],
        ends: Ends,
    ) -> list[Response]:
        """A model's answer to each prompt (token ids), drawn from the run's seed."""
        given = self._given.setdefault(name, [])
        if len(given) == len(prompts):
            return given
        if not given:
            self._generator.manual_seed(self._generator.initial_seed())
        model = load()
        sampler = sampler_for(self._context, model)
        with progress_bar(f"{self._context.stage} {name}", len(prompts), len(given)) as bar:
            while len(given) < len(prompts):
                part = prompts[len(given) : len(given) + self._at_once]
                drawn = processes.map_sharded(
                    lambda rows: sampler.sample(model, rows, ends, self._generator), part
                )
                NonFiniteGuard(self._context).require_responses(name, drawn)
                given += drawn
                numbers = {
                    "tokens": sum(len(item.ids) for item in drawn) / len(drawn),
                    "finished": sum(item.ended for item in drawn) / len(drawn),
                }
                bar.count_tokens(sum(len(item.ids) for item in drawn))
                bar.advance(len(part), numbers)
                self._reporter.log(len(given), {f"{name}/{key}": numbers[key] for key in numbers})
                self._context.checkpoints.save_if_due(self._parts(), self._save)
        return given

    def _parts(self) -> int:
        return sum(-(-len(rows) // self._at_once) for rows in self._given.values())

    def _save(self, folder: Path) -> None:
        given = {name: [vars(row) for row in rows] for name, rows in self._given.items()}
        generators = processes.gather([self._generator.get_state()])
        state = {"given": given, "generators": generators}
        save_state(folder / _STATE_FILE, state)
