"""The options of every stage, under `stage.<name>.<option>`. No torch here."""

from dataclasses import dataclass, field


@dataclass
class TrainingConfig:
    """What every stage with a trainer of its own shares; names as in transformers and TRL."""

    learning_rate: float = 1e-4
    """Peak rate of AdamW."""

    optim: str = "adamw_torch"
    """adamw_torch, adamw_torch_fused, adamw_8bit, paged_adamw_8bit or paged_adamw_32bit: 8 bytes a
    trained parameter, or 2; paged ones move to main memory when the GPU is full."""

    num_train_epochs: float = 1.0
    per_device_train_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    lr_scheduler_type: str = "cosine"
    min_lr_rate: float = 0.0
    """Share of the peak at which a cosine ends (InstructGPT, C.1 and C.2: 0.1)."""

    warmup_steps: int = 0
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    max_grad_norm: float = 1.0
    gradient_checkpointing: bool = False
    """Compute layers again in the backward pass: less memory, a third more time."""

    group_by_length: bool = True
    """Batches of like length: less is computed on padding; false shuffles alone."""

    logging_steps: int = 5


@dataclass
class LabelerShareConfig:
    """Share of the labelers' rows (`source` labeler) in the training part of each kind of data, the
    rest of it customers' (`source` customer). The surplus and rows of neither are left out; null
    takes all rows. The paper: 0.89 of the demonstrations, 0.2 of the rankings, 0 of the prompts
    for RL (section A.3)."""

    demonstrations: float | None = None
    prompts: float | None = None
    rankings: float | None = None


@dataclass
class PrepareConfig:
    """Filters and splits of the data before anything is trained (InstructGPT, sections 3.2, A and
    C); every one is off unless it is set."""

    max_prompt_length: int | None = None
    """Longest prompt in tokens (the paper: 1000); rows with longer ones are dropped."""

    max_completion_length: int | None = None
    """Longest completion of demonstrations and rankings in tokens (the paper: 1000)."""

    dedup_prefix: int | None = None
    """Of the prompts that begin with the same so many characters only the first is kept. Take more
    than the longest system prompt or task description that prompts have in common."""

    max_per_user: int | None = None
    """Most rows of one `user` in each kind of data (the paper: 200); needs rows with `user`."""

    validation_fraction: float = 0.0
    """Share of the users whose rows validate sft and reward_model, in place of those stages' own
    share of the rows. Where rows have no `user` it is a share of the prompts."""

    test_fraction: float = 0.0
    """Share of the users whose prompts are the held-out ones, in place of `eval_fraction`."""

    pii: list[str] = field(default_factory=list)
    """Kinds of personal data: EMAIL, PHONE, SSN, CREDIT_CARD, IP_ADDRESS, DATE, ZIP_CODE. Training
    rows that hold one are dropped. Patterns find them: names of people are not found."""

    labeler_share: LabelerShareConfig = field(default_factory=LabelerShareConfig)

    few_shot: int = 0
    """How many other demonstrations of its `instruction` stand before each demonstration that has
    one (section A.1: all of them), while they fit model.max_prompt_length."""


@dataclass
class SftConfig(TrainingConfig):
    """Supervised fine-tuning on demonstrations (InstructGPT, section 3.5)."""

    residual_dropout: float = 0.0
    """Of what attention and MLP add to the residual stream, while training (InstructGPT, C.1: 0.2),
    on adapters' bases too; 0 leaves a model's own dropout as it is."""

    select_by: str = "last"
    """Which epoch's model is kept: `last`, `loss` (lowest on the validation rows), or `reward`: the
    run's reward functions score answers to the validation prompts (InstructGPT, C.1), so that
    reward.reward_model.path must name a reward model that is there already."""

    max_completion_length: int = 256
    """Demonstrations with longer completions, in tokens, are dropped and counted."""

    pretraining_fraction: float = 0.0
    """Share of pretraining texts mixed in; 0.1 is the paper's RL initialisation (C.3)."""

    pretraining_length: int = 128
    """Tokens of each pretraining text."""

    validation_fraction: float = 0.05
    """Share of the demonstrations kept for the validation loss."""


@dataclass
class RlSftConfig(SftConfig):
    """The model that RL starts from and measures its KL against, where it is not the SFT model:
    two epochs with a tenth of pretraining texts (InstructGPT, C.3). Not in `stages` by default."""

    num_train_epochs: float = 2.0
    pretraining_fraction: float = 0.1


@dataclass
class SampleConfig:
    """K completions per prompt, to be ranked."""

    num_completions: int = 4
    """K, between 2 and 16 (the paper: 4 to 9)."""

    num_prompts: int | None = None
    """How many training prompts; null takes all."""

    models: list[str] = field(default_factory=lambda: ["sft"])
    """Whose completions: `base`, `sft`, `rl_sft`, `rl`, directories or hub names, in turns."""


@dataclass
class LabelConfig:
    """Rankings of the sampled completions."""

    labels_per_prompt: int = 1
    """How many different labelers rank each prompt."""

    overlap_prompts: int = 20
    """On this many prompts a second labeler ranks too, so that agreement can be reported."""


@dataclass
class RewardModelConfig(TrainingConfig):
    """The reward model learns from K-wise rankings (InstructGPT, section 3.5, equation 1)."""

    start: str | None = None
    """Directory or hub name of the model it starts from; null is the SFT model. One of another size
    (InstructGPT, C.2) has the run's tokenizer and needs loader=full; value models are as large."""

    validation_fraction: float = 0.15
    """Share of the prompts, never of pairs, kept for validation accuracy."""

    per_device_train_batch_size: int = 4
    """In prompts: all K completions of a prompt are one batch element."""

    max_completion_length: int = 256
    """Completions are cut to this many tokens: a ranking needs all of its K."""

    normalise_on: int = 64
    """The bias makes this many demonstrations average 0 (section C.2); 0 leaves it at 0."""


@dataclass
class RlConfig:
    """The shared rollout loop of online optimizers; the optimizer's own options are its own."""

    total_episodes: int = 1024
    """How many completions are sampled in all."""

    batch_size: int = 64
    """Episodes per iteration."""

    micro_batch_size: int = 16
    """Sequences per forward pass; changes speed and memory, not results."""

    gradient_checkpointing: bool = False
    """As in sft and reward_model; for the updates of online optimizers."""

    missing_eos_penalty: float = 1.0
    """Taken off the score of a completion that did not end by itself."""

    use_score_scaling: bool = False
    """Divide scores by their running standard deviation over all episodes so far (Engstrom et al.
    2020; the name is that of TRL's first PPO)."""

    use_score_norm: bool = False
    """With use_score_scaling: take off their running mean first."""

    reward_clip: float | None = None
    """Scores, scaled or not, are clipped to plus or minus this; null leaves them."""

    whiten_rewards: bool = False
    """Scale per-token rewards to unit variance, mean kept (Ziegler et al. 2019)."""


@dataclass
class EvaluateConfig:
    """Held-out comparison of the policies."""

    num_prompts: int = 200
    """How many held-out prompts at most."""

    num_completions: int = 1
    """How often each policy answers each prompt; intervals are over prompts all the same."""

    opponents: dict[str, str | None] = field(default_factory=dict)
    """More models to compare: a name of your own, and a directory or hub name; null leaves that
    one out and says so."""

    few_shot: list[dict[str, str]] = field(default_factory=list)
    """Messages before every prompt of the policy `prompted`, which is the base model (InstructGPT,
    section 3.5: few-shot prefix); with none it is left out."""


@dataclass
class ReportConfig:
    """Table and figures of the run."""

    formats: list[str] = field(default_factory=lambda: ["png"])
    """Picture formats that matplotlib writes: png, svg, pdf."""

    runs: list[str] = field(default_factory=list)
    """Directories of more runs with a gold reward, drawn beside this one's: of other proxies."""


@dataclass
class StageConfigs:
    """Options by stage."""

    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    sft: SftConfig = field(default_factory=SftConfig)
    rl_sft: RlSftConfig = field(default_factory=RlSftConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    label: LabelConfig = field(default_factory=LabelConfig)
    reward_model: RewardModelConfig = field(default_factory=RewardModelConfig)
    rl: RlConfig = field(default_factory=RlConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
