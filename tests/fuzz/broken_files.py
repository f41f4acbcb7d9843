"""Bytes that are not what a file's name says, in every format that is read."""

import gzip
import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = [{"prompt": f"what is {word}", "source": word} for word in ("red", "green", "blue", "é")]


@dataclass(frozen=True)
class File:
    """A file that a data source is given as its prompts."""

    id: str
    name: str
    content: bytes
    says: str = ""
    """What the line says; a mutant may also be read, with drops that are counted."""


def jsonl() -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def whole_json() -> bytes:
    return json.dumps(ROWS, indent=1, ensure_ascii=False).encode()


def csv() -> bytes:
    return (
        b"prompt,source\n" + "".join('"{prompt}",{source}\n'.format(**row) for row in ROWS).encode()
    )


def parquet() -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), stream)
    return stream.getvalue()


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


GOOD: dict[str, bytes] = {
    ".jsonl": jsonl(),
    ".json": whole_json(),
    ".csv": csv(),
    ".parquet": parquet(),
    ".jsonl.gz": packed(jsonl()),
    ".json.gz": packed(whole_json()),
    ".csv.gz": packed(csv()),
}
"""By suffix, all of the same rows."""

FOREIGN: dict[str, bytes] = {
    "nothing": b"",
    "a line break": b"\n",
    "zeros": b"\0" * 64,
    "a picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\xff" * 40,
    "a zip": b"PK\x03\x04\x14\0\0\0\x08\0" + b"\x9c" * 40,
    "a web page": b"<!DOCTYPE html>\n<html><body>Not found</body></html>\n",
    "a git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
    "utf-16": jsonl().decode().encode("utf-16"),
    "yaml": b"- prompt: what is red\n- prompt: what is blue\n",
    "a number": b"7",
    "null": b"null",
    **{f"content of {suffix}": content for suffix, content in GOOD.items()},
}
"""What lies under a wrong name, or was fetched in place of the file."""


def foreign() -> Iterator[File]:
    """Every foreign content under every suffix."""
    for suffix in GOOD:
        for what, content in FOREIGN.items():
            if content != GOOD[suffix]:
                yield File(f"{what} as {suffix}", f"rows{suffix}", content)


DEEP = 100_000
LITERAL = (
    File("nested too deep, a line", "a.jsonl", b'{"prompt": ' + b"[" * DEEP, ":1: "),
    File("nested too deep, closed", "a.jsonl", b'{"p": ' + b"[" * DEEP + b"]" * DEEP + b"}", ":1:"),
    File("nested too deep, a list", "a.json", b"[" * DEEP, "invalid JSON"),
    File("objects too deep", "a.json", b'{"a":' * DEEP, "invalid JSON"),
    File("nested too deep, packed", "a.jsonl.gz", packed(b"[" * DEEP), ":1: invalid JSON"),
    File("an integer of 5000 digits", "a.jsonl", b'{"prompt": ' + b"1" * 5000 + b"}", ":1: "),
    File("digits in a list", "a.json", b'[{"prompt": ' + b"1" * 5000 + b"}]", "invalid JSON"),
    File("a column twice", "a.csv", b"prompt,prompt\na,b\n", "column 'prompt' twice"),
    File("a column twice, packed", "a.csv.gz", packed(b"prompt,x,x\na,b,c\n"), "column 'x' twice"),
    File("only line breaks of old", "a.csv", b"prompt\ra\rb\r", "invalid csv"),
    File("semicolons", "a.csv", b"prompt;source\na;b\n", "no column 'prompt'"),
    File("tabs", "a.csv", b"prompt\tsource\na\tb\n", "no column 'prompt'"),
    File("a head in capitals", "a.csv", b"Prompt\na\n", "did you mean 'Prompt'?"),
    File("a blank in the head", "a.csv", b"source, prompt\na,b\n", "did you mean ' prompt'?"),
    File("an open quote", "a.csv", b'prompt\n"a\nb\nc', ":2: invalid csv"),
    File("nothing in any cell", "a.csv", b'prompt,source\n"",x\n,\n', "no usable row in prompts"),
    File("an empty object", "a.jsonl", b"{}\n{}\n", "no column 'prompt'"),
    File("an empty name", "a.jsonl", b'{"": "a"}\n', "no column 'prompt'"),
    File("half a surrogate as a name", "a.jsonl", b'{"\\ud800": "a"}\n', "no column 'prompt'"),
    File("single quotes", "a.jsonl", b"{'prompt': 'a'}\n", ":1: invalid JSON"),
    File("a comma at the end", "a.json", b'[{"prompt": "a"},]', ":1: invalid JSON"),
    File("a comment", "a.jsonl", b'{"prompt": "a"} // yes\n', ":1: invalid JSON"),
    File("two objects a line", "a.jsonl", b'{"prompt": "a"} {"prompt": "b"}\n', ":1: invalid JSON"),
    File("a list a line", "a.jsonl", b'[{"prompt": "a"}]\n', ":1: not a JSON object"),
    File("a control character", "a.jsonl", b'{"prompt": "a\x01b"}\n', ":1: invalid JSON"),
    File("no number, in all rows", "a.jsonl", b'{"prompt": NaN}\n', "no usable row in prompts"),
    File("nothing, in all rows", "a.jsonl", b'{"prompt": null}\n', "no usable row in prompts"),
    File("rows by column", "a.json", b'{"prompt": ["a", "b"]}', "not a JSON list of objects"),
    File("rows under a key", "a.json", b'{"data": [{"prompt": "a"}]}', "not a JSON list"),
    File("the other split's", "a.jsonl", b'{"text": "a"}\n', "no column 'prompt'"),
    File("another suffix", "a.tsv", b"prompt\na\n", "its name must end with one of"),
    File("two suffixes", "a.jsonl.bz2", jsonl(), "its name must end with one of"),
    File("two gzips, one cut", "a.jsonl.gz", packed(jsonl()) + packed(jsonl())[:9], "whole gzip"),
    File("rubbish behind a gzip", "a.jsonl.gz", packed(jsonl()) + b"PK\3\4", "whole gzip"),
)  # fmt: skip


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(1, len(content))]


def flip_a_bit(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def drop_a_slice(content: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.sample(range(len(content)), 2))
    return content[:start] + content[end:]


def repeat_a_slice(content: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.sample(range(len(content)), 2))
    return content[:end] + content[start:]


def zero_a_slice(content: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.sample(range(len(content)), 2))
    return content[:start] + bytes(end - start) + content[end:]


def insert_noise(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + draw.randbytes(8) + content[place:]


def without_a_byte(content: bytes, draw: random.Random) -> bytes:
    """Of punctuation, which formats are made of."""
    places = [place for place, byte in enumerate(content) if not chr(byte).isalnum()]
    place = draw.choice(places)
    return content[:place] + content[place + 1 :]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    cut, flip_a_bit, drop_a_slice, repeat_a_slice, zero_a_slice, insert_noise, without_a_byte,
)  # fmt: skip
TIMES = 3


def mutants() -> Iterator[File]:
    """Good files that something happened to; the id is the seed."""
    for suffix, content in GOOD.items():
        for mutate in MUTATIONS:
            for time in range(TIMES):
                name = f"{mutate.__name__} {time} of {suffix}"
                yield File(name, f"rows{suffix}", mutate(content, random.Random(name)))


CASES = [*LITERAL, *foreign(), *mutants()]
