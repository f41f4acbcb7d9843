"""PPO by trl.experimental.ppo, one process: `python trl_ppo.py SETTINGS.json RESULT.json`.

`ppo_vs_trl.py` starts it. It runs in the environment of `trl_venv.py` and imports nothing of
rlhfkit. What the settings and the result hold is said in `ppo_workload.py`.
"""

import json
import resource
import sys
import tempfile
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from parsers import parser_of
from peft import LoraConfig, inject_adapter_in_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)

if TYPE_CHECKING:  # of TRL 1.12, which is not in the environment that `--help` may be asked in
    from trl.experimental.ppo import PPOConfig, PPOTrainer

CUDA = torch.cuda.is_available()
DTYPE = torch.bfloat16 if CUDA else torch.float32

Settings = dict[str, Any]


def main() -> None:
    """Train and write what it took."""
    parser = parser_of(__doc__)
    parser.add_argument("settings", type=Path, help="the JSON file to read")
    parser.add_argument("result", type=Path, help="the JSON file to write")
    options = parser.parse_args()
    import_module("trl.experimental.ppo")  # it takes memory of its own, and not the models'
    settings = json.loads(options.settings.read_text(encoding="utf-8"))
    before = _resident()
    record = Record()
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(settings, folder, record)
        _count_tokens(record, trainer.stop_token_id)
        trainer.train()
    result = {
        "ended_at": record.ended_at,
        "scores": record.scores,
        "tokens": record.tokens,
        "peak_bytes": torch.cuda.max_memory_allocated() if CUDA else _resident(),
        "before_bytes": 0 if CUDA else before,
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "trl")},
    }
    options.result.write_text(json.dumps(result), encoding="utf-8")


class Record(TrainerCallback):
    """A number per iteration."""

    def __init__(self) -> None:
        self.ended_at: list[float] = []
        self.scores: list[float] = []
        self.tokens: list[int] = []

    def on_log(self, *arguments: Any, logs: dict[str, float], **others: Any) -> None:
        """PPOTrainer logs once an iteration."""
        self.scores.append(logs["objective/scores"])

    def on_step_end(self, *arguments: Any, **others: Any) -> None:
        """A step is an iteration."""
        self.ended_at.append(time.perf_counter())


def _trainer(settings: Settings, folder: str, record: Record) -> "PPOTrainer":
    """The policy's adapter switched off is the reference, so TRL needs no model for that; the value
    model has adapters as the policy has, where TRL would train all of it."""
    from trl.experimental.ppo import PPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(settings["model_folder"], padding_side="left")
    # the pad token must be one that no text has: TRL tells padding by it
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(settings["pad_token_id"])
    policy = AutoModelForCausalLM.from_pretrained(settings["model_folder"], dtype=DTYPE)
    policy.generation_config.pad_token_id = tokenizer.pad_token_id
    rows = [{"input_ids": ids} for ids in settings["prompt_ids"]]
    return PPOTrainer(
        args=_arguments(settings, folder),
        processing_class=tokenizer,
        model=policy,
        ref_model=None,
        reward_model=_classifier(settings).requires_grad_(False).eval(),
        value_model=_value_model(settings),
        train_dataset=Dataset.from_list(rows),
        callbacks=[record],
        peft_config=_adapters(settings),
    )


def _value_model(settings: Settings) -> Any:
    """Starts as the reward model; its adapters and its head are trained."""
    model = inject_adapter_in_model(_adapters(settings), _classifier(settings))
    model.score.requires_grad_()
    return model


def _classifier(settings: Settings) -> Any:
    folder = settings["classifier"]
    return AutoModelForSequenceClassification.from_pretrained(folder, dtype=DTYPE)


def _adapters(settings: Settings) -> LoraConfig:
    return LoraConfig(
        r=settings["lora_r"],
        lora_alpha=settings["lora_alpha"],
        target_modules=settings["target_modules"],
        layers_to_transform=settings["layers"],
    )


def _arguments(settings: Settings, folder: str) -> "PPOConfig":
    from trl.experimental.ppo import PPOConfig

    batch, micro_batch = settings["batch_size"], settings["micro_batch_size"]
    return PPOConfig(
        output_dir=folder,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=batch // micro_batch,
        local_rollout_forward_batch_size=micro_batch,
        total_episodes=batch * settings["iterations"],
        num_ppo_epochs=settings["num_ppo_epochs"],
        num_mini_batches=1,
        response_length=settings["response_length"],
        stop_token="eos" if settings["natural_ends"] else None,
        temperature=1.0,
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="constant",
        adam_beta2=0.95,
        adam_epsilon=1e-5,
        kl_coef=settings["kl_coef"],
        seed=settings["seed"],
        bf16=CUDA,
        gradient_checkpointing=False,
        num_sample_generations=0,
        logging_strategy="steps",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
    )


def _count_tokens(record: Record, stop_token_id: int | None) -> None:
    """Note the length of what is drawn: to the first stop token, it included, or all of it."""
    from trl.experimental.ppo import ppo_trainer

    generation = ppo_trainer.batch_generation

    def counted(model: Any, queries: torch.Tensor, *others: Any) -> tuple[torch.Tensor, Any]:
        sequences, logits = generation(model, queries, *others)
        responses = sequences[:, queries.shape[1] :]
        stops = responses == (-1 if stop_token_id is None else stop_token_id)
        before_stop = stops.cumsum(1).sub_(stops.long()) == 0
        record.tokens.append(int(before_stop.sum()))
        return sequences, logits

    ppo_trainer.batch_generation = counted


def _resident() -> int:
    """Highest so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
