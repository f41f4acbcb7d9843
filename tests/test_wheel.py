"""The wheel alone, in an empty environment: every recipe composes, without torch. Wheel and sdist
are what an index takes."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_SOURCE = shutil.ignore_patterns(".*", "runs", "build", "*.egg-info", "__pycache__")


def run(*arguments, **options):
    done = subprocess.run(
        [str(item) for item in arguments], capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_recipe_composes_from_the_installed_wheel(tmp_path):
    source = shutil.copytree(ROOT, tmp_path / "source", ignore=NOT_SOURCE)
    pip = [sys.executable, "-m", "pip"]
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path / "dist", source)
    wheel = next((tmp_path / "dist").glob("rlhfkit-*.whl"))

    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    run(*install, "filelock", "hydra-core", "pluggy", "psutil", "rich")
    run(*install, "--no-deps", wheel)

    recipes = sorted(path.stem for path in (ROOT / "recipes" / "recipe").glob("*.yaml"))
    assert "quickstart" in recipes
    environment = {key: item for key, item in os.environ.items() if key != "PYTHONPATH"}
    command = tmp_path / "empty" / "bin" / "rlhfkit"
    for recipe in recipes:
        shown = run(command, f"recipe={recipe}", "--cfg", "job", cwd=tmp_path, env=environment)
        assert "num_train_epochs" in shown
    packaged = (
        "from importlib.resources import files;"
        "print((files('rlhfkit_plugins.quickstart') / 'data' / 'prompts.jsonl').is_file(),"
        "(files('rlhfkit_plugins.labelers') / 'judge_prompts' / 'pairwise.yaml').is_file(),"
        "(files('rlhfkit_conf') / 'accelerate' / 'fsdp2.yaml').is_file(),"
        "(files('rlhfkit_conf') / 'hydra' / 'launcher' / 'slurm.yaml').is_file(),"
        "(files('rlhfkit.commands') / 'plugin_template' / 'kl.py.jinja').is_file(),"
        "(files('rlhfkit.labelling') / 'pages' / 'label.js').is_file())"
    )
    found = run(python, "-c", packaged, cwd=tmp_path, env=environment)
    assert found.split() == ["True"] * 6


def test_wheel_and_sdist_are_fit_for_an_index(tmp_path):
    for tool in ("build", "twine"):
        pytest.importorskip(tool, reason=f"NOT TESTED: {tool} of the extra dev is not installed")
    source = shutil.copytree(ROOT, tmp_path / "source", ignore=NOT_SOURCE)
    run(sys.executable, "-m", "build", "--outdir", tmp_path / "dist", source)
    found = sorted((tmp_path / "dist").iterdir())
    assert [file.suffix for file in found] == [".whl", ".gz"]
    run(sys.executable, "-m", "twine", "check", "--strict", *found)
    with tarfile.open(found[1]) as archive:
        names = archive.getnames()
    assert f"{names[0]}/README.md" in names
    assert f"{names[0]}/recipes/recipe/quickstart.yaml" in names
    assert f"{names[0]}/plugins/quickstart/data/prompts.jsonl" in names
