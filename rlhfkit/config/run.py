"""The run's typed schema, and how it and every component become Hydra options.

No torch here: this module is imported by `rlhfkit --help`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from datetime import datetime
from typing import Any, cast

from omegaconf import MISSING

from rlhfkit.component import GROUPS
from rlhfkit.config.doctor import DoctorConfig
from rlhfkit.config.gate import GateConfig
from rlhfkit.config.memory_size import read_size
from rlhfkit.config.stages import StageConfigs
from rlhfkit.config.usage import ChatConfig, GenerateConfig, ScoreConfig
from rlhfkit.errors import UserError, nearest
from rlhfkit.stage import Stage
from rlhfkit.validators import require_above_zero, require_below, require_finite, require_one_of

TEMPLATE_DATE = "2026-01-01"

DTYPES = ("float32", "bfloat16", "float16")


@dataclass
class ModelConfig:
    """The language model that everything starts from."""

    path: str = MISSING
    """A local directory or a name on the Hugging Face hub."""

    revision: str | None = None
    """Branch, tag or commit on the hub."""

    chat: bool = True
    """Use the tokenizer's chat template; false for base models and completion-style prompts."""

    chat_template: str | None = None
    """A Jinja chat template in place of the tokenizer's own."""

    chat_template_kwargs: Any = None
    """What the template is given for every prompt, as {enable_thinking: false}; a row's own
    `chat_template_kwargs` come before."""

    template_date: str = TEMPLATE_DATE
    """The date, as YYYY-MM-DD, that templates which write today's are told, so that the same seed
    has the same results tomorrow."""

    stop: list[str] = field(default_factory=list)
    r"""Tokens or texts that end a response beside the model's own ends; \n is a line break."""

    max_prompt_length: int = 512
    """Longest prompt in tokens, template included; longer ones are dropped and counted."""

    dtype: str = "auto"
    """Weights of frozen models: auto (bfloat16 on GPUs that have it, float16 on RTX 20, GTX 16, T4
    and V100, float32 on CPU), float32, bfloat16 or float16."""

    attn_implementation: str | None = None
    """How attention is computed: sdpa, eager, flash_attention_2 or another name of transformers',
    or a kernel of the hub as kernels-community/flash-attn2; null is transformers' choice."""

    share_prompts: bool = True
    """Compute a prompt once for all of its completions in a batch, where that is less work; the
    numbers are the same."""

    trust_remote_code: bool = False
    """Run code that comes with this model, and with no other. Never set by a recipe."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "max_prompt_length")
        if "" in self.stop:
            raise UserError(f"{name}.stop: an empty text would end every response at once")
        require_one_of(name, self, ("auto", *DTYPES), "dtype")
        kwargs = self.chat_template_kwargs
        if kwargs is not None and not isinstance(kwargs, dict):
            raise UserError(
                f"{name}.chat_template_kwargs={kwargs}: must be options of the template, as "
                f"{{enable_thinking: false}}"
            )
        try:
            datetime.fromisoformat(self.template_date)
        except ValueError as error:
            raise UserError(
                f"{name}.template_date={self.template_date}: no date; give it as {TEMPLATE_DATE}"
            ) from error


@dataclass
class ExportConfig:
    """What `rlhfkit export` writes; no stage depends on it."""

    stage: str = "rl"
    """Whose model: sft, reward_model or rl."""

    merged: bool = False
    """Add the adapter to the base's weights and write a whole model; else the adapter alone."""

    to: str | None = None
    """An empty or new directory; null is export/<stage>, <stage>-merged or <stage>-gguf in the
    run's."""

    gguf: str | None = None
    """Write one file for llama.cpp and Ollama, merged, with weights as f32, f16, bf16 or q8_0."""

    push: str | None = None
    """Send the export to this repository of the Hugging Face hub, as in me/my-model."""

    private: bool = True
    """Make the repository a private one where it is not there yet."""

    dry_run: bool = False
    """With `push`: list what would go, and send nothing."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        if self.gguf is not None:
            require_one_of(name, self, ("f32", "f16", "bf16", "q8_0"), "gguf")
        if self.dry_run and self.push is None:
            raise UserError(f"{name}.dry_run: lists what {name}.push=me/my-model would send")


@dataclass
class CheckpointConfig:
    """How often a stage saves what it could go on from; no result depends on it."""

    save_minutes: float | None = 10.0
    """Minutes from one checkpoint to the next, at the first step behind them; null never."""

    save_steps: int | None = None
    """Steps of the stage from one checkpoint to the next, besides; null never."""

    save_total_limit: int = 2
    """How many checkpoints of a stage are kept while it runs."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "save_minutes", "save_steps", "save_total_limit")


@dataclass
class RunConfig:
    """One run: what `rlhfkit --cfg job` prints."""

    run_name: str = MISSING
    """Name of the run, as in run_name=mine."""

    run_dir: str = MISSING
    """Directory of the run; runs/<run_name> unless told."""

    seed: int = 0
    """Seed of everything that is drawn at random."""

    stages: list[str] = MISSING
    """Which stages run, in this order; the others keep what they have."""

    force_from: str | None = None
    """Set the results of this stage and of all after it aside, and run them again."""

    reuse: str | None = None
    """Another run's directory, or one that runs' directories stand in: stages that this run lacks
    and that are finished there, with the same settings and inputs, are taken over."""

    round: int = 1
    """Which round of sampling, ranking and training this run is. From 2 on it goes on from the run
    of the round before: it samples from the best policy so far, and trains on all rankings."""

    previous: str | None = None
    """Directory of the round before; that of the same run_name unless told."""

    eval_fraction: float = 0.1
    """Share of the prompts held out for evaluation when the data has no `eval_prompts`."""

    ranked_fraction: float | None = None
    """Share of the training prompts whose completions are ranked, the others being RL's: two sets,
    as in InstructGPT's table 6; null gives all of them to both."""

    pretraining_eval_fraction: float = 0.0
    """Share of the pretraining texts that nothing is trained on, for evaluator=pretraining_loss."""

    report_to: list[str] = field(default_factory=list)
    """Trackers beside metrics.jsonl: tensorboard, wandb, trackio (transformers' names)."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: dict[str, Any] = field(default_factory=dict)
    loader: Any = MISSING
    sampler: Any = MISSING
    labeler: Any = MISSING
    reward: dict[str, Any] = field(default_factory=dict)
    optimizer: Any = MISSING
    kl: Any = MISSING
    evaluator: dict[str, Any] = field(default_factory=dict)
    stage: StageConfigs = field(default_factory=StageConfigs)
    export: ExportConfig = field(default_factory=ExportConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    doctor: DoctorConfig = field(default_factory=DoctorConfig)
    chat: ChatConfig = field(default_factory=ChatConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)

    gate: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Limits of the final policy's metrics, as in +gate.win_rate.min=0.5; a run that exceeds one
    ends with exit status 3. No stage depends on them."""

    gpu: str | None = None
    """Memory of the card that the run must fit, as in 12GB; null takes the card that is there."""

    trust: bool = False
    """Run the functions that a YAML file names, as in `override /reward: [mine.py:score]`. Said on
    the command line only; a function that is named there needs no trust."""

    deterministic: bool = False
    """Ask PyTorch for kernels that add in the same order every time, where it has them: slower on a
    GPU; a CPU computes that way as it is."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning; so do the parts', by their own."""
        require_below(name, self, 1, "eval_fraction", "pretraining_eval_fraction")
        require_above_zero(name, self, "ranked_fraction")
        require_below(name, self, 1, "ranked_fraction")
        require_below(name, self, 2**32, "seed")  # what NumPy takes
        require_above_zero(name, self, "round")
        if self.gpu is not None:
            read_size(self.gpu)
        if self.stage.evaluate.temperature is not None and not hasattr(self.sampler, "temperature"):
            raise UserError(
                f"stage.evaluate.temperature={self.stage.evaluate.temperature}: "
                f"sampler={self.sampler.name} has no temperature"
            )
        for option in ("run_name", "run_dir"):
            if not getattr(self, option).strip():
                raise UserError(f"{option}: is empty; a run needs a name, as in run_name=mine")
        if "pretraining_loss" in self.evaluator and not self.pretraining_eval_fraction:
            raise UserError(
                "evaluator=pretraining_loss needs texts that nothing is trained on: add "
                "pretraining_eval_fraction=0.1"
            )
        self.gates()
        for reward, entry in self.reward.items():
            require_finite(f"reward.{reward}", entry, "weight")  # the group's, no component's

    def gates(self) -> dict[str, GateConfig]:
        """The limits of `gate`, by metric."""
        return {name: GateConfig.of(f"gate.{name}", gate) for name, gate in self.gate.items()}


def run_schema(added: Mapping[str, Stage]) -> type[RunConfig]:
    """`RunConfig` with the options of the stages that plugins add, each under `stage.<name>`."""
    if not added:
        return RunConfig
    options = [
        (name, item.config, field(default_factory=item.config)) for name, item in added.items()
    ]
    stages = make_dataclass("StageConfigs", options, bases=(StageConfigs,))
    part = ("stage", stages, field(default_factory=stages))
    schema = make_dataclass("RunConfig", [part], bases=(RunConfig,))
    stages.__doc__, schema.__doc__ = StageConfigs.__doc__, RunConfig.__doc__
    return cast(type[RunConfig], schema)


def check_entries(config: RunConfig) -> None:
    """Refuse what Hydra takes in silence: a key beside the entries of a many-valued group, options
    that `+` adds to a component or stage, and lists in a list of names."""
    check_options_known("", config)
    for group in GROUPS:
        if not group.many:
            _check_name(group.name, getattr(config, group.name))
            continue
        for key, entry in getattr(config, group.name).items():
            if hasattr(entry, "name"):
                _check_name(f"{group.name}.{key}", entry)
            else:
                raise UserError(
                    f"{group.name}.{key}: no component of this name is chosen; options stand under "
                    f"the component, as in {group.name}.<component>.<option>=..."
                )


def _check_name(group: str, entry: Any) -> None:
    """The name tells which component's options these are."""
    chosen = next(item.default for item in fields(entry) if item.name == "name")
    if entry.name != chosen:
        raise UserError(f"{group}.name={entry.name}: choose it with {group}={entry.name}")


def check_options_known(prefix: str, config: Any) -> None:
    """`UserError` for an attribute that is no field of a dataclass or of one within it, and for a
    list of names that holds something else."""
    known = {item.name: item.type for item in fields(config)}
    for name, value in vars(config).items():
        option = f"{prefix}{name}"
        if name not in known:
            raise UserError(f"{option}: no such option; {nearest(name, known)}")
        if "list[str]" in str(known[name]) and not all(isinstance(x, str) for x in value or ()):
            raise UserError(f"{option}={value}: must be a list of names")
        parts = value if isinstance(value, dict) else {}
        for place, part in {
            option: value,
            **{f"{option}.{k}": v for k, v in parts.items()},
        }.items():
            if is_dataclass(part):
                check_options_known(f"{place}.", part)
