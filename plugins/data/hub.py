"""`data=hub`: data sets of the Hugging Face hub, or of a local folder in one of its layouts."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.types import Split
from rlhfkit_plugins.data import HubConfig
from rlhfkit_plugins.data.files import Row, digest, filled, one_line, read_rows
from rlhfkit_plugins.data.options import chosen_splits, columns_digest, renamed

if TYPE_CHECKING:
    from datasets import Dataset


class HubName(NamedTuple):
    """A parsed option: `owner/name`, `owner/name:config` or `owner/name:config:split`."""

    path: str
    config: str | None = None
    split: str = "train"


class HubSource:
    """One data set a split; `datasets` keeps its usual cache."""

    def __init__(self, config: HubConfig, context: Context | None = None) -> None:
        self._options = chosen_splits(config)
        self._revision, self._columns = config.revision, dict(config.columns or {})

    def splits(self) -> Sequence[Split]:
        """The splits that were given a data set."""
        return tuple(self._options)

    def load(self, split: Split) -> "Dataset | list[Row]":
        """The rows of a split's data set; raises as `load_from_hub` does."""
        rows = load_from_hub(parse_option(self._option(split)), self._revision)
        found: Dataset | list[Row] = renamed(rows, self._columns)
        return found

    def fingerprint(self, split: Split) -> str:
        """See `hub_fingerprint`."""
        fingerprint = hub_fingerprint(self._option(split), self._revision)
        return fingerprint + columns_digest(self._columns)

    def _option(self, split: Split) -> str:
        if split not in self._options:
            raise UserError(f"data hub: no data set for {split}; set data.hub.{split}")
        option: str = self._options[split]
        return option


def parse_option(option: str) -> HubName:
    """The parts of an option; an empty config is the default one.

    Raises `UserError` for an empty name and for a folder that does not exist.
    """
    folder = os.path.expanduser(option)
    if os.path.isdir(folder):  # a folder's name may hold colons
        return HubName(folder)
    parts = option.split(":", 2)  # a split may hold one: train[:1000]
    if not parts[0]:
        raise UserError(f"data set '{option}': give it as owner/name[:config[:split]]")
    path, config, split = [*parts, "", ""][:3]
    if path.startswith((".", "/", "~")):
        path = str(_folder(path))
    return HubName(path, config or None, split or "train")


def _folder(path: str) -> Path:
    folder = Path(os.path.expanduser(path))
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder; name one, or a data set as owner/name")
    return folder


def load_from_hub(name: HubName, revision: str | None = None) -> "Dataset | list[Row]":
    """The rows of one split.

    Raises `UserError` when the hub is out of reach or has no such data set, config or split.
    """
    from datasets import load_dataset

    options = {"cache_dir": _cache(name.path)} if os.path.isdir(name.path) else {}
    try:
        return load_dataset(name.path, name.config, split=name.split, revision=revision, **options)
    except ConnectionError as error:
        raise UserError(
            f"data set '{name.path}': the Hugging Face hub is out of reach ({one_line(error)}); "
            f"try again online, or give local files with data=files"
        ) from error
    except Exception as error:  # whatever the readers of a folder's files raise
        reason: BaseException = error
        try:
            return _read_files(name)
        except UserError as told:
            reason = told
        except Exception:  # no folder, no such config, no such split: the first error says it
            reason = error
        raise UserError(f"data set '{name.path}' cannot be loaded: {one_line(reason)}") from error


def _cache(folder: str) -> str:
    """Where `datasets` keeps a folder's rows: it tells its files by their times, which a copy may
    leave as they were, and would give the rows of the files before."""
    import datasets

    return str(Path(datasets.config.HF_DATASETS_CACHE) / f"folder-{_folder_digest(folder)[:32]}")


def _read_files(name: HubName) -> list[Row]:
    """The rows of a folder whose files have columns that `datasets` cannot hold."""
    from datasets import load_dataset_builder

    builder = load_dataset_builder(name.path, name.config, cache_dir=_cache(name.path))
    rows = [row for file in builder.config.data_files[name.split] for row in read_rows(file)]
    return filled(rows)


def hub_fingerprint(option: str, revision: str | None = None) -> str:
    """The option and revision, without asking the hub: name a commit as the revision when the
    data may change. For a local folder also a digest of its files."""
    fingerprint = f"{option}@{revision or 'main'}"
    folder = parse_option(option).path
    return f"{fingerprint} {_folder_digest(folder)}" if os.path.isdir(folder) else fingerprint


def _folder_digest(path: str) -> str:
    """sha256 of the names and contents of a folder's files."""
    folder = Path(path)
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.stat().st_size]
    listing = "\n".join(f"{file.relative_to(folder)} {digest(file)}" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()
