"""A checkpoint of the rollout loop: after an iteration, or within one with the rollout in hand."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlhfkit.distributed.fsdp import gather_state
from rlhfkit.online.rollout import Rollout
from rlhfkit.storage.checkpoints import Checkpoints
from rlhfkit.storage.state_file import load_state, save_state

if TYPE_CHECKING:
    from rlhfkit.online.loop import OnlineOptimizer

_STATE_FILE = "loop.safetensors"


def save_loop(
    loop: "OnlineOptimizer", iterations: int, rollout: Rollout | None, folder: Path
) -> None:
    """Write a loop that has done so many iterations, and the rollout of the next one if it has it
    already."""
    held = rollout.state_dict() if rollout else None
    state = {"iterations": iterations, "loop": loop.state_dict(), "rollout": held}
    save_state(folder / _STATE_FILE, gather_state(state))


def resume_loop(loop: "OnlineOptimizer", checkpoints: Checkpoints) -> tuple[int, Rollout | None]:
    """Take up the newest checkpoint; gives how many iterations are done, and the rollout of the
    next one."""
    found = checkpoints.load()
    if found is None:
        return 0, None
    state = load_state(found / _STATE_FILE)
    loop.load_state_dict(state["loop"])
    if state["rollout"] is None:
        return state["iterations"], None
    held = Rollout.from_state(state["rollout"], loop.roles.policy.device)
    lower = loop.lower_rows(held.prompt_ids, [response.ids for response in held.responses])
    return state["iterations"], replace(held, lower=lower)
