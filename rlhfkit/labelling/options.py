"""The words of `rlhfkit label`."""

from dataclasses import dataclass
from typing import Literal, get_args

from rlhfkit.errors import UserError, nearest
from rlhfkit.validators import require_above_zero, require_at_least, require_below, require_one_of

Kind = Literal["full", "rank", "pairs"]
Format = Literal["rankings", "trl", "argilla", "labelstudio"]


@dataclass
class LabelOptions:
    """People rank a run's answers in the browser: rlhfkit label RUN, and any of these."""

    kind: str = "full"
    """full: each answer rated alone, then all ranked (InstructGPT, figure 12); rank: ranked only;
    pairs: two at a time."""

    of: str = "sample"
    """sample: the completions of stage sample, to train on; evaluate: each policy's answers beside
    the SFT model's, for the human win rate."""

    name: str = ""
    """What you are called in the judgements, by default your login. What `gold` says is known to be
    right: all others are asked those items and compared."""

    prompts: int | None = None
    """How many items are asked, the first ones."""

    overlap: float = 1.0
    """Labelers per item; 1.2 asks a second one on a fifth of the items."""

    repeats: float = 0.07
    """Share of items that a labeler is asked again, to measure self-agreement."""

    abandoned: float = 30.0
    """Minutes after which an item that was shown and not judged goes to somebody else."""

    guidelines: str = ""
    """A text file with guidelines of your own."""

    host: str = "127.0.0.1"
    """Address to listen on; any but this computer's own needs --invite first."""

    port: int = 8765
    """Port to listen on."""

    hostname: str = ""
    """Name under which labelers open the page, where it is not the host."""

    https: bool = False
    """A proxy with HTTPS stands before the page: links begin with https and cookies need it."""

    until_done: bool = False
    """Stop once nothing is left to rank."""

    invite: str = ""
    """Print the invitation of a labeler of this name, and do not serve."""

    revoke: str = ""
    """End all invitations of a labeler; the judgements stay."""

    results: bool = False
    """Print what was said so far, agreement and win rates, and do not serve."""

    json: bool = False
    """With --results: as JSON."""

    disagreements: bool = False
    """Print where people and the run's other labelers disagree, after stage label."""

    export: str = ""
    """Write the judgements to this file."""

    load: str = ""
    """Add the judgements of this file, which may be of any of the formats."""

    format: str = "rankings"
    """What --export writes: rankings, trl (pairs), argilla or labelstudio."""

    def check(self) -> None:
        """Raise `UserError` for a value outside its meaning."""
        for name, kind in (("kind", Kind), ("format", Format)):
            require_one_of("", self, get_args(kind), name)
        if self.of not in ("sample", "evaluate"):
            raise UserError(f"of={self.of}: {nearest(self.of, ('sample', 'evaluate'))}")
        if self.of == "evaluate" and self.kind == "rank":
            raise UserError(
                "of=evaluate: two policies' answers are compared with --kind pairs or full"
            )
        require_above_zero("", self, "prompts", "abandoned")
        require_at_least("", self, 1, "overlap")
        require_below("", self, 1, "repeats")
        if not 1 <= self.port <= 65535:
            raise UserError(f"port={self.port}: must be from 1 to 65535")
