"""`rlhfkit chat RUN --browser`: the conversation as a page of this computer.

One conversation, whichever window asks; the link that is printed lets in, as a labeler's does.
Everything that people or models wrote is text: the template escapes it, and the script sets it as
text.
"""

import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any

from jinja2 import Environment, PackageLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rlhfkit.commands.conversation import AnswerStopped, Chat
from rlhfkit.console import console
from rlhfkit.errors import UserError
from rlhfkit.web.refused import Refused
from rlhfkit.web.requests import json_of, static
from rlhfkit.web.security import Guard, log_refusal
from rlhfkit.web.serving import LOOPBACK, listening, server_of
from rlhfkit.web.tokens import form_token, is_form_token, new_token

logger = logging.getLogger("rlhfkit.web")

_STATIC = {
    "label.css": files("rlhfkit.labelling") / "pages" / "label.css",  # both pages look alike
    "chat.css": files("rlhfkit.commands") / "chat_pages" / "chat.css",
    "chat.js": files("rlhfkit.commands") / "chat_pages" / "chat.js",
}
_HOST = "127.0.0.1"
_MOST_LETTERS = 20_000
"""Of a question or a system prompt."""

_environment = Environment(
    loader=PackageLoader("rlhfkit.commands", "chat_pages"), autoescape=True, trim_blocks=True
)
Endpoint = Callable[[Request], Awaitable[Response]]
Said = SimpleQueue[dict[str, Any] | None]
"""What is told of answers while they are written; None ends it."""


@contextmanager
def listening_page(port: int) -> Iterator[Callable[[Chat, str], None]]:
    """What serves a conversation under a title, on a port that is taken already."""

    def serve(session: Chat, title: str) -> None:
        page = ChatPage(session, title, f"rlhfkit-chat-{port}")
        console.print("open, on this computer:", markup=False)
        link = f"http://{_HOST}:{port}/join/{page.token}"
        console.print(f"  {link}", markup=False, highlight=False, soft_wrap=True)
        say = f"Ctrl-C ends it; votes are in {session.votes}"
        console.print(say, markup=False, highlight=False, soft_wrap=True)
        with suppress(KeyboardInterrupt):
            server_of(page.app).run(sockets=[listener])

    with listening(_HOST, port, f"chat --port {port}") as listener:
        yield serve


@dataclass
class _Asking:
    """The question that is being answered, one at a time."""

    at_work: Lock = field(default_factory=Lock)
    stop: Event = field(default_factory=Event)


class ChatPage:
    """The application, and the token of the link that lets in."""

    def __init__(self, session: Chat, title: str, cookie: str) -> None:
        self.token = new_token()
        self._session, self._title, self._cookie = session, title, cookie
        self._secret = secrets.token_urlsafe()
        self._asking = _Asking()
        routes = [
            Route("/", self._known(self._show)),
            Route("/join/{token}", self._join),
            Route("/ask", self._known(self._ask), methods=["POST"]),
            Route("/stop", self._known(self._stop), methods=["POST"]),
            Route("/vote", self._known(self._vote), methods=["POST"]),
            Route("/settings", self._known(self._set), methods=["POST"]),
            Route("/static/{name}", static(_STATIC)),
        ]
        handlers = {Refused: self._refuse}
        self.app = Guard(Starlette(routes=routes, exception_handlers=handlers), LOOPBACK)

    def _known(self, endpoint: Endpoint) -> Endpoint:
        """An endpoint for who came by the link, and whose forms are this page's."""

        async def known(request: Request) -> Response:
            self._require_token(request.cookies.get(self._cookie, ""))
            given = request.headers.get("x-form-token", "")
            if request.method == "POST" and not is_form_token(given, self._secret, self.token):
                raise Refused(403, "the form is of another session: reload the page")
            return await endpoint(request)

        return known

    def _require_token(self, given: str) -> None:
        if not secrets.compare_digest(given.encode(errors="replace"), self.token.encode()):
            raise Refused(401, "open this page with the link that rlhfkit chat printed")

    async def _join(self, request: Request) -> Response:
        """Keep the token in a cookie. A page and no redirect: a browser that follows a link from
        elsewhere would not send a strict cookie along with it."""
        self._require_token(request.path_params["token"])
        response = HTMLResponse(self._render("welcome.jinja"))
        response.set_cookie(self._cookie, self.token, httponly=True, samesite="strict")
        return response

    async def _show(self, request: Request) -> Response:
        """The conversation so far."""
        session = self._session
        token = form_token(self._secret, self.token)
        return HTMLResponse(
            self._render("chat.jinja", chat=session, form_token=token, most=_MOST_LETTERS)
        )

    async def _ask(self, request: Request) -> Response:
        """The answers while they are written, a line of JSON each time."""
        data = await json_of(request)
        question = _text(data, "question")
        if not question:
            raise Refused(422, "ask something")
        self._begin(data)
        self._asking.stop.clear()
        said: Said = SimpleQueue()
        # a thread of its own: the answers are written to their end when the window is closed, too
        Thread(target=self._answer, args=(question, said), daemon=True).start()
        return StreamingResponse(_lines(said), media_type="application/x-ndjson")

    def _begin(self, data: Any) -> None:
        """One thing at a time, asked by a window that shows the whole conversation."""
        if not self._asking.at_work.acquire(blocking=False):
            raise Refused(409, "an answer is being written: wait for it or stop it")
        if not isinstance(data, Mapping) or data.get("turns") != len(self._session.turns):
            self._asking.at_work.release()
            raise Refused(409, "another window has gone on meanwhile: reload the page")

    def _answer(self, question: str, said: Said) -> None:
        def show(answers: list[str]) -> None:
            said.put({"answers": list(answers)})
            if self._asking.stop.is_set():
                self._asking.stop.clear()
                raise AnswerStopped

        try:
            turn = self._session.ask(question, show)
            shown = {"answers": turn.answers, "finished": turn.finished, "votable": turn.votable}
            said.put(shown)
        except UserError as error:
            said.put({"error": str(error)})
        except Exception:
            logger.exception("an answer failed")
            said.put({"error": "an error of rlhfkit's: the terminal has it"})
        finally:
            self._asking.at_work.release()
            said.put(None)

    async def _stop(self, request: Request) -> Response:
        """The answer that is being written ends; the next policy's begins."""
        self._asking.stop.set()
        return JSONResponse({})

    async def _vote(self, request: Request) -> Response:
        """One ranking, as the terminal stores it."""
        data = await json_of(request)
        best = data.get("best") if isinstance(data, Mapping) else None
        if type(best) is not int:
            raise Refused(422, "best must be the number of an answer")
        return await self._changed(data, lambda: self._session.vote(str(best)))

    async def _set(self, request: Request) -> Response:
        """Temperature and system prompt; another system prompt begins a new conversation, and so
        does `clear`."""
        data = await json_of(request)
        system, temperature = _text(data, "system"), _number(data, "temperature")

        def change() -> str:
            session = self._session
            session.set_temperature(temperature)
            if system != (session.system or "") or data.get("clear") is True:
                session.set_system(system)
            return "set"

        return await self._changed(data, change)

    async def _changed(self, data: Any, change: Callable[[], str]) -> Response:
        """What it says, or why it is refused."""
        self._begin(data)
        try:
            said = await run_in_threadpool(change)
        except UserError as error:
            raise Refused(422, str(error)) from error
        finally:
            self._asking.at_work.release()
        return JSONResponse({"said": said})

    async def _refuse(self, request: Request, error: Exception) -> Response:
        """The reason, as JSON to the script and as a page to people."""
        assert isinstance(error, Refused)
        log_refusal(request.scope, error)
        if request.method == "POST":
            return JSONResponse({"error": error.reason}, error.status)
        return HTMLResponse(self._render("refused.jinja", error=error), error.status)

    def _render(self, template: str, **values: Any) -> str:
        return _environment.get_template(template).render(title=self._title, **values)


def _lines(said: Said) -> Iterator[str]:
    while (part := said.get()) is not None:
        yield json.dumps(part) + "\n"


def _number(data: Any, name: str) -> float:
    """A number of the request's; `Refused` for what is none."""
    value = data.get(name) if isinstance(data, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e9:
        raise Refused(422, f"{name} must be a number")
    return float(value)


def _text(data: Any, name: str) -> str:
    """A text of the request's; `Refused` for what is none."""
    text = data.get(name) if isinstance(data, Mapping) else None
    if not isinstance(text, str) or len(text) > _MOST_LETTERS:
        raise Refused(422, f"{name} must be a text of at most {_MOST_LETTERS} letters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refused(422, f"{name} has half a surrogate pair, which is no text") from error
    return text.strip()
