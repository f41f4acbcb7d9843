"""What InstructGPT (Ouyang et al. 2022, appendix E) found for options that sweeps vary."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PaperCurve:
    """Another model, other data and other judges: only the shape can be compared."""

    finding: str

    points: dict[float, float] = field(default_factory=dict)
    """By the option's value, a number on a scale of its own."""

    scale: str = ""

    starts: float | None = None
    """The least value that does what the finding says."""


PAPER = {
    "kl.kl_coef": PaperCurve(
        "The paper, 1.3B, human ratings: the best beta is 0.01 to 0.02; Likert score by beta, read "
        "off its figure.",
        {0.0: 2.14, 7.5e-4: 3.03, 0.01: 4.12, 0.02: 3.90, 0.14: 3.74, 2.0: 3.12},
        "Likert score (1 to 7) in the paper, 1.3B",
    ),
    "optimizer.ptx_coef": PaperCurve(
        "The paper, 1.3B: gamma of 20 or more recovers the regressions on SQuADv2 and DROP; "
        "beta = 2.0 without the mix does not.",
        starts=20.0,
    ),
}
"""By the option's name in `stage.json`."""
