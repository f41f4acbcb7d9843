"""Data sources: files, the Hugging Face hub, and hh-rlhf dialogues."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlhfkit import hookimpl
from rlhfkit.component import Component


@dataclass
class FilesConfig:
    """jsonl, json, csv or parquet files, .gz too; one option a split."""

    demonstrations: str | None = None
    prompts: str | None = None
    eval_prompts: str | None = None
    pretraining: str | None = None
    rankings: str | None = None


@dataclass
class HubConfig:
    """Data sets of the Hugging Face hub; one option a split, as `owner/name` or
    `owner/name:config:split` (split defaults to train)."""

    demonstrations: str | None = None
    prompts: str | None = None
    eval_prompts: str | None = None
    pretraining: str | None = None
    rankings: str | None = None
    revision: str | None = None


@dataclass
class HhRlhfConfig:
    """Human preference pairs as whole dialogues (`chosen`, `rejected` with "Human:" and
    "Assistant:" turns): rankings with K = 2, their prompts, and the chosen answers as
    demonstrations."""

    path: str = "Anthropic/hh-rlhf"
    """A jsonl(.gz) file, or a data set of the hub."""

    split: str = "train"


@hookimpl
def data_sources() -> Sequence[Component]:
    return (
        Component("files", FilesConfig, "rlhfkit_plugins.data.files:FileSource"),
        Component("hub", HubConfig, "rlhfkit_plugins.data.hub:HubSource"),
        Component("hh_rlhf", HhRlhfConfig, "rlhfkit_plugins.data.hh_rlhf:HhRlhfSource"),
    )
