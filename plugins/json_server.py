"""Questions in JSON to a server over HTTP, with the standard library alone; asked again when it
fails to answer, with a wait that doubles."""

import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from rlhfkit.console import console, count_of
from rlhfkit.errors import Stopped
from rlhfkit_plugins.server_options import ServerOptions

LONGEST_DELAY = 60.0
"""Seconds between two tries, at most."""

_TOO_MANY_REQUESTS = 429
_UNAUTHORISED = (401, 403)


class NoAnswer(Exception):
    """A failure that may pass."""

    def __init__(self, said: str, wait: float = 0.0) -> None:
        """wait: seconds that the server wants to be left alone."""
        super().__init__(said)
        self.wait = wait


class JsonServer:
    """A server by its options; may be asked by several threads."""

    def __init__(self, name: str, options: ServerOptions, hint: str) -> None:
        """name: where the options stand in the run's, as in `sampler`. hint: what to look at when
        there is no answer."""
        self._name, self._options, self._hint = name, options, hint
        self._url = options.url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        self._lock, self._told_until = threading.Lock(), 0.0
        if key := os.environ.get(options.api_key_variable):
            self._headers["Authorization"] = f"Bearer {key}"

    def post(self, path: str, body: Mapping[str, Any]) -> str:
        """The text of the answer.

        Raises `Stopped` for one of status 4xx, and when there is none after all tries.
        """
        request = urllib.request.Request(self._url + path, json.dumps(body).encode(), self._headers)
        for attempt in range(self._options.retries + 1):
            try:
                return self._ask(path, request)
            except NoAnswer as failure:
                said, wanted = str(failure), failure.wait
            if attempt < self._options.retries:
                self._wait(attempt, said, wanted)
        asked = count_of(self._options.retries + 1, "time")
        raise Stopped(f"{self._said(said)}, asked {asked}; {self._hint}")

    def error(self, what: str) -> Stopped:
        """For an answer that cannot be used."""
        return Stopped(self._said(what))

    def _ask(self, path: str, request: urllib.request.Request) -> str:
        try:
            with urllib.request.urlopen(request, timeout=self._options.timeout) as answer:
                text: str = answer.read().decode()
                return text
        except urllib.error.HTTPError as error:
            words = " ".join(error.read().decode(errors="replace").split())[:300]
            said = f"{path} answered {error.code}: {words}".strip()
            if error.code in _UNAUTHORISED:
                said += f"; the key is read from {self._name}.api_key_variable"
            if error.code < 500 and error.code != _TOO_MANY_REQUESTS:
                raise self.error(said) from error
            raise NoAnswer(said, wanted_wait(error.headers.get("Retry-After"))) from error
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(f"no answer: {getattr(error, 'reason', error)}") from error
        except ValueError as error:
            raise self.error(f"no answer that can be read: {error}") from error

    def _wait(self, attempt: int, said: str, wanted: float) -> None:
        delay = min(max(self._options.retry_delay * 2**attempt, wanted), LONGEST_DELAY)
        with self._lock:  # one line for all threads that wait
            now = time.monotonic()
            if now >= self._told_until:
                self._told_until = now + delay
                line = f"  {self._said(said)}; trying again in {delay:g} s"
                console.print(line, markup=False, soft_wrap=True)
        time.sleep(delay)

    def _said(self, what: str) -> str:
        return f"{self._name}.url={self._url}: {what}"


def wanted_wait(header: str | None) -> float:
    """What Retry-After says, where it is not a date."""
    return float(header) if header is not None and header.strip().isdigit() else 0.0
