"""Every option has a sentence that stands alone, and users see it."""

import subprocess
import sys

import pytest

from rlhfkit.commands.options import known_options
from rlhfkit.component import GROUPS
from rlhfkit.config.docs import options_of
from tests.commands.test_main import rlhfkit

CHOICES = {group.name for group in GROUPS}


def test_every_option_has_a_sentence(plugins):
    wanted = {
        f"{name}.{option.name}": option.doc
        for name, config in known_options(plugins).items()
        for option in options_of(config)
        if not (name == "run" and option.name in CHOICES)
    }
    assert len(wanted) > 250
    assert [name for name, doc in wanted.items() if not doc.endswith((".", ")"))] == []
    assert [name for name, doc in wanted.items() if doc.startswith(("Of ", "The same"))] == []


def test_a_component_shows_its_options_with_their_paths(tmp_path):
    shown = rlhfkit("options", "kl=fixed", "reward=length", cwd=tmp_path, check=0).stdout
    assert "kl.kl_coef=0.02\n      Coefficient of the KL penalty, constant" in shown
    assert "reward.length.min=0\n      Fewest words that cost nothing." in shown
    assert "adaptive" not in shown


def test_a_group_shows_all_and_a_section_its_own(tmp_path):
    assert "kl.horizon=10000" in rlhfkit("options", "kl", cwd=tmp_path, check=0).stdout
    shown = rlhfkit("options", "stage.rl", cwd=tmp_path, check=0).stdout
    assert "stage.rl.total_episodes=" in shown
    assert "stage.sft" not in shown


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path):
    done = rlhfkit("options", "optimiser", cwd=tmp_path, check=2)
    said = "rlhfkit: options optimiser: no such group or section; did you mean 'optimizer'"
    assert done.stderr.startswith(said)


@pytest.mark.parametrize("words", [[], ["optimizer"]])
def test_it_is_shown_without_torch(words):
    code = (
        "import sys; from rlhfkit.commands.main import main; "
        f"main(['options', *{words}]); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
