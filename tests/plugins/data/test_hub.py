"""rlhfkit_plugins.data.hub: option strings, local folders, and errors of one line."""

import os

import datasets
import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

from rlhfkit.errors import UserError
from rlhfkit.protocols import DataSource
from rlhfkit_plugins.data import HubConfig
from rlhfkit_plugins.data.hub import HubName, HubSource, parse_option


@pytest.fixture(autouse=True)
def _offline_and_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    (folder / "test.jsonl").write_text('{"prompt": "c"}\n')
    return folder


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("owner/name", HubName("owner/name", None, "train")),
        ("owner/name:easy", HubName("owner/name", "easy", "train")),
        ("owner/name:easy:test", HubName("owner/name", "easy", "test")),
        ("owner/name::test", HubName("owner/name", None, "test")),
        ("owner/name::train[:100]", HubName("owner/name", None, "train[:100]")),
        ("squad", HubName("squad", None, "train")),
    ],
)
def test_options(option, expected):
    assert parse_option(option) == expected


def test_datasets_is_asked_for_exactly_that(monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **more: asked.append((args, more)))
    source = HubSource(HubConfig(prompts="owner/name:easy:test", rankings="o/n", revision="abc"))
    source.load("prompts")
    source.load("rankings")
    assert asked == [
        (("owner/name", "easy"), {"split": "test", "revision": "abc"}),
        (("o/n", None), {"split": "train", "revision": "abc"}),
    ]


def test_a_local_folder(folder):
    source = HubSource(HubConfig(prompts=str(folder), eval_prompts=f"{folder}::test"))
    assert isinstance(source, DataSource)
    assert source.splits() == ("prompts", "eval_prompts")
    assert list(source.load("prompts")) == [{"prompt": "a"}, {"prompt": "b"}]
    assert list(source.load("eval_prompts")) == [{"prompt": "c"}]


def test_rows_are_never_those_of_the_files_before(folder):
    """`datasets` tells files by their times, which a copy may keep."""
    source, file = HubSource(HubConfig(prompts=str(folder))), folder / "train.jsonl"
    times = file.stat()
    assert list(source.load("prompts")) == [{"prompt": "a"}, {"prompt": "b"}]
    file.write_text('{"prompt": "c"}\n{"prompt": "d"}\n')
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert list(source.load("prompts")) == [{"prompt": "c"}, {"prompt": "d"}]


def test_a_column_that_datasets_cannot_hold(folder):
    (folder / "train.jsonl").unlink()
    kinds = {"prompt": pa.string(), "meta": pa.map_(pa.string(), pa.string())}
    table = pa.table({"prompt": ["a"], "meta": [[("k", "v")]]}, pa.schema(kinds))
    pq.write_table(table, folder / "train.parquet")
    (folder / "test.jsonl").unlink()
    source = HubSource(HubConfig(prompts=str(folder)))
    assert list(source.load("prompts")) == [{"prompt": "a", "meta": [("k", "v")]}]


def test_a_broken_file_is_named_with_its_line(folder):
    (folder / "train.jsonl").write_text('{"prompt": "a"}\n{"prompt"\n')
    with pytest.raises(UserError, match=r"rows' cannot be loaded: .*train\.jsonl:2: invalid JSON"):
        HubSource(HubConfig(prompts=str(folder))).load("prompts")


def test_names_of_columns_and_of_rankings(folder):
    (folder / "train.jsonl").write_text('{"q": "a", "prompt": "old", "chosen": "b"}\n')
    source = HubSource(HubConfig(preferences=str(folder), columns={"prompt": "q", "text": "no"}))
    assert source.splits() == ("rankings",)
    assert list(source.load("rankings")) == [{"prompt": "a", "chosen": "b"}]
    plain = HubSource(HubConfig(rankings=str(folder)))
    assert source.fingerprint("rankings").startswith(plain.fingerprint("rankings"))
    assert source.fingerprint("rankings") != plain.fingerprint("rankings")


def test_a_folder_in_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert parse_option("~/rows") == HubName(str(folder))
    assert parse_option("~/rows::test") == HubName(str(folder), None, "test")


def test_a_folder_whose_name_holds_colons(tmp_path):
    (tmp_path / "a:b").mkdir()
    assert parse_option(f"{tmp_path}/a:b") == HubName(f"{tmp_path}/a:b")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("owner/name", "data set 'owner/name': the Hugging Face hub is out of reach ("),
        (":easy", "data set ':easy': give it as owner/name[:config[:split]]"),
        ("./none:easy", "none: no such folder; name one, or a data set as owner/name"),
        ("{folder}:hard", "cannot be loaded: BuilderConfig 'hard' not found. Available: "),
        ("{folder}::dev", 'cannot be loaded: Unknown split "dev". Should be one of'),
    ],
)  # fmt: skip
def test_errors_are_one_line(folder, option, message):
    source = HubSource(HubConfig(prompts=option.format(folder=folder)))
    with pytest.raises(UserError) as caught:
        source.load("prompts")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("no\nnetwork"), "the Hugging Face hub is out of reach (no network); try"),
        (DatasetNotFoundError("gone\nor gated"), "data set 'o/n' cannot be loaded: gone or gated"),
        (DatasetGenerationError("An error\noccurred"), "cannot be loaded: An error occurred"),
        (RuntimeError("Dataset scripts\nare no"), "cannot be loaded: Dataset scripts are no"),
        (ValueError("x" * 999), "cannot be loaded: " + "x" * 300),
    ],
)
def test_errors_of_the_hub(monkeypatch, error, message):
    def fail(*args, **more):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(UserError) as caught:
        HubSource(HubConfig(prompts="o/n")).load("prompts")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "x" * 301 not in str(caught.value)


def test_a_split_that_was_not_given():
    source = HubSource(HubConfig(prompts="o/n"))
    with pytest.raises(UserError, match=r"no data set for rankings; set data\.hub\.rankings"):
        source.load("rankings")


def test_fingerprint_of_a_hub_name():
    def fingerprint(prompts, revision=None):
        return HubSource(HubConfig(prompts=prompts, revision=revision)).fingerprint("prompts")

    assert fingerprint("o/n:easy") == "o/n:easy@main"
    assert fingerprint("o/n:easy", "abc") == "o/n:easy@abc"


def test_fingerprint_of_a_folder_is_of_its_files(folder):
    source = HubSource(HubConfig(prompts=str(folder)))
    first = source.fingerprint("prompts")
    assert source.fingerprint("prompts") == first
    (folder / "train.jsonl").write_text('{"prompt": "d"}\n')
    second = source.fingerprint("prompts")
    (folder / "train.jsonl").rename(folder / "validation.jsonl")
    assert len({first, second, source.fingerprint("prompts")}) == 3
