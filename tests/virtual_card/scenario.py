"""Tiny runs on this process's device. Import the card first; without it they run on the CPU."""

import json
from pathlib import Path

from hydra import compose, initialize_config_module

from rlhfkit.commands.hydra_store import register_configs
from rlhfkit.plugin_manager import load_plugins
from rlhfkit.runner.runner import Runner
from rlhfkit.testing.tiny import WORDS
from rlhfkit.testing.tiny_run import SETTINGS, write_files

SPLITS = ("demonstrations", "prompts", "eval_prompts", "pretraining")


class TinyRuns:
    """Runs with one model and one set of files, in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._plugins = folder, load_plugins()
        register_configs(self._plugins)
        files = write_files(folder)
        texts = [json.dumps({"text": f"red and {word} is the best"}) for word in WORDS]
        files["pretraining"].write_text("\n".join(texts), encoding="utf-8")  # some are held out
        splits = [f"data.files.{split}={files[split]}" for split in SPLITS]
        self._settings = [*SETTINGS, f"model.path={files['model']}", *splits]

    def runner(self, name: str, *overrides: str) -> Runner:
        """A run that waits to be started."""
        dropped = ("loader.", "optimizer.") if "loader=full" in overrides else ("?",)
        kept = [item for item in self._settings if not item.startswith(dropped)]
        place = ["run_name=test", f"run_dir={self._folder / name}"]
        with initialize_config_module("rlhfkit_conf", version_base="1.3"):
            return Runner(compose("config", [*place, *kept, *overrides]), self._plugins)

    def run(self, name: str, *overrides: str) -> Path:
        """The directory of a run, run to its end."""
        runner = self.runner(name, *overrides)
        runner.run()
        return runner.run_dir.root
