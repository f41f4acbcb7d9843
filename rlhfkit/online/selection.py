"""Which iteration's policy stage rl keeps: the best of a few on the frontier of reward against KL.

Candidates answer prompts that nothing trains or evaluates on, all with the same luck, and are
scored by a reward that is not trained on, or by the objective. The training itself draws nothing
from these answers: it is the same whatever is kept.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rlhfkit.config.stages import LAST, OBJECTIVE
from rlhfkit.console import console
from rlhfkit.context import Context
from rlhfkit.distributed import processes
from rlhfkit.distributed.fsdp import shard_like
from rlhfkit.errors import UserError, nearest
from rlhfkit.online.rollout import Rollout
from rlhfkit.storage.frontier import Candidate, Frontier
from rlhfkit.storage.state_file import State
from rlhfkit.types import Messages

if TYPE_CHECKING:
    from rlhfkit.online.loop import OnlineOptimizer


def check_selection(context: Context) -> None:
    """Raise `UserError` for a judge that cannot choose."""
    judge = context.config.stage.rl.select_by
    option = f"stage.rl.select_by={judge}"
    if judge == LAST:
        return
    if judge == OBJECTIVE:
        if context.build("kl").coef == 0:
            raise UserError(
                f"{option}: kl={context.config.kl.name} charges nothing at the start, so nothing "
                f"weighs the trained reward against KL; take kl=fixed, or a reward of weight 0"
            )
        return
    if judge not in context.config.reward:
        known = [LAST, OBJECTIVE, *context.config.reward]
        raise UserError(f"{option}: no such reward; {nearest(judge, known)}")
    if context.config.reward[judge].weight != 0:
        raise UserError(
            f"{option}: that reward is trained on, and no judge of what it teaches; take "
            f"reward.{judge}.weight=0 beside another reward, or stage.rl.select_by={OBJECTIVE}"
        )


class PolicySelection:
    """Scores candidates and holds the weights of the one that is kept."""

    def __init__(
        self, loop: "OnlineOptimizer", context: Context, prompts: Sequence[Messages]
    ) -> None:
        self._loop, self._prompts, self._folder = loop, prompts, context.stage_dir
        self._rl, self._seed = context.config.stage.rl, context.config.seed
        self._weights = {name: entry.weight for name, entry in context.config.reward.items()}
        self._coef = (
            loop.kl.coef
        )  # one price of KL for all candidates, whatever the controller does
        iterations = -(-self._rl.total_episodes // self._rl.batch_size)
        wanted = min(self._rl.select_candidates, iterations)
        self._due = {0} | {round(turn * iterations / wanted) for turn in range(1, wanted + 1)}
        self._iterations = iterations
        self._candidates: list[Candidate] = []
        self._kept: list[Tensor] = []
        console.print(
            f"  {len(prompts)} prompts are set apart to choose among {len(self._due)} policies by"
        )

    def consider(self, iteration: int) -> dict[str, float]:
        """Score the policy after this iteration if it is a candidate, and keep its weights if it
        beats all before it; returns metrics."""
        if iteration not in self._due or iteration in [it.iteration for it in self._candidates]:
            return {}
        started = time.perf_counter()
        with self._loop.average.applied():
            candidate = self._score(iteration)
            self._candidates.append(candidate)
            if self._frontier.kept is candidate:
                self._kept = [weight.detach().clone() for weight in self._parameters]
        self._frontier.write(self._folder)
        console.print(
            f"  candidate {len(self._candidates)} of {len(self._due)}, iteration {iteration}: "
            f"{self._rl.select_by} {candidate.described}",
            markup=False,
        )
        seconds = time.perf_counter() - started
        return {"select/score": candidate.score, "select/kl": candidate.kl, "time/select": seconds}

    @torch.no_grad()
    def take(self) -> None:
        """Give the policy the weights that are kept, and say why."""
        for parameter, kept in zip(self._parameters, self._kept, strict=True):
            parameter.copy_(kept)
        console.print(f"  {self._frontier.sentence()}", markup=False, soft_wrap=True)

    def state_dict(self) -> State:
        """Candidates so far, and the weights of the best."""
        found = [vars(candidate) for candidate in self._candidates]
        return {"candidates": found, "kept": self._kept}

    def load_state_dict(self, state: State) -> None:
        """Go on from a state."""
        self._candidates = [Candidate(**row) for row in state["candidates"]]
        places = zip(self._parameters, state["kept"], strict=True)
        self._kept = [shard_like(place, kept.to(place.device)) for place, kept in places]

    @property
    def _frontier(self) -> Frontier:
        return Frontier(self._rl.select_by, self._iterations, self._candidates)

    @property
    def _parameters(self) -> list[Tensor]:
        """The policy's, of which `take` and the checkpoint speak."""
        parameters: list[Tensor] = self._loop.optimizer.param_groups[0]["params"]
        return parameters

    def _score(self, iteration: int) -> Candidate:
        """Answers are drawn a batch of episodes at a time, from the run's seed."""
        generator = processes.generator(self._seed, self._loop.roles.policy.device)
        moments = self._loop.score.state_dict()  # scores of candidates are none of the training's
        scores, kls = [], []
        for start in range(0, len(self._prompts), self._rl.batch_size):
            part = [*self._prompts[start : start + self._rl.batch_size]]
            rollout = self._loop.collect(part, generator)
            self._loop.finite.require("policy", "log-probability", rollout.logprobs)
            kl = rollout.kl.sum(1).cpu()
            scores += self._judged(rollout, kl).tolist()
            kls += kl.tolist()
        self._loop.score.load_state_dict(moments)
        return Candidate(iteration, scores, kls)

    def _judged(self, rollout: Rollout, kl: Tensor) -> Tensor:
        """[B] by a reward that is only measured, or by what is trained on less the price of KL; the
        latter before scores are scaled and clipped, which depends on the batches before."""
        raw = rollout.raw_scores
        if self._rl.select_by != OBJECTIVE:
            return raw[self._rl.select_by]
        total = torch.stack([self._weights[name] * values for name, values in raw.items()]).sum(0)
        cut = torch.tensor([not response.ended for response in rollout.responses])
        return total - self._rl.missing_eos_penalty * cut - self._coef * kl
