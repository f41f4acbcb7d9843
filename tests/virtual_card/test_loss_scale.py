"""Float16 on a card without bfloat16: steps whose scaled gradients overflow are left out."""

import json

import pytest

CODE = """
from tests.virtual_card import card  # before torch
import json, sys
from pathlib import Path
import accelerate.accelerator
import torch
from safetensors.torch import load_file
from rlhfkit.errors import Stopped
from tests.virtual_card.scenario import TinyRuns

results, sys.stdout = sys.stdout, sys.stderr
scaler = torch.amp.GradScaler("cuda", init_scale=float(sys.argv[1]))
accelerate.accelerator.get_grad_scaler = lambda *_, **__: scaler
try:
    options = ("loader=lora", "stages=[sft,rl]", "reward=[length]")
    root = TinyRuns(Path(sys.argv[2])).run("run", *options)
except Stopped as error:
    print(json.dumps(str(error)), file=results)
    sys.exit()
weights = [load_file(each) for each in sorted(root.glob("*/model/adapter_model.safetensors"))]
files = [root / stage / "metrics.jsonl" for stage in ("sft", "rl")]
rows = [json.loads(line) for file in files for line in file.open()]
found = {
    "trained": [any(one[key].any() for key in one if "lora_B" in key) for one in weights],
    "norms": [name for row in rows for name in row if "grad_norm" in name],
    "kl": [row["objective/kl"] for row in rows if "objective/kl" in row],
}
print(json.dumps(found), file=results)
"""


@pytest.fixture
def run(card_process, tmp_path):
    """`run(65536)`: what a run found whose losses are scaled so."""

    def start(scale):
        arguments = ("-c", CODE, str(scale), str(tmp_path))
        return json.loads(card_process(*arguments, VIRTUAL_CUDA_CAPABILITY="7.5").splitlines()[-1])

    return start


def test_a_usual_scale_trains_in_every_step(run):
    found = run(2**16)
    assert found["trained"] == [True, True]
    assert set(found["norms"]) == {"policy/grad_norm", "value/grad_norm"}
    assert max(found["kl"]) > 0


def test_gradients_that_overflow_update_nothing_and_are_not_logged(run):
    found = run(2**100)
    assert found["trained"] == [False, False]
    assert found["norms"] == []


def test_gradients_that_overflow_without_any_scale_stop_the_stage_in_a_line(run):
    said = run(0.5)
    assert said.startswith("stage sft, step 1: a gradient of the trained model is NaN or infinite")
    assert said.endswith("or model.dtype=float32")
