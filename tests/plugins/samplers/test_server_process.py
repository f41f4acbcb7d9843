"""sampler.launch=true with a small command in vLLM's place."""

import signal
import subprocess
import sys
import time

import pytest
from transformers import LlamaConfig

from rlhfkit.errors import Stopped, UserError
from rlhfkit_plugins.samplers import server_checks, server_process

SERVES = """
import http.server, os, subprocess, sys
from pathlib import Path
folder = Path({folder!r})
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(folder / "pids").write_text(f"{{os.getpid()}} {{child.pid}}")
(folder / "words").write_text(" ".join(sys.argv[1:]))
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""


@pytest.fixture
def context_for(make_context, tmp_path):
    def make(code, **options):
        script = tmp_path / "vllm.py"
        script.write_text(code.format(folder=str(tmp_path)))
        given = [f"sampler.{name}={value}" for name, value in options.items()]
        return make_context(
            f"model.path={tmp_path}",
            "loader=lora",
            "loader.lora_r=20",
            "sampler=server",
            "sampler.launch=true",
            f"sampler.command=[{sys.executable},{script}]",
            *given,
        )

    yield make
    server_process.stop()


def pids(folder):
    return [int(word) for word in (folder / "pids").read_text().split()]


def is_gone(pid):
    """Dead, or a zombie that its parent has yet to read."""
    for _ in range(100):
        state = subprocess.run(["ps", "-o", "stat=", str(pid)], capture_output=True, text=True)
        if not state.stdout.strip() or state.stdout.startswith("Z"):
            return True
        time.sleep(0.1)
    return False


def test_one_server_a_stage_with_all_of_its_processes(context_for, plugins, tmp_path):
    context = context_for(SERVES, arguments="[--enforce-eager]")
    server = server_process.running(context.config.sampler, context)
    assert server_process.running(context.config.sampler, context) is server
    words = (tmp_path / "words").read_text()
    assert words.startswith(f"serve {tmp_path} --served-model-name base --host 127.0.0.1 --port ")
    assert words.endswith(
        "--dtype float32 --max-model-len 576 --logprobs-mode processed_logprobs "
        "--enable-lora --max-lora-rank 32 --enforce-eager"
    )
    plugins.hook.stage_finished(stage="sample", context=context, seconds=1.0)
    assert all(map(is_gone, pids(tmp_path)))


def test_a_server_ends_with_a_process_that_is_killed(tmp_path):
    script = tmp_path / "vllm.py"
    script.write_text(SERVES.format(folder=str(tmp_path)))
    command = [sys.executable, server_process.server_guard.__file__, sys.executable, str(script)]
    code = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen({[*command, '--port', '0']!r}, stdin=subprocess.PIPE)\n"
        "time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    while not (tmp_path / "words").exists():
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert all(map(is_gone, pids(tmp_path)))


def test_a_server_that_ends_by_itself(context_for):
    context = context_for("print('no such model'); raise SystemExit(3)")
    with pytest.raises(Stopped, match=r"ended by itself: no such model; .*log") as error:
        server_process.running(context.config.sampler, context)
    assert "\n" not in str(error.value)


def test_a_server_that_is_never_ready(context_for):
    context = context_for("import time; time.sleep(600)", start_timeout=0.5)
    with pytest.raises(Stopped, match=r"sampler\.start_timeout=0\.5: vLLM is not ready"):
        server_process.running(context.config.sampler, context)


def test_a_command_that_is_not_there(context_for, tmp_path):
    LlamaConfig().save_pretrained(tmp_path)
    context = context_for("", command="[/nowhere/vllm]")
    config = context.config.sampler
    with pytest.raises(UserError, match=r"sampler\.command=/nowhere/vllm: no such command"):
        context.factory("sampler", config).check_run(config, context)


def test_several_processes(context_for, monkeypatch):
    context = context_for("")
    monkeypatch.setattr(server_checks, "longest", lambda *_: (0, ""))
    monkeypatch.setattr(server_checks, "load_config", lambda _: LlamaConfig())
    monkeypatch.setattr(server_checks.processes, "world_size", lambda: 2)
    with pytest.raises(UserError, match=r"sampler\.launch=true: each of 2 processes"):
        server_checks.check_served(context.config.sampler, context)
