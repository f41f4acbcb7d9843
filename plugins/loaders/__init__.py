"""Model loaders: full parameters, LoRA adapters, and LoRA on a 4-bit base."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rlhfkit import hookimpl
from rlhfkit.component import Component
from rlhfkit.validators import require_above_zero, require_below, require_one_of


@dataclass
class FullConfig:
    """Every parameter is trained; each role is a model of its own."""

    offload_idle: bool = False
    """Keep the reference and the reward model in main memory except while they are used."""


@dataclass
class LoraConfig:
    """Every role is an adapter, with a head where it needs one, on one shared base."""

    lora_r: int = 16
    """Rank of the adapters."""

    lora_alpha: int = 32
    """Scale of the adapters: their product counts lora_alpha / lora_r times."""

    lora_dropout: float = 0.0
    """Dropout on the adapters' inputs while sft and reward models train; rl has none."""

    lora_target_modules: list[str] | None = None
    """Names of the linear layers that get adapters; null takes all of them but the LM head."""

    lora_last_layers: int | None = None
    """Adapters only in this many upper layers; null, or more than there are, takes all."""

    share_lower: bool = True
    """In rl, compute the layers below the adapters once per sequence for all roles and epochs."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "lora_r", "lora_alpha", "lora_last_layers")
        require_below(name, self, 1, "lora_dropout")


@dataclass
class QloraConfig(LoraConfig):
    """LoRA on a base whose weights are kept in 4 bits (Dettmers et al. 2023)."""

    bnb_4bit_quant_type: str = "nf4"
    """How 4 bits are read: nf4 (for normally distributed weights) or fp4."""

    bnb_4bit_use_double_quant: bool = True
    """Quantise the scales of the 4-bit blocks too (Dettmers et al. 2023, section 3)."""

    skip_modules: list[str] = field(default_factory=lambda: ["lm_head"])
    """Modules left unquantised."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_one_of(name, self, ("nf4", "fp4"), "bnb_4bit_quant_type")


@hookimpl
def model_loaders() -> Sequence[Component]:
    return (
        Component("full", FullConfig, "rlhfkit_plugins.loaders.full:FullLoader"),
        Component("lora", LoraConfig, "rlhfkit_plugins.loaders.lora:LoraLoader"),
        Component("qlora", QloraConfig, "rlhfkit_plugins.loaders.lora:QloraLoader"),
    )
