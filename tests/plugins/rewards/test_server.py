"""reward=server against real servers over HTTP: well, ill for a while, dead, hanging, wrong."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rlhfkit.errors import Stopped, UserError
from rlhfkit.runner.runner import Runner
from rlhfkit.testing import RewardFunctionContract
from rlhfkit.types import Messages
from rlhfkit_plugins.json_server import wanted_wait
from rlhfkit_plugins.rewards import ServerRewardConfig
from rlhfkit_plugins.rewards.server import ServerReward

PROMPT: Messages = [{"role": "user", "content": "what is red"}]


def lengths(asked):
    """Well: a score per completion."""
    return 200, {"scores": [float(len(text)) for text in asked["completions"]]}


class Server(ThreadingHTTPServer):
    """Gives each question to the next of its answers, and to the last one from then on."""

    def __init__(self, answers):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked, self.released = list(answers), [], threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((asked, self.headers.get("Authorization")))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer == "hang":
            self.server.released.wait()
        elif answer != "drop":
            status, body = answer(asked) if callable(answer) else answer
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode() if isinstance(body, str) else json.dumps(body).encode())

    def log_message(self, *_):
        pass


@contextmanager
def serving(*answers):
    server = Server(answers or [lengths])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def reward(server, **options):
    quick = {"retry_delay": 0.01, "timeout": 5.0, "retries": 3}
    return ServerReward(ServerRewardConfig(url=server.url, **{**quick, **options}))


def score(function, *completions):
    return function([PROMPT] * len(completions), list(completions), finished=[])


class TestContract(RewardFunctionContract):
    @pytest.fixture(autouse=True)
    def served(self):
        with serving() as self.server:
            yield

    def make(self):
        return reward(self.server)


def test_what_is_asked_and_answered(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "secret")
    with serving() as server:
        function = reward(server, batch_size=2, api_key_variable="SOME_KEY")
        assert score(function, "a", "bcd", "") == [1.0, 3.0, 0.0]
    assert server.asked == [
        ({"prompts": [PROMPT] * 2, "completions": ["a", "bcd"]}, "Bearer secret"),
        ({"prompts": [PROMPT], "completions": [""]}, "Bearer secret"),
    ]


@pytest.mark.parametrize("ill", [(500, "loading"), (429, "later"), "drop"])
def test_a_server_that_is_ill_for_a_while(ill, capsys):
    with serving(ill, ill, lengths) as server:
        assert score(reward(server), "abc") == [3.0]
    assert len(server.asked) == 3
    said = capsys.readouterr().out
    assert "; trying again in 0.01 s\n" in said
    assert "; trying again in 0.02 s\n" in said


def test_the_wait_doubles():
    with serving((503, ""), (503, ""), (503, ""), lengths) as server:
        started = time.monotonic()
        score(reward(server, retry_delay=0.1), "a")
        assert time.monotonic() - started > 0.1 + 0.2 + 0.4


def stopped(function):
    with pytest.raises(Stopped) as error:
        score(function, "a")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_server_that_died():
    with serving() as server:
        function = reward(server)
        assert score(function, "a") == [1.0]
    said = stopped(function)
    assert said.startswith(f"reward.server.url={server.url}: no answer: ")
    assert said.endswith("refused, asked 4 times; is the reward server running there?")


def test_a_server_that_stays_ill():
    with serving((500, "out of\nmemory")) as server:
        said = stopped(reward(server))
    assert " answered 500: out of memory, asked 4 times" in said


def test_a_server_that_hangs():
    with serving("hang") as server:
        started = time.monotonic()
        said = stopped(reward(server, timeout=0.1, retries=1))
        assert time.monotonic() - started < 10
    assert "no answer: timed out, asked 2 times" in said
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((404, "no such page"), " answered 404: no such page"),
        ((200, "fine"), "the answer is not {\"scores\": [...]} with numbers, but 'fine'"),
        ((200, {"score": [1.0]}), "the answer is not"),
        ((200, {"scores": ["good"]}), "the answer is not"),
        ((200, {"scores": [1.0, 2.0]}), "2 scores for 1 completion"),
    ],
    ids=str,
)
def test_a_server_that_is_wrong_is_not_asked_again(answer, says):
    with serving(answer) as server:
        assert says in stopped(reward(server))
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "localhost:8000"}, "reward.server.url=localhost:8000: must begin with http://"),
        ({"timeout": 0}, "reward.server.timeout=0"),
        ({"retries": -1}, "reward.server.retries=-1"),
        ({"retry_delay": -1}, "reward.server.retry_delay=-1"),
        ({"batch_size": 0}, "reward.server.batch_size=0"),
    ],
    ids=str,
)
def test_wrong_options(options, says):
    with pytest.raises(UserError, match=says):
        ServerRewardConfig(**options).check("reward.server")


def test_a_run_keeps_what_is_finished_when_the_server_dies(
    run_tiny, plugins, make_raw, tiny_overrides
):
    with serving(lengths, (500, "dying")) as server:
        options = ["reward=[server]", "optimizer=rloo", f"reward.server.url={server.url}"]
        options += ["reward.server.retries=1", "reward.server.retry_delay=0.01"]
        with pytest.raises(Stopped, match="answered 500: dying, asked 2 times"):
            run_tiny("stages=[sft,rl]", *options)
    runner = Runner(make_raw(*tiny_overrides, "stages=[sft,rl]", *options), plugins)
    assert runner.run_dir.record("sft") is not None
    assert runner.run_dir.record("rl") is None
    metrics = (runner.run_dir.stage_dir("rl") / "metrics.jsonl").read_text().splitlines()
    assert len(metrics) == 1


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), (None, 0.0), ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0)]
)
def test_how_long_a_busy_server_wants_to_be_left_alone(header, seconds):
    assert wanted_wait(header) == seconds
