"""recipe=ablate_kl and ablate_ptx: sweeps over the quickstart at the paper's values."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlhfkit.data import sources
from rlhfkit.figures.paper_curves import PAPER

FOLDER = Path(__file__).parents[2] / "recipes" / "recipe"


def points(recipe):
    """The one option that is varied, and its values."""
    params = OmegaConf.load(FOLDER / f"{recipe}.yaml").hydra.sweeper.params
    ((option, values),) = params.items()
    return option, [float(value) for value in values.split(",")]


def test_beta_takes_the_values_of_the_papers_curve():
    assert points("ablate_kl") == ("kl.kl_coef", list(PAPER["kl.kl_coef"].points))


def test_gamma_is_on_both_sides_of_the_papers():
    option, values = points("ablate_ptx")
    assert option == "optimizer.ptx_coef"
    assert {0.0, PAPER[option].starts, 27.8} <= set(values)


@pytest.mark.parametrize(
    ("recipe", "changed"),
    [
        ("ablate_kl", {"kl", "reuse"}),
        (
            "ablate_ptx",
            {"kl", "reuse", "evaluator", "optimizer", "pretraining_eval_fraction"},
        ),
    ],
)
def test_the_rest_is_the_quickstart(make_raw, recipe, changed):
    ablation, quickstart = make_raw(f"recipe={recipe}"), make_raw("recipe=quickstart")
    assert {key for key in quickstart if ablation[key] != quickstart[key]} == changed
    assert ablation.kl == {"name": "fixed", "kl_coef": 0.02}


def test_the_quickstart_has_texts_to_hold_out(make_context):
    context = make_context("recipe=ablate_ptx")
    assert len(sources.held_out_texts(context)) == 24


def test_stages_shows_every_point_and_leaves_no_trace(tmp_path):
    rlhfkit = Path(sys.executable).with_name("rlhfkit")
    done = subprocess.run(
        [str(rlhfkit), "stages", "recipe=ablate_kl"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("reward_model") == len(PAPER["kl.kl_coef"].points)
    assert list(tmp_path.iterdir()) == []
