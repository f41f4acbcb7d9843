"""What `pip install rlhfkit` gives, without any extra: everything but servers, the harness and the
contract suites can be imported."""

import json
import subprocess
import sys

CODE = """
import json, pkgutil, sys
from importlib import import_module

for name in ("starlette", "uvicorn", "datafog", "hatesonar", "lm_eval", "deepspeed", "pytest"):
    sys.modules[name] = None
failed = {}
for root in ("rlhfkit", "rlhfkit_plugins"):
    package = import_module(root)
    for module in pkgutil.walk_packages(package.__path__, f"{root}.", onerror=lambda name: None):
        if not module.name.endswith("__main__"):
            try:
                import_module(module.name)
            except ImportError as error:
                failed[module.name] = str(error)
print(json.dumps(failed))
"""
NEED_ONE = {
    "rlhfkit.commands.chat_page",
    "rlhfkit.labelling.serve",
    "rlhfkit.labelling.server",
    "rlhfkit.web.requests",
    "rlhfkit.web.security",
    "rlhfkit.web.serving",
    "rlhfkit_plugins.evaluators.harness_model",
}


def test_only_servers_harness_and_contract_suites_need_an_extra():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    failed = json.loads(done.stdout.splitlines()[-1])
    assert set(failed) - NEED_ONE == {name for name in failed if "rlhfkit.testing" in name}, failed
    assert set(failed) >= NEED_ONE
