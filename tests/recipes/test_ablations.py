"""recipe=ablate_kl and ablate_ptx: sweeps over the quickstart at the paper's values."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlhfkit.data import sources
from rlhfkit.errors import UserError
from rlhfkit.figures.paper_curves import PAPER

FOLDER = Path(__file__).parents[2] / "recipes" / "recipe"


def points(recipe):
    """The one option that is varied beside the seed, and its values."""
    params = OmegaConf.load(FOLDER / f"{recipe}.yaml").hydra.sweeper.params
    (_, seeds), (option, values) = params.items()
    assert len(seeds.split(",")) >= 2
    return option, [float(value) for value in values.split(",")]


def test_beta_takes_the_values_of_the_papers_curve():
    assert points("ablate_kl") == ("kl.kl_coef", list(PAPER["kl.kl_coef"].points))


def test_gamma_is_on_both_sides_of_the_papers():
    option, values = points("ablate_ptx")
    assert option == "optimizer.ptx_coef"
    assert {0.0, 27.8} <= set(values)
    assert len([value for value in values if value < PAPER[option].starts]) == 3


@pytest.mark.parametrize("recipe", ["ablate_kl", "ablate_ptx"])
def test_the_rest_is_the_quickstart(make_raw, recipe):
    ablation, quickstart = make_raw(f"recipe={recipe}"), make_raw("recipe=quickstart")
    assert {key for key in quickstart if ablation[key] != quickstart[key]} == {
        "data", "kl", "reuse", "evaluator", "optimizer", "pretraining_eval_fraction", "stage",
        "stages",
    }  # fmt: skip
    before, after = (OmegaConf.to_container(own.stage) for own in (quickstart, ablation))
    assert {stage for stage in before if before[stage] != after[stage]} == {"rl_sft"}
    assert ablation.kl == {"name": "fixed", "kl_coef": 0.02}


@pytest.mark.parametrize("recipe", ["ablate_kl", "ablate_ptx"])
def test_rl_has_the_mix_as_the_paper_has_it(make_raw, recipe):
    """C.3, C.4: from a model that has seen the mix, at the rate of SFT, with 8 texts an episode."""
    config = make_raw(f"recipe={recipe}")
    assert "rl_sft" in config.stages
    assert config.stage.rl_sft.num_train_epochs == 2
    assert config.stage.rl_sft.pretraining_fraction == 0.1
    assert config.stage.rl_sft.learning_rate == config.stage.sft.learning_rate
    assert config.optimizer.ptx_per_episode == 8
    assert recipe == "ablate_ptx" or config.optimizer.ptx_coef == 27.8


def test_a_file_of_texts_takes_the_place_of_the_quickstarts(make_context, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("".join(f"Text {number}.\n" for number in range(400)))
    settings = ["data=[quickstart,files]", f"data.files.pretraining={file}"]
    context = make_context("recipe=ablate_ptx", *settings)
    assert len(sources.demonstrations(context)) > 100
    assert len(sources.held_out_texts(context)) == 29
    assert len(sources.pretraining_texts(context)) == 371


def test_two_sources_that_are_told_to_give_the_same_are_refused(make_context, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("Text.\n")
    both = [f"data.{name}.pretraining={file}" for name in ("files", "hub")]
    with pytest.raises(UserError, match="data: files and hub both give pretraining; leave it out"):
        sources.pretraining_texts(make_context("data=[files,hub]", *both))


def test_stages_shows_every_point_and_leaves_no_trace(tmp_path):
    rlhfkit = Path(sys.executable).with_name("rlhfkit")
    done = subprocess.run(
        [str(rlhfkit), "stages", "recipe=ablate_kl"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("reward_model") == 2 * len(PAPER["kl.kl_coef"].points)
    assert list(tmp_path.iterdir()) == []
