"""Stage prepare on human data: the folder named by RLHFKIT_DATA holds demos, prompts and rankings
as `.jsonl.gz` with the columns of docs/data.md."""

import json
import os
from pathlib import Path

import pytest

from rlhfkit.data.prepared import PARTS
from rlhfkit.data.split_keys import prompt_key
from rlhfkit.storage.run_dir import read_jsonl

FILES = {"demonstrations": "demos", "prompts": "prompts", "rankings": "rankings"}


@pytest.fixture
def human_data():
    root = Path(os.environ.get("RLHFKIT_DATA", ""))
    missing = [name for name in FILES.values() if not (root / f"{name}.jsonl.gz").exists()]
    if missing:
        pytest.skip(f"RLHFKIT_DATA names no folder with {', '.join(missing)}.jsonl.gz")
    given = [f"data.files.{split}={root / name}.jsonl.gz" for split, name in FILES.items()]
    return [*given, "data.files.eval_prompts=null"]


def test_filters_find_something_and_no_prompt_leaks(run_tiny, human_data):
    runner = run_tiny(
        "stages=[prepare]", *human_data, "stage.prepare.max_prompt_length=500",
        "stage.prepare.dedup_prefix=64", "stage.prepare.validation_fraction=0.1",
        "stage.prepare.test_fraction=0.1", "stage.prepare.pii=[EMAIL,PHONE]",
    )  # fmt: skip
    root = runner.run_dir.stage_dir("prepare")
    steps = {step["step"]: step for step in json.loads((root / "counts.json").read_text())}
    for kind in FILES:
        parts = [steps[f"split by user: {part}"][kind] for part in PARTS]
        kept = steps["shared prefix"][kind]
        assert kept - sum(parts) <= 0.02 * kept  # prompts of several users, here of none
        assert all(0.05 * kept < part for part in parts)
        assert steps["train: personal data"][kind] <= parts[0]
    prompts = [step["prompts"] for step in steps.values()]
    assert prompts[0] > prompts[1] > prompts[2]
    assert steps["train: personal data"]["prompts"] < steps["split by user: train"]["prompts"]
    found = [
        {prompt_key(row["prompt"]) for file in (root / part).iterdir() for row in read_jsonl(file)}
        for part in PARTS
    ]
    assert sum(map(len, found)) == len(set().union(*found))
