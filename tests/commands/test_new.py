"""A new plugin: made, installed, listed, and its own tests run."""

import os
import re
import subprocess
import sys

import pytest

from rlhfkit.commands.flags import parse_flags
from rlhfkit.commands.new import KINDS, NewOptions, files_of, make_new, names_of
from rlhfkit.errors import UserError


def passes(*command, cwd, path):
    found = os.pathsep.join([str(path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": found, "PYTEST_ADDOPTS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(plugins, tmp_path_factory):
    """A distribution with all kinds."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_new(["plugin", "rlhfkit-try.out", "--kind", "all"], plugins)
    return folder / "rlhfkit-try.out"


def test_all_kinds_installed_listed_and_tested(made, tmp_path):
    target = tmp_path / "site"
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", target)
    passes("pip", "install", *options, ".", cwd=made, path="")
    listed = passes("rlhfkit", "plugins", "--verbose", "try_out", cwd=tmp_path, path=target)
    assert "rlhfkit-try.out 0.1.0 (plugin 'try_out')" in listed
    for kind in KINDS:
        assert f"{kind}=try_out  " in listed
        assert f" in {target}/rlhfkit_try_out/{kind}.py\n" in listed
    tests = made / "tests"  # the installed package is tested, not the folder
    own = passes("pytest", "-q", "-p", "no:cacheprovider", ".", cwd=tests, path=target)
    assert re.search(r"^\d+ passed", own, re.MULTILINE)


def test_no_link_leads_nowhere():
    """rlhfkit is not on PyPI, and no stranger's page of its name is to be linked."""
    files = files_of(names_of("rlhfkit-mine"), [*KINDS])
    assert not [path for path, text in files.items() if "pypi.org" in text]
    assert "pip install rlhfkit-mine" not in files["README.md"]
    assert "--find-links wheels" in files[".github/workflows/test.yml"]


def test_files_are_clean_whatever_the_name(tmp_path):
    for kinds in [[kind] for kind in KINDS] + [[*KINDS]]:
        folder = tmp_path / "-".join(kinds)
        for path, text in files_of(names_of("rlhfkit-" + "x" * 32), kinds).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        passes("ruff", "check", "--no-cache", ".", cwd=folder, path="")
        passes("ruff", "format", "--no-cache", "--check", ".", cwd=folder, path="")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["x-class", "--kind=kl"], None),
        (["rlhfkit-class"], "'class' is a keyword of Python"),
        (["match"], "'match' is a keyword of Python"),
        (["3d"], "its module would begin with a digit"),
        (["a b"], "a distribution's name has letters"),
        (["a--b"], "a distribution's name has letters"),
        (["../x"], "a distribution's name has letters"),
        (["Ünder"], "a distribution's name has letters"),
        (["x" * 41], "has 41 letters; at most 40"),
        (["rlhfkit-length"], r"reward=length is taken by rlhfkit .* \(plugin 'rewards'\)"),
        (["length", "--kind=kl"], None),
        (["ppo", "--kind=optimizer"], "optimizer=ppo is taken"),
        (["rewards"], r"rlhfkit .* \(plugin 'rewards'\) is installed"),
        (["json"], "there is a module 'json' already; choose another name, as rlhfkit-json"),
        (["numpy"], "there is a module 'numpy' already"),
        (["here"], "new plugin here: is there already"),
        (["x", "--kind=rewrd"], "new --kind rewrd: did you mean 'reward'"),
        (["x", "--kind=,"], "new --kind: say which"),
        (["x", "y"], "new plugin: say one name"),
        ([], "new plugin: say one name"),
    ],
)
def test_names(plugins, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    if says is None:
        make_new(["plugin", *words], plugins)
        assert (tmp_path / words[0] / "pyproject.toml").is_file()
        return
    with pytest.raises(UserError, match=says):
        make_new(["plugin", *words], plugins)
    assert [place.name for place in tmp_path.iterdir()] == ["here"]


def test_only_plugins_are_made(plugins):
    with pytest.raises(UserError, match="new recipe: only plugins are made"):
        make_new(["recipe", "x"], plugins)


def test_kinds_with_commas_or_one_by_one():
    words, options = parse_flags("new", ["x", "--kind", "kl,data", "--kind=reward"], NewOptions)
    assert (words, options.kind) == (["x"], ["kl", "data", "reward"])
    assert NewOptions().kind == ["reward"]
