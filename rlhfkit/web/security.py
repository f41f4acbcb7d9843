"""What every request must pass before the page sees it: Host, origin, size and rate; and what
headers every answer has."""

import json
import logging
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlhfkit.web.refused import Refused

logger = logging.getLogger("rlhfkit.web")

MOST_BYTES = 256 * 1024
"""Of a request's body."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

_SAFE = ("GET", "HEAD")


class RateLimit:
    """A bucket of `burst` requests per client that fills again by `rate` a second."""

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, client: str) -> bool:
        """Whether the client may have one more."""
        now = self._clock()
        left, since = self._buckets.get(client, (float(self._burst), now))
        left = min(self._burst, left + (now - since) * self._rate)
        self._buckets[client] = (max(0.0, left - 1), now)
        if len(self._buckets) > 10_000:
            self._forget_full(now)
        return left >= 1

    def _forget_full(self, now: float) -> None:
        filled = self._burst / self._rate
        kept = {key: value for key, value in self._buckets.items() if now - value[1] < filled}
        self._buckets = kept if len(kept) <= 10_000 else {}


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts
        self._rate = RateLimit(rate=200, burst=1000)  # an address may be an office of people

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] != "http":
            return  # no websockets, no lifespan
        headers: dict[str, str] = {}
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        try:
            headers = _headers(scope)
            self._check(scope, headers)
            await self._app(scope, _bounded(receive), send_with_headers)
        except Refused as error:
            if started:
                raise
            log_refusal(scope, error)
            await _answer(error, send_with_headers)

    def _check(self, scope: Scope, headers: dict[str, str]) -> None:
        if not self._rate.take(address(scope)):
            raise Refused(429, "too many requests: wait a moment")
        host = headers.get("host", "")
        if host_name(host) not in self._hosts:
            raise Refused(421, "this page is not served under that name")
        if scope["method"] not in _SAFE:
            site = headers.get("sec-fetch-site", "same-origin")
            origin = _site(headers.get("origin", f"http://{host}"))
            if site != "same-origin" or origin != host.lower():
                raise Refused(403, "the request comes from another site")
        length = headers.get("content-length", "0")
        if not re.fullmatch("[0-9]{1,12}", length) or int(length) > MOST_BYTES:
            raise Refused(413, f"a request has at most {MOST_BYTES} bytes")


def host_name(host: str) -> str:
    """A Host header without its port, in lower case: "[::1]:8765" is "[::1]"."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()


def _site(origin: str) -> str:
    """Host and port of an Origin header; empty for one that cannot be read."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def address(scope: Scope) -> str:
    """Of the client, as the connection says; headers of proxies are not believed."""
    return str((scope.get("client") or ("unknown",))[0])


def log_refusal(scope: Scope, error: Refused) -> None:
    """A line without invitations, and without anything that could put line breaks into it."""
    asked = str(scope["path"])
    path = "'/join/...'" if asked.startswith("/join/") else f"{asked!r:.100}"
    logger.warning(
        "refused %s %s %s from %s: %s",
        error.status, scope["method"], path, address(scope), error.reason,
    )  # fmt: skip


def _headers(scope: Scope) -> dict[str, str]:
    """By lower-case name. Raises `Refused` for a second Host, of which one would go unchecked."""
    pairs = [(name.decode("latin-1").lower(), value) for name, value in scope["headers"]]
    if sum(name == "host" for name, _ in pairs) > 1:
        raise Refused(400, "a request has one Host")
    return {name: value.decode("latin-1") for name, value in pairs}


def _bounded(receive: Receive) -> Receive:
    """A body that does not say its length is counted while it comes."""
    total = 0

    async def bounded() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > MOST_BYTES:
            raise Refused(413, f"a request has at most {MOST_BYTES} bytes")
        return message

    return bounded


async def _answer(error: Refused, send: Callable[[Any], Any]) -> None:
    body = json.dumps({"error": error.reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
