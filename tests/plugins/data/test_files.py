"""rlhfkit_plugins.data.files: every format for real, every error by file and line."""

import gzip
import hashlib
import json
import re
import subprocess
import sys

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlhfkit.errors import UserError
from rlhfkit.protocols import DataSource
from rlhfkit_plugins.data import FilesConfig
from rlhfkit_plugins.data.files import FileSource, digest, read_rows

TURNS = [{"role": "user", "content": "hé"}, {"role": "assistant", "content": "a\nb"}]
ROWS = [
    {"prompt": TURNS[:1], "completions": ["x", "y"], "ranks": [2, 1]},
    {"prompt": TURNS, "completions": ["z", "w"], "ranks": [1, 1]},
]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
CSV = 'prompt,completion\nNA,7\n"say ""hi"",\nplease",é\n'.encode()
CSV_ROWS = [
    {"prompt": "NA", "completion": "7"},
    {"prompt": 'say "hi",\nplease', "completion": "é"},
]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("rows.jsonl", JSONL, ROWS),
        ("ROWS.JSONL", JSONL, ROWS),
        ("rows.jsonl.gz", gzip.compress(JSONL, mtime=0), ROWS),
        ("rows.json", json.dumps(ROWS, indent=2).encode(), ROWS),
        ("rows.json.gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0), ROWS),
        ("rows.csv", CSV, CSV_ROWS),
        ("rows.csv.gz", gzip.compress(CSV, mtime=0), CSV_ROWS),
        ("bom.jsonl", b"\xef\xbb\xbf" + JSONL, ROWS),
        ("bom.csv", b"\xef\xbb\xbf" + CSV, CSV_ROWS),
        ("windows.csv", b"prompt,completion\r\na,b\r\n", [{"prompt": "a", "completion": "b"}]),
        ("short.csv", b"prompt,completion\na\n", [{"prompt": "a", "completion": None}]),
        ("blank_lines.csv", b"\nprompt\n\na\n\n", [{"prompt": "a"}]),
        ("long.csv", b"text\n" + b"x" * 200_000, [{"text": "x" * 200_000}]),
        (
            "blank_lines.jsonl",
            b'\n{"prompt": "a"}\n\n{"prompt": "b"}',
            [{"prompt": "a"}, {"prompt": "b"}],
        ),
        ("separator.jsonl", b'{"prompt": "a\xe2\x80\xa8b"}\n', [{"prompt": "a\u2028b"}]),
    ],
)
def test_text_formats(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert list(read_rows(tmp_path / name)) == expected


def test_parquet(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    assert list(read_rows(tmp_path / "rows.parquet")) == ROWS


def test_missing_keys_are_none_and_later_keys_are_kept(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "a"}\n{"completion": "b", "prompt": "c"}\n')
    assert list(read_rows(tmp_path / "a.jsonl")) == [
        {"prompt": "a", "completion": None},
        {"prompt": "c", "completion": "b"},
    ]


def test_texts_and_messages_may_share_a_column(tmp_path):
    rows = [{"prompt": "a"}, {"prompt": TURNS}, {"prompt": None}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert list(read_rows(tmp_path / "a.jsonl")) == rows


SUFFIXES = ".jsonl .json .csv .parquet .jsonl.gz .json.gz .csv.gz .txt .txt.gz"
PACKED = gzip.compress(JSONL, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.parquet", b"", "is empty"),
        ("a.jsonl", b"\n \n", "has no rows"),
        ("a.json", b"[]", "has no rows"),
        ("a.csv", b"prompt,completion\n", "has no rows"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), "has no rows"),
        ("a.jsonl", b'{"p": 1}\n\n{"p" 1}\n', ":3: invalid JSON (Expecting ':' delimiter)"),
        ("a.jsonl.gz", gzip.compress(b'{"p": 1}\n{\n', mtime=0), ":2: invalid JSON"),
        ("a.jsonl", b'{"p": 1}\n["p"]\n', ':2: not a JSON object, as in {"prompt": ...}'),
        ("a.jsonl", b'"text"\n', ":1: not a JSON object"),
        ("a.jsonl", b'{"p": 1}\n{"p": "\xe9"}\n', ":2: not UTF-8 (invalid continuation byte)"),
        ("a.jsonl", '{"p": 1}\n'.encode("utf-16"), ":1: not UTF-8 (invalid start byte)"),
        ("a.csv", b"p\na\n\xff\n", ":3: not UTF-8 (invalid start byte)"),
        ("a.json", b"[\n1,\n\xff]", ":3: not UTF-8"),
        ("a.json", b'[\n{"p": 1},\n{"p": }]', ":3: invalid JSON (Expecting value)"),
        ("a.json", b'{"p": 1}\n{"p": 2}', ":2: invalid JSON (Extra data); with one object a line"),
        ("a.json", b'{"p": 1}', ': not a JSON list of objects, as in [{"prompt": ...}]'),
        ("a.json", b'[{"p": 1}, 2]', ": item 2 is not a JSON object"),
        ("a.csv", b"p,q\na,b\na,b,c\n", ":3: more cells than the header has"),
        ("a.csv", b"p,q\n\n\na,b,c\n", ":4: more cells than the header has"),
        ("a.csv", b'p\n"a\nb"\nc,d\n', ":4: more cells than the header has"),
        ("a.csv", b'p\n"a\nb\n', ":2: invalid csv (unexpected end of data)"),
        ("a.csv", b'p\na\n"a"b\n', ":3: invalid csv (',' expected after '\"')"),
        ("a.parquet", b"PAR0 nothing of the kind", ": invalid parquet ("),
        ("a.jsonl.gz", JSONL, ": not a whole gzip file (Not a gzipped file"),
        ("a.jsonl.gz", PACKED[:-10], ": not a whole gzip file (Compressed file ended"),
        ("a.jsonl.gz", PACKED[:10] + b"\xff" * 20, ": not a whole gzip file (Error -3"),
        ("a.jsonl.gz", PACKED[:20] + b"\0\0\0\0" + PACKED[24:], ": not a whole gzip file ("),
        ("a.tsv", b"text", f": its name must end with one of {SUFFIXES}"),
        ("a.parquet.gz", b"text", ": its name must end with one of .jsonl"),
        ("jsonl", b"text", ": its name must end with one of .jsonl"),
    ],
)  # fmt: skip
def test_errors_name_the_file_and_the_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_rows(tmp_path / name)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / name}:")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize("ask", ["load", "fingerprint"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("promts.jsonl", "promts.jsonl: no such file; did you mean 'prompts.jsonl'?"),
        ("zzz", "zzz: no such file; choices: demos.csv, notes.txt, prompts.jsonl"),
        ("none/a.jsonl", "a.jsonl: no such file; the folder {folder}/none does not exist"),
        ("empty/a.jsonl", "a.jsonl: no such file; choices: none"),
        ("empty", "empty: is a folder; name a file, or give the folder to data=hub"),
        ("blank.jsonl", "blank.jsonl: is empty"),
    ],
)
def test_files_that_are_not_there(tmp_path, path, message, ask):
    (tmp_path / "empty").mkdir()
    (tmp_path / "prompts.jsonl").write_bytes(JSONL)
    (tmp_path / "demos.csv").write_bytes(CSV)
    (tmp_path / "notes.txt").write_text("no data")
    if "blank" in path:
        (tmp_path / path).touch()
    source = FileSource(FilesConfig(prompts=str(tmp_path / path)))
    with pytest.raises(UserError) as caught:
        getattr(source, ask)("prompts")
    assert str(caught.value).endswith(message.format(folder=tmp_path))
    assert str(caught.value).startswith(str(tmp_path / path))


def test_other_files_of_the_current_folder_are_not_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.yaml").write_text("run_name: mine")
    with pytest.raises(UserError, match=r"^prompts\.jsonl: no such file; choices: none$"):
        FileSource(FilesConfig(prompts="prompts.jsonl")).load("prompts")


def test_a_crowded_folder_names_only_ten(tmp_path):
    for shard in range(50):
        (tmp_path / f"shard-{shard:05}.jsonl").write_bytes(JSONL)
    with pytest.raises(UserError) as caught:
        read_rows(tmp_path / "zzz")
    assert str(caught.value).count("shard-") == 10


def test_an_unreadable_file(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_bytes(JSONL)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may read everything
    with pytest.raises(UserError, match=r"a\.jsonl: cannot be read \(permission denied\)"):
        read_rows(tmp_path / "a.jsonl")


def test_the_source_has_the_splits_it_was_given(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(JSONL)
    (tmp_path / "b.csv").write_bytes(CSV)
    config = FilesConfig(rankings=str(tmp_path / "a.jsonl"), demonstrations=str(tmp_path / "b.csv"))
    source = FileSource(config)
    assert isinstance(source, DataSource)
    assert source.splits() == ("demonstrations", "rankings")
    assert list(source.load("rankings")) == ROWS
    assert list(source.load("demonstrations")) == CSV_ROWS
    with pytest.raises(UserError, match=r"no file for prompts; set data\.files\.prompts"):
        source.load("prompts")


def test_what_no_column_could_hold_is_read(tmp_path):
    rows = [{"p": "a", "id": 10**30}, {"p": "b", "id": -1}, {"p": "c", "id": "\ud83d"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_rows(tmp_path / "a.jsonl") == rows
    kinds = {"p": pa.string(), "id": pa.uint64(), "meta": pa.map_(pa.string(), pa.string())}
    table = pa.table({"p": ["a"], "id": [2**64 - 1], "meta": [[("k", "v")]]}, pa.schema(kinds))
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet") == [{"p": "a", "id": 2**64 - 1, "meta": [("k", "v")]}]


def test_mixed_columns_of_parquet_are_read_back(tmp_path):
    rows = [{"prompt": "7"}, {"prompt": TURNS}, {"prompt": None}]
    kept = datasets.Dataset.from_list(rows, on_mixed_types="use_json")
    kept.to_parquet(tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet") == list(kept)


def test_lines_of_text_are_prompts_or_texts(tmp_path):
    (tmp_path / "a.txt").write_bytes("what\r\n\n is é \n".encode())
    path = str(tmp_path / "a.txt")
    source = FileSource(FilesConfig(prompts=path, pretraining=path))
    assert source.load("prompts") == [{"prompt": "what"}, {"prompt": " is é "}]
    assert source.load("pretraining") == [{"text": "what"}, {"text": " is é "}]


def test_several_files_and_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"prompt": name, name: 1}))
    (tmp_path / "c[1].txt").write_text("c")
    source = FileSource(FilesConfig(prompts=["*.jsonl", "c[1].txt"], eval_prompts="b*"))
    assert source.load("prompts") == [
        {"prompt": "a", "a": 1, "b": None}, {"prompt": "b", "a": None, "b": 1},
        {"prompt": "c", "a": None, "b": None},
    ]  # fmt: skip
    assert source.fingerprint("eval_prompts") == digest("b.jsonl")
    before = source.fingerprint("prompts")
    (tmp_path / "a.jsonl").write_text('{"prompt": "other"}')
    assert source.fingerprint("prompts") != before
    with pytest.raises(UserError, match=r"\*\.csv: no file of this pattern"):
        FileSource(FilesConfig(prompts="*.csv")).load("prompts")


def test_names_of_columns(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,q,reply\nold,a,b\n")
    columns = {"prompt": "q", "completion": "reply", "chosen": "better"}
    path = str(tmp_path / "a.csv")
    source = FileSource(FilesConfig(demonstrations=path, columns=columns))
    assert source.load("demonstrations") == [{"prompt": "a", "completion": "b"}]
    assert source.fingerprint("demonstrations") != digest(path)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (FilesConfig(rankings="a", preferences="b"), "another name of data.files.rankings"),
        (FilesConfig(prompts=7), "data.files.prompts=7: must be a name, or a list of names"),
        (FilesConfig(prompts=["a", 7]), "must be a name, or a list of names"),
        (FilesConfig(columns=["prompt"]), "must be names, as {prompt: question}"),
        (FilesConfig(columns={"promt": "q"}), "nothing reads 'promt'; did you mean 'prompt'?"),
    ],
)
def test_options_outside_their_meaning(config, says):
    with pytest.raises(UserError, match=re.escape(says)):
        config.check("data.files")


def test_the_home_folder_may_be_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.jsonl").write_bytes(JSONL)
    assert list(read_rows("~/a.jsonl")) == ROWS


def test_fingerprint_is_of_the_bytes(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(JSONL)
    source = FileSource(FilesConfig(prompts=str(path)))
    first = source.fingerprint("prompts")
    assert first == hashlib.sha256(JSONL).hexdigest() == digest(path)
    path.write_bytes(JSONL + b"\n")
    assert source.fingerprint("prompts") != first


def test_fingerprint_needs_no_heavy_library(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(JSONL)
    program = (
        "import sys; from rlhfkit_plugins.data import FilesConfig; "
        "from rlhfkit_plugins.data.files import FileSource; "
        f"FileSource(FilesConfig(prompts={str(tmp_path / 'a.jsonl')!r})).fingerprint('prompts'); "
        "print([name for name in ('datasets', 'pyarrow', 'torch') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "[]\n"
