"""Faulty plugins give one line that names distribution and version."""

import sys
from importlib.metadata import Distribution, EntryPoint, entry_points
from types import ModuleType

import pytest

from rlhfkit import hookimpl
from rlhfkit.commands.known_commands import others_of
from rlhfkit.component import Command, Component
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import RESTRICT_VARIABLE, load_plugins
from rlhfkit_plugins.kl import FixedConfig


class FakeDistribution(Distribution):
    """A distribution that is not installed."""

    def __init__(self, name):
        self._text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 3.2.1\n"

    def read_text(self, filename):
        return self._text if filename == "METADATA" else None

    def locate_file(self, path):
        raise FileNotFoundError(path)


@pytest.fixture
def plugin(monkeypatch):
    """`plugin("mine", hook=function)`: an entry point to a module with these hooks."""

    def make(name, distribution="rlhfkit-mine", **hooks):
        module = ModuleType(f"fake_{name}")
        for hook, function in hooks.items():
            setattr(module, hook, hookimpl(function))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        entry = EntryPoint(name, module.__name__, "rlhfkit")
        return entry._for(FakeDistribution(distribution))

    return make


def kl(name, build="rlhfkit_plugins.kl.controllers:FixedKL"):
    return lambda: [Component(name, FixedConfig, build)]


def test_a_component_of_a_plugin_is_found_with_its_provider(plugin):
    loaded = load_plugins([plugin("mine", kl_controllers=kl("mine"))])
    provided = loaded.components["kl"]["mine"]
    assert str(provided.provider) == "rlhfkit-mine 3.2.1 (plugin 'mine')"
    assert provided.component.factory.__name__ == "FixedKL"


def test_two_plugins_that_claim_one_name(plugin):
    entries = [
        plugin("one", "rlhfkit-one", kl_controllers=kl("same")),
        plugin("two", "rlhfkit-two", kl_controllers=kl("same")),
    ]
    with pytest.raises(UserError) as error:
        load_plugins(entries)
    text = str(error.value)
    assert text.startswith("kl=same is claimed by")
    assert "rlhfkit-one 3.2.1" in text
    assert "rlhfkit-two 3.2.1" in text
    assert "\n" not in text


def test_two_plugins_that_claim_one_command(plugin):
    claimed = {"commands": lambda: [Command("same", "a line", "json:dumps")]}
    entries = [plugin("one", "rlhfkit-one", **claimed), plugin("two", "rlhfkit-two", **claimed)]
    with pytest.raises(UserError, match=r"rlhfkit same is claimed by .* and by .*; uninstall one"):
        load_plugins(entries)


def test_a_plugin_cannot_hide_a_command(plugin):
    entry = plugin("mine", commands=lambda: [Command("plan", "a line", "json:dumps")])
    with pytest.raises(UserError, match="rlhfkit plan: a plugin claims a command of rlhfkit's own"):
        others_of(load_plugins([entry]))


@pytest.mark.parametrize("package", [True, False], ids=["a package", "a file"])
def test_whose_code_an_error_was_raised_in(tmp_path, monkeypatch, package):
    """Also where it went through another library on its way."""
    file = tmp_path / ("their_package/inside.py" if package else "their_file.py")
    file.parent.mkdir(exist_ok=True)
    file.write_text("import json\ndef fail(): json.loads('{')\n")
    if package:
        (file.parent / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    name = "their_package.inside" if package else "their_file"
    entry = EntryPoint("mine", name, "rlhfkit")._for(FakeDistribution("rlhfkit-mine"))
    loaded = load_plugins([entry])
    with pytest.raises(ValueError, match="Expecting property name") as raised:
        sys.modules[name].fail()
    assert str(loaded.provider_of(raised.value)) == "rlhfkit-mine 3.2.1 (plugin 'mine')"


def test_an_error_of_nobodys_plugin(plugin):
    with pytest.raises(ZeroDivisionError) as raised:
        _ = 1 / 0
    assert load_plugins([]).provider_of(raised.value) is None


def test_a_misspelt_hook(plugin):
    with pytest.raises(UserError) as error:
        load_plugins([plugin("mine", reward_function=lambda: [])])
    assert str(error.value) == (
        "rlhfkit-mine 3.2.1 (plugin 'mine'): unknown hook 'reward_function'; "
        "did you mean 'reward_functions'?"
    )


def test_a_plugin_that_cannot_be_imported():
    entry = EntryPoint("mine", "no_such_module_anywhere", "rlhfkit")
    with pytest.raises(UserError) as error:
        load_plugins([entry._for(FakeDistribution("rlhfkit-mine"))])
    assert str(error.value) == (
        "rlhfkit-mine 3.2.1 (plugin 'mine') cannot be imported: ModuleNotFoundError: "
        "No module named 'no_such_module_anywhere'; mend or uninstall it"
    )


@pytest.mark.parametrize("build", ["no_such_module_anywhere:Build", "json:no_such_name"])
def test_a_component_whose_import_fails(plugin, make_context, build, monkeypatch):
    entry = plugin("mine", kl_controllers=kl("fixed", build))
    loaded = load_plugins([entry])
    context = make_context("kl=fixed")
    monkeypatch.setitem(context.plugins.components["kl"], "fixed", loaded.components["kl"]["fixed"])
    with pytest.raises(UserError) as error:
        context.build("kl")
    text = str(error.value)
    assert text.startswith("kl=fixed of rlhfkit-mine 3.2.1 (plugin 'mine'): cannot import")
    assert "\n" not in text


def test_the_variable_restricts_what_is_loaded(monkeypatch):
    monkeypatch.setenv(RESTRICT_VARIABLE, "kl, rewards")
    loaded = load_plugins(entry_points(group="rlhfkit"))
    assert sorted(loaded.providers) == ["kl", "rewards"]
    assert loaded.components["loader"] == {}


def test_an_unknown_component_names_the_nearest(plugins):
    from rlhfkit.component import GROUPS

    group = next(group for group in GROUPS if group.name == "optimizer")
    with pytest.raises(UserError, match="optimizer=pppo: no such component; did you mean 'ppo'"):
        plugins.find(group, "pppo")
