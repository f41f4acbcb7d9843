"""The conversation in the browser: what is answered and stored, who is refused, and the page itself
in Chromium."""

import json
import re
import threading
import time

import pytest
from starlette.testclient import TestClient

from rlhfkit.commands.chat_page import ChatPage, listening_page
from rlhfkit.commands.conversation import Chat
from rlhfkit.commands.jsonl_files import whole_rows
from rlhfkit.data.row_parsing import CONVERT
from rlhfkit.errors import UserError
from rlhfkit.types import Ends
from rlhfkit.web.serving import listening, server_of
from tests.labelling.browser import Browser, wait

HOSTILE = "<img src=x onerror=alert(1)></textarea>"
END = "."


class Words:
    """A word is a token."""

    ends = Ends((0,))

    def __init__(self):
        self.known = [END]

    def ids(self, text):
        self.known += [word for word in text.split() if word not in self.known]
        return [self.known.index(word) for word in text.split()]

    def prompt_ids(self, prompt):
        return self.ids(" ".join(message["content"] for message in prompt))

    def decode(self, ids):
        return " ".join(self.known[number] for number in ids if number)


class Says:
    """A policy that says the same again and again."""

    def __init__(self, words, text, wait=0.0):
        self.words, self.text, self.wait = words, text, wait

    def answer(self, prompt, ends, temperature, most):
        ids = self.words.ids(self.text)
        for place in range(len(ids)):
            time.sleep(self.wait)
            yield ids[: place + 1]


class Fails(Says):
    def answer(self, *_):
        yield self.words.ids("red")
        raise UserError("the text is too long")


def conversation(folder, wait=0.0, **answers):
    words = Words()
    answers = answers or {"sft": f"red {HOSTILE} .", "rl": "green and blue ."}
    policies = {name: Says(words, text, wait) for name, text in answers.items()}
    return Chat(words, policies, folder / "rankings.jsonl", 1.0, 20)


class Talker:
    """Who came by the link."""

    def __init__(self, session):
        self.session = session
        self.page = ChatPage(session, "a run", "cookie")
        self.client = TestClient(self.page.app, base_url="http://127.0.0.1:8766")
        assert "Begin" in self.client.get(f"/join/{self.page.token}").text
        self.token = self.client.get("/").text.split('data-token="')[1].split('"')[0]

    def post(self, path, **data):
        data = {"turns": len(self.session.turns), **data}
        headers = {"x-form-token": self.token, "content-type": "application/json"}
        return self.client.post(path, content=json.dumps(data), headers=headers)

    def ask(self, question="what is best"):
        return [json.loads(line) for line in self.post("/ask", question=question).text.splitlines()]


@pytest.fixture
def talker(tmp_path):
    return Talker(conversation(tmp_path))


def test_answers_come_word_by_word_and_a_vote_is_a_ranking(talker):
    said = talker.ask()
    assert said[0] == {"answers": ["red", ""]}
    assert {"answers": [f"red {HOSTILE}", "green and"]} in said
    answers = [f"red {HOSTILE}", "green and blue"]
    assert said[-1] == {"answers": answers, "finished": [True, True], "votable": [True, True]}
    assert talker.post("/vote", best=1).status_code == 200
    (row,) = whole_rows(talker.session.votes)
    ranking = CONVERT["rankings"](row)
    assert ranking.prompt == [{"role": "user", "content": "what is best"}]
    assert (ranking.ranks, ranking.labeler, row["sources"]) == ([1, 2], "chat", ["sft", "rl"])
    talker.ask("and then")
    assert [one["content"] for one in talker.session.turns[-1].prompt] == [
        "what is best", f"red {HOSTILE}", "and then",
    ]  # fmt: skip


def test_texts_are_never_read_as_html(talker):
    talker.ask(HOSTILE)
    page = talker.client.get("/")
    assert HOSTILE not in page.text
    assert page.text.count("&lt;img src=x onerror=alert(1)&gt;&lt;/textarea&gt;") == 2
    assert "script-src 'self'" in page.headers["content-security-policy"]


def test_settings(talker):
    talker.ask()
    assert talker.post("/settings", temperature=0, system="").status_code == 200
    assert (talker.session.temperature, len(talker.session.turns)) == (0.0, 1)
    talker.post("/settings", temperature=0.5, system=" be kind ")
    assert (talker.session.system, talker.session.turns) == ("be kind", [])
    talker.ask()
    assert talker.session.turns[0].prompt[0] == {"role": "system", "content": "be kind"}
    talker.post("/settings", temperature=0.5, system="be kind", clear=True)
    assert (talker.session.system, talker.session.turns) == ("be kind", [])


@pytest.mark.parametrize(
    ("path", "data", "status", "says"),
    [
        ("/ask", {"question": " "}, 422, "ask something"),
        ("/ask", {"question": 3}, 422, "question must be a text"),
        ("/ask", {"question": "x" * 20_001}, 422, "at most 20000 letters"),
        ("/ask", {"question": "\ud800"}, 422, "half a surrogate pair"),
        ("/ask", {"question": "x", "turns": 5}, 409, "another window has gone on"),
        ("/vote", {"best": 1}, 422, "nobody has answered yet"),
        ("/vote", {"best": "1"}, 422, "best must be the number"),
        ("/vote", {"best": True}, 422, "best must be the number"),
        ("/settings", {"temperature": -1, "system": ""}, 422, "finite number, not negative"),
        ("/settings", {"temperature": 10**400, "system": ""}, 422, "temperature must be a number"),
        ("/settings", {"temperature": True, "system": ""}, 422, "temperature must be a number"),
        ("/settings", {"temperature": 1}, 422, "system must be a text"),
    ],
)
def test_what_cannot_be_done(talker, path, data, status, says):
    answer = talker.post(path, **data)
    assert answer.status_code == status
    assert says in answer.json()["error"]
    assert talker.session.turns == []
    assert not talker.session.votes.exists()
    assert talker.ask()[-1]["finished"] == [True, True]  # nothing is locked


def test_a_vote_that_says_nothing(tmp_path):
    talker = Talker(conversation(tmp_path, a="red", b="red"))
    assert talker.ask()[-1]["votable"] == [False, False]
    page = talker.client.get("/").text
    assert re.findall(r'class="vote" value="\d"( hidden)?>', page)[:2] == [" hidden", " hidden"]
    assert page.index('class="soft same">No two answers') < page.index("<template")
    assert "two answers that differ" in talker.post("/vote", best=1).json()["error"]
    assert "vote 3: choices: 1, 2" in talker.post("/vote", best=3).json()["error"]


def test_an_answer_that_fails_leaves_the_conversation_as_it_was(talker):
    talker.session.policies["rl"] = Fails(talker.session.text, "")
    assert talker.ask()[-1] == {"error": "the text is too long"}
    assert talker.session.turns == []


def test_one_question_at_a_time_and_stop_ends_one_answer(tmp_path):
    talker = Talker(conversation(tmp_path, 0.05, sft="a " * 60, rl="b ."))
    said = []
    asking = threading.Thread(target=lambda: said.extend(talker.ask()), daemon=True)
    asking.start()
    wait(talker.page._asking.at_work.locked, "the first question is being answered")
    assert "is being written" in talker.post("/ask", question="x").json()["error"]
    assert "is being written" in talker.post("/vote", best=1).json()["error"]
    talker.post("/stop")
    asking.join(10)
    assert said[-1]["finished"] == [False, True]
    assert len(said[-1]["answers"][0].split()) < 30


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 401),
        ("GET", "/join/" + "A" * 43, {}, 401),
        ("GET", "/", {"cookie": b"cookie=\xe9"}, 401),
        ("POST", "/ask", {}, 401),
        ("GET", "/", {"host": "evil.example"}, 421),
        ("POST", "/ask", {"origin": "http://evil.example"}, 403),
        ("GET", "/static/../chat_page.py", {}, 404),
        ("GET", "/static/chat.jinja", {}, 404),
    ],
)
def test_strangers(talker, method, path, headers, status):
    stranger = TestClient(talker.page.app, base_url="http://127.0.0.1:8766")
    body = {"json": {"question": "x", "turns": 0}} if method == "POST" else {}
    answer = stranger.request(method, path, headers=headers, **body)
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers
    assert talker.session.turns == []


def test_a_form_of_another_session(talker):
    talker.token = "0" * 64
    assert "reload the page" in talker.post("/ask", question="x").json()["error"]


def test_a_port_that_is_taken_is_told_before_models_are_loaded():
    with listening("127.0.0.1", 0, "test") as taken:
        port = taken.getsockname()[1]
        refused = pytest.raises(UserError, match=f"chat --port {port}: cannot listen there")
        with refused, listening_page(port):
            raise AssertionError


def test_the_page_in_a_browser(tmp_path):
    """Two turns by keys, a vote by the pointer, a stop, then another system prompt."""
    session = conversation(tmp_path, 0.02)
    page = ChatPage(session, "a run", "rlhfkit-chat")
    browser = Browser(tmp_path / "profile")
    with listening("127.0.0.1", 0, "test") as listener:
        server = server_of(page.app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            window = browser.page()
            window.open(f"http://127.0.0.1:{listener.getsockname()[1]}/join/{page.token}")
            talk(window, session)
        finally:
            browser.close()
            server.should_exit = True
            thread.join(10)


def talk(window, session):
    answered = "[...document.querySelectorAll('.turn')].length === {} && !"
    answered += "document.querySelector('#send').hidden"
    window.click("a.button")
    window.until("document.querySelector('#question') && document.readyState === 'complete'")
    window.type(HOSTILE)
    window.keys("Enter")
    window.until("document.querySelector('.answer.writing')")
    window.until(answered.format(1))
    assert window.text(".turn .message .text") == HOSTILE
    assert window.text(".answer .text") == f"red {HOSTILE}"
    assert window.value("document.querySelectorAll('main img').length") == 0
    window.click(".answer:nth-of-type(2) .vote")
    window.until("document.querySelector('.answer.voted')")
    assert window.value("document.querySelectorAll('.same:not([hidden])').length") == 0
    assert whole_rows(session.votes)[0]["ranks"] == [2, 1]

    session.policies["sft"].text = "long " * 300
    window.type("go on")
    window.keys("Enter")
    window.until("document.querySelectorAll('.turn')[1]?.querySelector('.text').innerText")
    window.click("#stop")
    window.until(answered.format(2))
    assert window.value("document.querySelectorAll('.cut:not([hidden])').length") == 1
    assert window.value("document.querySelectorAll('.vote:not([hidden])').length") == 2
    window.reload()
    assert window.value("document.querySelectorAll('.turn').length") == 2
    assert window.value("document.querySelectorAll('.vote:not([hidden])').length") == 2

    for policy in session.policies.values():
        policy.text = "the same"
    window.type("once more")
    window.keys("Enter")
    window.until(answered.format(3))
    assert window.value("document.querySelectorAll('.vote:not([hidden])').length") == 0
    assert window.value("document.querySelectorAll('.same:not([hidden])').length") == 1

    window.click("#open-settings")
    window.click("#system")
    window.type("be kind")
    window.value("window.before = true")
    window.click("#settings .main")
    window.until("!window.before && document.readyState === 'complete'")
    assert window.text("#turns") == "system\nbe kind"
    assert session.system == "be kind"
