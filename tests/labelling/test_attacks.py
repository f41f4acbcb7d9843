"""What a stranger tries, and what a labeler's browser can be made to send: a table of attacks."""

import pytest
from starlette.testclient import TestClient

from rlhfkit.errors import UserError
from rlhfkit.labelling.invitations import require_name
from rlhfkit.labelling.server import Settings, create_app
from rlhfkit.web.security import MOST_BYTES, RateLimit, host_name
from rlhfkit.web.tokens import digest
from tests.labelling.conftest import Person

COOKIE = "rlhfkit-label"
GOOD = {"revision": 0, "ranks": [1, 2, 2], "seconds": 1}
JSON = {"content-type": "application/json"}


@pytest.fixture
def stranger(store):
    """Without an invitation, while somebody else labels."""
    person = Person(store)
    assert person.next() == "/judge/1"
    app = create_app(store, Settings(kind="rank"))
    return TestClient(app, base_url="http://127.0.0.1:8765", follow_redirects=False)


ATTACKS = {
    "no cookie": ("GET", "/", {}, 401),
    "no cookie, an item": ("GET", "/judge/1", {}, 401),
    "no cookie, the history": ("GET", "/history", {}, 401),
    "no cookie, the agreement": ("GET", "/agreement", {}, 401),
    "no cookie, a judgement": ("POST", "/judge/1", {"json": GOOD}, 401),
    "a forged cookie": ("GET", "/", {"headers": {"cookie": f"{COOKIE}=ann"}}, 401),
    "an empty cookie": ("GET", "/", {"headers": {"cookie": f"{COOKIE}="}}, 401),
    "a digest as cookie": ("GET", "/", {"headers": {"cookie": f"{COOKIE}={digest('x')}"}}, 401),
    "an invented invitation": ("GET", "/join/" + "A" * 43, {}, 401),
    "SQL in an invitation": ("GET", "/join/'%20OR%201=1--", {}, 401),
    "another Host": ("GET", "/", {"headers": {"host": "evil.example"}}, 421),
    "another Host, static": (
        "GET", "/static/label.js", {"headers": {"host": "evil.example:8765"}}, 421,
    ),
    "a Host that begins alike": ("GET", "/", {"headers": {"host": "127.0.0.1.evil.example"}}, 421),
    "no Host": ("GET", "/", {"headers": {"host": ""}}, 421),
    "a path upwards": ("GET", "/static/../../judgements.sqlite", {}, 404),
    "an encoded path upwards": ("GET", "/static/..%2f..%2fserver.py", {}, 404),
    "a template": ("GET", "/static/judge.jinja", {}, 404),
    "a path with a zero byte": ("GET", "/static/label.css%00.html", {}, 404),
    "a large item": ("GET", "/judge/" + "9" * 30, {}, 401),
    "another method": ("DELETE", "/judge/1", {}, 405),
    "a body too large": ("POST", "/judge/1", {"content": b"x" * (MOST_BYTES + 1)}, 413),
    "a body too large, in chunks": (
        "POST", "/judge/1", {"content": (b"x" * 9000 for _ in range(60))}, 401,
    ),
    "a length that is no number": (
        "POST", "/judge/1", {"content": b"x", "headers": {"content-length": "-5"}}, 413,
    ),
    "a length of 5,000 digits": (
        "POST", "/judge/1", {"content": b"x", "headers": {"content-length": "9" * 5000}}, 413,
    ),
    "an origin that cannot be read": (
        "POST", "/judge/1", {"json": GOOD, "headers": {"origin": "http://[::1"}}, 403,
    ),
    "from another site": (
        "POST", "/judge/1", {"json": GOOD, "headers": {"origin": "http://evil.example"}}, 403,
    ),
    "from another port": (
        "POST", "/judge/1", {"json": GOOD, "headers": {"origin": "http://127.0.0.1:9"}}, 403,
    ),
    "from a frame": (
        "POST", "/judge/1", {"json": GOOD, "headers": {"sec-fetch-site": "cross-site"}}, 403,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_a_stranger_gets_nowhere(stranger, store, told, name):
    method, path, options, status = ATTACKS[name]
    answer = stranger.request(method, path, **options)
    assert answer.status_code == status
    assert "what is best" not in answer.text
    assert "set-cookie" not in answer.headers
    assert store.judged() == []
    if status not in (404, 405):
        assert f"refused {status}" in told.text


def test_a_large_body_in_chunks_is_cut_off_for_labelers_too(ann, store):
    chunks = (b"x" * 9000 for _ in range(60))
    headers = {"X-Form-Token": ann.form_token(ann.next()), **JSON}
    assert ann.client.post("/judge/1", content=chunks, headers=headers).status_code == 413


@pytest.mark.parametrize("token", ["", "0" * 64, "é"])
def test_a_form_without_its_token_is_refused(ann, store, token):
    url = ann.next()
    headers = {"x-form-token": token.encode()}
    assert ann.client.post(url, json=GOOD, headers=headers).status_code == 403
    assert store.judged() == []


def test_a_form_of_another_session_is_refused(ann, store):
    bob = Person(store, "bob")
    url = bob.next()
    assert bob.judge(url, token=ann.form_token(ann.next())).status_code == 403
    assert store.judged() == []


def test_a_replayed_form_stores_nothing_more(ann, store):
    url = ann.next()
    token = ann.form_token(url)
    assert ann.judge(url, token).json() == {"stored": True}
    assert ann.judge(url, token).json() == {"stored": False}
    assert ann.judge(url, token, ranks=[3, 2, 1]).status_code == 409
    assert len(store.judged()) == 1


def test_nobody_reaches_the_item_of_another(ann, store):
    bob = Person(store, "bob")
    url, theirs = ann.next(), bob.next()
    assert url != theirs
    assert bob.client.get(url).status_code == 404
    assert bob.judge(url, bob.form_token(theirs)).status_code == 404


def test_a_revoked_invitation_ends_at_once(ann, store):
    assert store.revoke("ann") == 1
    assert ann.client.get("/").status_code == 401


def test_only_who_started_the_page_sees_the_agreement(ann, store):
    assert ann.client.get("/agreement").status_code == 403
    assert Person(store, "ann", owner="ann").client.get("/agreement").status_code == 200


def test_answers_that_cannot_be_read_are_told_on_the_agreement_page(store):
    file = store.path.parent / "evaluate" / "samples.jsonl"
    file.parent.mkdir()
    file.write_text("{broken")
    answer = Person(store, "ann", owner="ann").client.get("/agreement")
    assert answer.status_code == 500
    assert "samples.jsonl" in answer.text


def test_invitations_are_not_logged(store, stranger, told):
    token = store.invite("ann")
    assert stranger.get(f"/join/{token}", headers={"host": "evil.example"}).status_code == 421
    assert "refused 421 GET '/join/...'" in told.text
    assert token not in told.text


def test_tokens_are_stored_as_digests_alone(store):
    token = store.invite("ann")
    store.close()
    content = b"".join(file.read_bytes() for file in store.path.parent.glob("judgements.sqlite*"))
    assert token.encode() not in content
    assert digest(token).encode() in content


def test_the_cookie_is_strict_and_out_of_reach_of_scripts(store):
    for https in (False, True):
        app = create_app(store, Settings(https=https))
        client = TestClient(app, base_url="http://127.0.0.1:8765")
        cookie = client.get(f"/join/{store.invite('ann')}").headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert ("secure" in cookie) is https


def test_every_answer_forbids_foreign_and_inline_script(ann):
    for path in ("/", ann.next(), "/history", "/static/label.js", "/none", "/join/x"):
        headers = ann.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


def test_strangers_are_slowed_down(stranger):
    codes = [stranger.get("/join/guess").status_code for _ in range(25)]
    assert codes[:20] == [401] * 20
    assert codes[-1] == 429


def test_labelers_are_slowed_down_each_for_themselves(ann, store):
    codes = [ann.client.get("/history").status_code for _ in range(170)]
    assert codes[:100] == [200] * 100
    assert codes[-1] == 429
    assert Person(store, "bob").client.get("/history").status_code == 200


def test_a_bucket_fills_again():
    now = [0.0]
    limit = RateLimit(rate=2, burst=3, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(4)] == [True, True, True, False]
    assert limit.take("b")
    now[0] = 0.5
    assert [limit.take("a"), limit.take("a")] == [True, False]


def test_buckets_of_many_clients_are_forgotten():
    limit = RateLimit(rate=1, burst=1, clock=lambda: 0.0)
    for number in range(25_000):
        limit.take(str(number))
    assert len(limit._buckets) <= 10_000


@pytest.mark.parametrize(
    ("host", "name"),
    [("[::1]:8765", "[::1]"), ("[::1]", "[::1]"), ("LocalHost:1", "localhost"), ("a:b", "a:b")],
)
def test_the_name_of_a_host(host, name):
    assert host_name(host) == name


@pytest.mark.parametrize("name", ["", "  ", "<b>", "a" * 41, "x\ny<", "../up", "a/b"])
def test_names_that_are_none_are_refused(name):
    with pytest.raises(UserError, match="1 to 40 letters"):
        require_name(name)


def test_names_of_people():
    assert [require_name(name) for name in ("Ann", "Zoë  B.", "李雷", "a@b.org")] == [
        "Ann", "Zoë B.", "李雷", "a@b.org",
    ]  # fmt: skip
