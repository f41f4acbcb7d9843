"""Makes the quickstart's prompts and demonstrations from `data/tables.yaml`.

    python -m rlhfkit_plugins.quickstart.tasks

Always the same rows. Facts, topics and wordings of held-out prompts are in no other split. What a
rubric wants an answer to contain never stands in the prompt, but for the topic of a text.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import yaml

Row = dict[str, Any]
Part = Literal["train", "held_out"]

QUESTION_TASKS = ("plain", "quoted", "sentence", "quoted")
"""Constraints of questions, taken in turn."""

TOPIC_TASKS = ("sentence", "question", "quoted")
"""Tasks of topics, taken in turn."""

NUMBERS = {2: "two", 3: "three", 4: "four"}


class Tasks:
    """One part of the tables; wordings and tasks are taken in turn."""

    def __init__(self, tables: Mapping[str, Any], part: Part) -> None:
        self._tables, self._part = tables, part
        self._turns: dict[str, Iterator[Any]] = {}

    def questions(self, per_fact: int) -> list[Row]:
        """Questions with known answers, each with so many constraints."""
        return [
            self._question(question, answers.split("|"), answer)
            for question, answers, answer in self._facts(per_fact)
        ]

    def topics(self, per_topic: int) -> list[Row]:
        """Sentences and questions about topics, so many tasks for each."""
        return [
            self._topic(topic, facts, self._next("topics", TOPIC_TASKS))
            for topic, facts in self._tables["topics"][self._part].items()
            for _ in range(per_topic)
        ]

    def lists(self) -> list[Row]:
        """A list of each category."""
        categories = self._tables["lists"]["categories"][self._part]
        return [self._list(name, members) for name, members in categories.items()]

    def _facts(self, times: int) -> Iterator[tuple[str, str, str]]:
        """Question, accepted answers, a full sentence."""
        for name, relation in self._tables["relations"].items():
            for x, y in relation["facts"][self._part].items():
                for _ in range(times):
                    wording = self._next(name, relation[self._part])
                    full = relation["answer"].format(x=x, y=y.split("|")[0])
                    yield wording.format(x=x), y, full
        for question, (answers, *full) in self._tables["questions"][self._part].items():
            for _ in range(times):
                yield question, answers, full[0] if full else ""

    def _question(self, question: str, answers: list[str], full: str) -> Row:
        task = self._next("questions", QUESTION_TASKS)
        rubric: Row = {"contains": [answers], "words": [1, 20]}
        prompt = self._constrained(question, task)
        return self._row(prompt, "open_qa", task, *_formed(task, rubric, full), answers)

    def _topic(self, topic: str, facts: Mapping[str, Any], task: str) -> Row:
        kind = "question" if task == "question" else "sentence"
        wording = self._next(f"topic {kind}", self._tables["topics"][kind][self._part])
        completion = facts.get(kind, "")
        prompt = wording.format(x=topic)
        if task == "quoted":
            prompt = self._constrained(prompt, task)
        wanted = [topic.removeprefix("the ")] if kind == "question" else facts["about"]
        rubric: Row = {"contains": [wanted], "form": [kind], "words": [4, 20]}
        return self._row(prompt, "generation", task, *_formed(task, rubric, completion))

    def _list(self, name: str, members: Sequence[str]) -> Row:
        number = self._next("number", (3, 2, 4))
        wording = self._next("lists", self._tables["lists"][self._part])
        rubric: Row = {
            "contains": [[member] for member in members],
            "at_least": number,
            "items": number,
            "form": ["unquoted"],
            "words": [number, 3 * number],
        }
        chosen = [members[(3 * place) % len(members)] for place in range(number)]
        prompt = wording.format(n=NUMBERS[number], x=name)
        return self._row(prompt, "brainstorming", "list", rubric, ", ".join(chosen))

    def _constrained(self, prompt: str, task: str) -> str:
        """The prompt with a constraint."""
        if task == "plain":
            return prompt
        return f"{prompt} {self._next(task, self._tables['constraints'][task][self._part])}"

    def _row(
        self,
        prompt: str,
        use_case: str,
        category: str,
        rubric: Row,
        completion: str,
        accepted: Iterable[str] = (),
    ) -> Row:
        row = {"prompt": prompt, "use_case": use_case, "category": category}
        return row | {"completion": completion, "accepted": [*accepted], "rubric": rubric}

    def _next(self, name: str, choices: Sequence[Any]) -> Any:
        return next(self._turns.setdefault(name, cycle(choices)))


def _formed(task: str, rubric: Row, completion: str) -> tuple[Row, str]:
    """What a constraint adds to the rubric, and makes of a demonstration. Quotation marks that
    nobody asked for are as wrong as missing ones."""
    form = rubric.get("form", [])
    if task == "sentence" and not form:
        rubric, form = rubric | {"words": [3, 15]}, ["sentence"]
    if task == "quoted":
        return rubric | {"form": [*form, "quoted"]}, f'"{completion}"'
    return rubric | {"form": [*form, "unquoted"]}, completion


def rows() -> dict[str, list[Row]]:
    """All rows by the file they are packaged in."""
    train, held_out = Tasks(tables(), "train"), Tasks(tables(), "held_out")
    demonstrations = train.questions(1) + train.topics(1) + train.lists()
    taken = {row["prompt"] for row in demonstrations}
    prompts = train.questions(5) + train.topics(4) + train.lists() + train.lists()
    kept = {row["prompt"]: row for row in prompts if row["prompt"] not in taken}
    return {
        "demonstrations": [_without(row, "split") for row in demonstrations],
        "prompts": [_without(row, "completion") for row in kept.values()],
        "eval_prompts": [
            _without(row, "completion")
            for row in held_out.questions(1) + held_out.topics(2) + held_out.lists()
        ],
    }


def write(folder: Path) -> None:
    """One file a split."""
    for name, found in rows().items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in found)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def _without(row: Row, column: str) -> Row:
    return {name: value for name, value in row.items() if name != column}


def tables() -> Mapping[str, Any]:
    """The packaged tables."""
    text = (files("rlhfkit_plugins.quickstart") / "data" / "tables.yaml").read_text("utf-8")
    found: Mapping[str, Any] = yaml.safe_load(text)
    return found


if __name__ == "__main__":
    write(Path(__file__).parent / "data")
