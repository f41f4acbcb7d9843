"""Data sources: files, the Hugging Face hub, and hh-rlhf dialogues."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rlhfkit import hookimpl
from rlhfkit.component import Component
from rlhfkit.user_code import UserCodeConfig
from rlhfkit_plugins.data.options import check_splits


@dataclass
class FilesConfig:
    """jsonl, json, csv, parquet or txt files, .gz too; one option a split, each a path, a pattern
    as `rows/*.jsonl`, or a list of them."""

    demonstrations: Any = None
    """Files of prompts with the answers to imitate, for stage sft."""

    prompts: Any = None
    """Files of prompts that stages sample and rl answer."""

    eval_prompts: Any = None
    """Files of prompts that stage evaluate answers; null holds some of `prompts` out."""

    pretraining: Any = None
    """Files of plain texts, for the pretraining mix of sft and PPO-ptx."""

    rankings: Any = None
    """Files of ranked answers that people or another run gave; null has the labelers rank."""

    preferences: Any = None
    """Another name of `rankings`, as pairs are called."""

    columns: Any = None
    """Names of columns, as {prompt: question, completion: reply}: ours, and the files'."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        check_splits(name, self)


@dataclass
class HubConfig:
    """Data sets of the Hugging Face hub; one option a split, as `owner/name` or
    `owner/name:config:split` (split defaults to train)."""

    demonstrations: str | None = None
    """Data set of prompts with the answers to imitate, for stage sft."""

    prompts: str | None = None
    """Data set of prompts that stages sample and rl answer."""

    eval_prompts: str | None = None
    """Data set of prompts that stage evaluate answers; null holds some of `prompts` out."""

    pretraining: str | None = None
    """Data set of plain texts, for the pretraining mix of sft and PPO-ptx."""

    rankings: str | None = None
    """Data set of ranked answers; null has the labelers rank."""

    preferences: str | None = None
    """Another name of `rankings`, as pairs are called."""

    columns: Any = None
    """Names of columns, as {prompt: question, completion: reply}: ours, and the data sets'."""

    revision: str | None = None
    """Branch, tag or commit on the hub; null takes the newest."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        check_splits(name, self)


@dataclass
class HhRlhfConfig:
    """Human preference pairs as whole dialogues (`chosen`, `rejected` with "Human:" and
    "Assistant:" turns): rankings with K = 2, their prompts, and the chosen answers as
    demonstrations."""

    path: str = "Anthropic/hh-rlhf"
    """A jsonl(.gz) file, or a data set of the hub."""

    split: str = "train"
    """Split of the data set, on the hub."""


@dataclass
class FunctionConfig(UserCodeConfig):
    """A function of your own, which gives rows by split, or a class with splits(), load() and
    fingerprint(): data=FILE.py:NAME."""

    methods: ClassVar[tuple[str, ...]] = ("splits", "load", "fingerprint")


@hookimpl
def data_sources() -> Sequence[Component]:
    return (
        Component("files", FilesConfig, "rlhfkit_plugins.data.files:FileSource"),
        Component("hub", HubConfig, "rlhfkit_plugins.data.hub:HubSource"),
        Component("function", FunctionConfig, "rlhfkit_plugins.data.function:build"),
        Component("hh_rlhf", HhRlhfConfig, "rlhfkit_plugins.data.hh_rlhf:HhRlhfSource"),
    )
