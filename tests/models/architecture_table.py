"""docs/models.md, made anew: `python -m tests.models.architecture_table > docs/models.md`.

Every architecture of `tiny_architectures` with random weights: what is computed here is compared
with transformers and PEFT alone, one sequence at a time. Takes some ten minutes on a CPU.
"""

import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from rlhfkit.commands.export import _merged
from rlhfkit.commands.hydra_store import register_configs
from rlhfkit.config.run import RunConfig
from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.sampling import sampler_for
from rlhfkit.plugin_manager import Plugins, load_plugins
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.testing import tiny
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers.generate import GenerateSampler
from tests.models import tiny_architectures

COLUMNS = (
    "log-probabilities",
    "cached",
    "generate",
    "continuous",
    "full",
    "lora",
    "qlora",
    "export",
)
PROMPTS = [[45, 46, 47, 48, 49], [50, 51], [50, 51]]
RESPONSES = [[60, 61, 62], [63], [64, 65]]
WRONG = "SILENTLY WRONG"
ERROR = "ERROR"
ROUNDED = 2e-3
"""Nats; what is merged is rounded."""


@dataclass
class Trial:
    """One architecture, stored in a directory."""

    name: str
    folder: Path
    plugins: Plugins

    def results(self) -> dict[str, str]:
        """A word or a reason for every column."""
        found = {}
        with self.model("full") as loaded:
            if isinstance(loaded, str):
                return dict.fromkeys(COLUMNS, "-") | {"log-probabilities": loaded}
            found["log-probabilities"] = self.logprobs(loaded, loaded.model)
            for sampler in ("cached", "generate", "continuous"):
                found[sampler] = self.said(lambda chosen=sampler: self.samples(loaded, chosen))
            found["full"] = self.said(lambda: self.round_trip(loaded, "full"))
        for loader in ("lora", "qlora"):
            found[loader] = self.said(lambda chosen=loader: self.adapted(chosen))
        found["export"] = self.said(self.export) if found["lora"] == "yes" else "-"
        return found

    def context(self, *options: str) -> Context:
        """A run of this model."""
        given = (f"model.path={self.folder / 'base'}", f"run_dir={self.folder / 'run'}", *options)
        short = ("run_name=t", "model.max_prompt_length=64")
        config = OmegaConf.to_object(compose("config", [*short, *given]))
        assert isinstance(config, RunConfig)
        return Context(config, self.plugins, RunDir(config.run_dir), "rl")

    @contextmanager
    def model(self, loader: str) -> Iterator[LanguageModel | str]:
        """The base model, or why it is refused."""
        try:
            yield self.load(loader, None)
        except UserError as error:
            yield reason(error)

    def load(self, loader: str, path: Path | None, trainable: bool = True) -> LanguageModel:
        """By the run's loader."""
        built = self.context(f"loader={loader}").build("loader")
        return built.language_model(str(path) if path else None, trainable=trainable)

    def said(self, attempt: Callable[[], str]) -> str:
        """What an attempt gives, or why it is refused."""
        try:
            return attempt()
        except UserError as error:
            return f"refused: {reason(error)}"
        except Exception as error:  # a fault of ours, which the test finds in the table
            return f"{ERROR} {type(error).__name__} {str(error)[:80]}"

    def logprobs(self, model: LanguageModel, alone: Any) -> str:
        """Whether a batch's log-probabilities are those of transformers' forward pass."""
        batch = make_batch(PROMPTS, RESPONSES, model.device)
        found = model.response_logprobs(batch)[0].detach()
        for row, prompt, response in zip(found, PROMPTS, RESPONSES, strict=True):
            if not close(row[: len(response)], plain_logprobs(alone, prompt, response)):
                return WRONG
        return "by its own code" if model.own_head else "yes"

    def samples(self, model: LanguageModel, sampler: str) -> str:
        """Whether sampled log-probabilities are those of transformers' forward pass."""
        options = ("sampler.response_length=4", "loader=full")
        made = sampler_for(self.context(f"sampler={sampler}", *options), model)
        drawn = made.sample(model, PROMPTS, Ends((2,)), torch.Generator().manual_seed(0))
        for prompt, response in zip(PROMPTS, drawn, strict=True):
            found = torch.tensor(response.logprobs)
            if not close(found, plain_logprobs(model.model, prompt, response.ids)):
                return WRONG
        if not isinstance(made, GenerateSampler):
            return "yes"
        kind = [] if sampler == "generate" else ["by generate"]
        kind += ["one length"] * made.equal_lengths + ["no cache"] * (not made.use_cache)
        return ", ".join(kind) or "yes"

    def round_trip(self, model: LanguageModel, loader: str) -> str:
        """Whether a changed model is the same after it is saved and loaded."""
        perturb(model)
        path = self.folder / loader
        model.save(path)
        expected = everything(model)
        for trainable in (False, True):
            again = self.load(loader, path, trainable)
            if not close(everything(again), expected):
                return WRONG
        return "yes"

    def adapted(self, loader: str) -> str:
        """Whether an adapter trains, and is the same for PEFT and after it is saved and loaded."""
        model = self.load(loader, None)
        perturb(model)
        if self.logprobs(model, model.model) == WRONG:
            return WRONG
        total = model.response_logprobs(make_batch(PROMPTS, RESPONSES))[0].sum()
        gradients = torch.autograd.grad(total, model.trainable_parameters(), allow_unused=True)
        if not any(item is not None and item.abs().max() > 0 for item in gradients):
            return "refused: no gradient reaches an adapter"
        return self.round_trip(model, loader)

    def export(self) -> str:
        """Whether the merged model gives what base and adapter give."""
        target = self.folder / "merged"
        _merged(self.context("loader=lora"), self.folder / "lora").save_pretrained(target)
        merged = AutoModelForCausalLM.from_pretrained(target).eval()
        base = AutoModelForCausalLM.from_pretrained(self.folder / "base")
        apart = PeftModel.from_pretrained(base, str(self.folder / "lora")).eval()
        pairs = list(zip(PROMPTS, RESPONSES, strict=True))
        found = torch.cat([plain_logprobs(merged, *pair) for pair in pairs])
        expected = torch.cat([plain_logprobs(apart, *pair) for pair in pairs])
        return "yes" if close(found, expected) else WRONG


def reason(error: UserError) -> str:
    """Of a refusal, without the model's name."""
    return str(error).split("cannot be trained here: ")[-1].split(": ", 1)[-1].split(";")[0][:90]


def close(found: Tensor, expected: Tensor) -> bool:
    """Up to rounding."""
    return bool((found - expected).abs().max() < ROUNDED)


@torch.no_grad()
def plain_logprobs(model: Any, prompt: list[int], response: list[int]) -> Tensor:
    """By the whole model's logits, one sequence at a time, without padding."""
    model.eval()
    ids = torch.tensor([prompt + response])
    logprobs = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0].float(), -1)
    return logprobs[len(prompt) - 1 : -1].gather(1, torch.tensor(response)[:, None])[:, 0]


@torch.no_grad()
def everything(model: LanguageModel) -> Tensor:
    """All log-probabilities of a batch."""
    model.model.eval()
    return model.response_logprobs(make_batch(PROMPTS, RESPONSES))[0]


def perturb(model: LanguageModel) -> None:
    """A step of training, so to say."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.trainable_parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    model.model.eval()


def results(names: list[str], plugins: Plugins) -> dict[str, dict[str, str]]:
    """By architecture."""
    rows = {}
    for name in names:
        print(name, file=sys.stderr, flush=True)
        with TemporaryDirectory() as folder:
            tiny_architectures.model(name).save_pretrained(Path(folder) / "base")
            tiny.tokenizer(Path(folder) / "base", chat=True)
            rows[name] = Trial(name, Path(folder), plugins).results()
            print("##", name, rows[name], file=sys.stderr, flush=True)
    return rows


HEAD = """# Models

What was tried with tiny random models of architectures that transformers {version} builds from
a configuration alone. Nothing is trained on other numbers than those of transformers: every model
is compared when it is loaded, and refused in one line where it differs. A model of another
architecture goes through the same comparison.

The columns:

* **log-probabilities**: a padded batch has those of the forward pass of transformers.
* **cached, generate, continuous** (`sampler=`): log-probabilities of what was sampled are those of
  the forward pass.
* **full, lora, qlora** (`loader=`): trains, and is the same after it is saved and loaded.
* **export**: the adapter merged (`export.merged=true`) gives what base and adapter give.

The words in them:

* **by its own code**: the logits are more than the product of the LM head (scales, caps, layers in
  between), so the model's own code makes them.
* **by generate**: the sampler cannot drive the model's cache, so the `generate` of transformers
  samples, and a line says so.
* **one length**: padding changes the model's answers, so only prompts of one length are sampled
  together.
* **no cache**: every token reads the whole text again.
* **refused (1)**, and so on: the number is that of a [reason](#reasons) below the table.
* **-**: not tried, because what it needs was refused.

[Samplers](architecture.md#samplers) says how the samplers work. The options of samplers and loaders
are in [Options of components](generated/components.md).

"""

FOOT = """
## Reasons

As they were printed; long ones are cut.

{reasons}

## Not tried

Models of images or sound, and what needs files or more than {largest} million weights to exist:

{left}.

## How this page is made

`python -m tests.models.architecture_table > docs/models.md` makes it anew.
"""

PLAIN = {"yes", "-", "refused", "by its own code", WRONG}
"""Cells that are no reason."""


def reason_in(column: str, cell: str) -> str | None:
    """What stands below the table in place of a cell, and of a refused model in its first."""
    if cell.startswith("refused: "):
        return cell.removeprefix("refused: ")
    return cell if column == COLUMNS[0] and cell not in PLAIN else None


def page(names: list[str], left: list[str], plugins: Plugins) -> str:
    """The page of the documentation."""
    return laid_out(results(names, plugins), left)


def laid_out(rows: dict[str, dict[str, str]], left: list[str]) -> str:
    """The page with these rows; reasons stand below the table, each once."""
    numbers: dict[str, int] = {}
    lines = [f"| model_type | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, row in rows.items():
        cells = []
        for column in COLUMNS:
            why = reason_in(column, row[column])
            number = why and numbers.setdefault(why, len(numbers) + 1)
            cells.append(f"refused ({number})" if number else row[column])
        lines.append(f"| {name} | {' | '.join(cells)} |")
    head = HEAD.format(version=transformers.__version__)
    foot = FOOT.format(
        reasons="\n".join(f"{number}. {why}" for why, number in numbers.items()),
        largest=tiny_architectures.LARGEST // 10**6,
        left=textwrap.fill(", ".join(left), 110, break_long_words=False, break_on_hyphens=False),
    )
    return head + "\n".join(lines) + "\n" + foot


def main() -> None:
    """Print the page, of the architectures named on the command line or of all."""
    plugins = load_plugins()
    register_configs(plugins)
    names, left = tiny_architectures.buildable() if not sys.argv[1:] else (sys.argv[1:], [])
    with initialize_config_module("rlhfkit_conf", version_base="1.3"), redirect_stdout(sys.stderr):
        made = page(names, left, plugins)
    print(made, end="")


if __name__ == "__main__":
    main()
