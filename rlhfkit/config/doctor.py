"""Options of the doctor during training, under `doctor.<option>`. No torch here."""

from dataclasses import dataclass

from rlhfkit.validators import require_above_zero, require_one_of

ON_ALARM = ("off", "warn", "pause")


@dataclass
class DoctorConfig:
    """What stage rl does when `rlhfkit doctor` would find something; no result depends on it."""

    on_alarm: str = "warn"
    """off never looks, warn prints a line for each thing found, pause also stops the run as SIGTERM
    does: a checkpoint is saved, and the run can be resumed."""

    every: int = 5
    """Iterations from one look to the next."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_one_of(name, self, ON_ALARM, "on_alarm")
        require_above_zero(name, self, "every")
