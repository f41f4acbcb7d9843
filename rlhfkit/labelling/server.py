"""The page as a Starlette application: who is asked what, and what is stored."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from rlhfkit.errors import UserError
from rlhfkit.labelling import page
from rlhfkit.labelling.assignment import Plan
from rlhfkit.labelling.records import Assignment
from rlhfkit.labelling.store import Store
from rlhfkit.labelling.submission import Refused, parse
from rlhfkit.web.requests import json_of, static
from rlhfkit.web.security import Guard, RateLimit, address, log_refusal
from rlhfkit.web.serving import LOOPBACK
from rlhfkit.web.tokens import form_token, is_form_token

logger = logging.getLogger("rlhfkit.labelling")

_STATIC = {name: files("rlhfkit.labelling") / "pages" / name for name in ("label.css", "label.js")}
_MONTH = 30 * 24 * 3600

Endpoint = Callable[[Request, str], Awaitable[Response]]


@dataclass(frozen=True)
class Settings:
    """What the page is told on its command line."""

    kind: str = "full"
    title: str = ""
    guidelines: str = ""
    owner: str = ""
    """The labeler who may see what all of them said."""

    hosts: frozenset[str] = LOOPBACK
    """Names under which the page is served."""

    https: bool = False
    """Whether a proxy with HTTPS stands before it: cookies then travel over nothing else."""

    cookie: str = "rlhfkit-label"
    plan: Plan = field(default_factory=Plan)
    until_done: bool = False
    on_done: Callable[[], None] = lambda: None
    """Called when nobody has anything left."""


def create_app(store: Store, settings: Settings) -> Guard:
    """The application; `Guard` stands before it."""
    return Guard(_Pages(store, settings).app, settings.hosts)


def all_done(store: Store, plan: Plan) -> bool:
    """Whether nobody who is invited has anything left."""
    return all(not store.open_items(name, plan) for name in store.invited())


class _Pages:
    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._secret = store.secret()
        self._strangers = RateLimit(rate=1, burst=20)
        self._labelers = RateLimit(rate=5, burst=150)
        routes = [
            Route("/", self._invited(self._next)),
            Route("/join/{token}", self._join),
            Route("/judge/{number}", self._invited(self._show)),
            Route("/judge/{number}", self._invited(self._judge), methods=["POST"]),
            Route("/history", self._invited(self._history)),
            Route("/agreement", self._invited(self._agreement)),
            Route("/static/{name}", static(_STATIC)),
        ]
        self.app = Starlette(routes=routes, exception_handlers={Refused: self._refuse})

    def _invited(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint for labelers alone."""

        async def invited(request: Request) -> Response:
            token = request.cookies.get(self._settings.cookie, "")
            labeler = await run_in_threadpool(self._store.labeler, token) if token else None
            if labeler is None:
                self._refuse_stranger(request)
            assert labeler is not None
            if not self._labelers.take(labeler):
                raise Refused(429, "too many requests: wait a moment")
            if request.method == "POST":
                given = request.headers.get("x-form-token", "")
                if not is_form_token(given, self._secret, token):
                    raise Refused(403, "the form is of another session: reload the page")
            return await endpoint(request, labeler)

        return invited

    def _refuse_stranger(self, request: Request) -> None:
        if not self._strangers.take(address(request.scope)):
            raise Refused(429, "too many requests without an invitation: wait a minute")
        raise Refused(
            401, "this page is for invited labelers: open it with the link of your invitation"
        )

    async def _join(self, request: Request) -> Response:
        """Keep the invitation in a cookie. A page and no redirect: a browser that follows a link
        from elsewhere would not send a strict cookie along with it."""
        token = request.path_params["token"]
        labeler = await run_in_threadpool(self._store.labeler, token)
        if labeler is None:
            self._refuse_stranger(request)
        html = page.render("welcome.jinja", labeler=labeler, settings=self._settings)
        response = HTMLResponse(html)
        response.set_cookie(
            self._settings.cookie,
            token,
            max_age=_MONTH,
            httponly=True,
            samesite="strict",
            secure=self._settings.https,
        )
        return response

    async def _next(self, request: Request, labeler: str) -> Response:
        """On to the item that the labeler is asked now."""
        ask = partial(self._store.next_assignment, labeler, self._settings.plan)
        assignment = await run_in_threadpool(ask)
        if assignment is not None:
            return RedirectResponse(f"/judge/{assignment.id}", 303)
        done = await run_in_threadpool(self._progress, labeler)
        if await run_in_threadpool(all_done, self._store, self._settings.plan):
            self._settings.on_done()
        return HTMLResponse(self._render("done.jinja", labeler, progress=done))

    async def _show(self, request: Request, labeler: str) -> Response:
        """An item to judge, or one that was judged, to be corrected."""
        number = _number(request)
        assignment = await run_in_threadpool(self._store.assignment, number, labeler)
        done = await run_in_threadpool(self._progress, labeler)
        session = request.cookies[self._settings.cookie]
        html = self._render(
            "judge.jinja",
            labeler,
            assignment=assignment,
            answers=page.answers(assignment),
            kind=self._kind(assignment),
            progress=done,
            form_token=form_token(self._secret, session),
            draft=form_token(self._secret, f"draft {assignment.id} {assignment.revision}")[:16],
        )
        return HTMLResponse(html)

    async def _judge(self, request: Request, labeler: str) -> Response:
        """Store what was said."""
        data = await json_of(request)
        number = _number(request)
        assignment = await run_in_threadpool(self._store.assignment, number, labeler)
        said = parse(data, assignment.shown, self._kind(assignment))
        stored = await run_in_threadpool(self._store.judge, assignment, said)
        logger.info("%s %s item %s", labeler, "judged" if stored else "sent again", number)
        return JSONResponse({"stored": stored})

    async def _history(self, request: Request, labeler: str) -> Response:
        """What the labeler said, to go back to."""
        history = await run_in_threadpool(self._store.history, labeler)
        items = await run_in_threadpool(self._store.items)
        return HTMLResponse(self._render("history.jinja", labeler, history=history, items=items))

    async def _agreement(self, request: Request, labeler: str) -> Response:
        """How far the labelers agree; to those who are asked it would be a hint."""
        if labeler != self._settings.owner:
            raise Refused(403, "only who started the page sees how far labelers agree")
        from rlhfkit.labelling.results import tables

        try:
            found = await run_in_threadpool(tables, self._store)
        except UserError as error:  # answers of stage evaluate that cannot be read
            raise Refused(500, str(error)) from error
        return HTMLResponse(self._render("agreement.jinja", labeler, tables=found))

    async def _refuse(self, request: Request, error: Exception) -> Response:
        """The reason, as JSON to the script and as a page to people."""
        assert isinstance(error, Refused)
        log_refusal(request.scope, error)
        if request.method == "POST":
            return JSONResponse({"error": error.reason}, error.status)
        return HTMLResponse(
            page.render("refused.jinja", error=error, settings=self._settings), error.status
        )

    def _kind(self, assignment: Assignment) -> str:
        """Two policies' answers are a pair, rated first where the page was started for it."""
        evaluated, kind = assignment.item.source == "evaluate", self._settings.kind
        return "pairs" if evaluated and kind == "rank" else kind

    def _progress(self, labeler: str) -> page.Progress:
        left = self._store.open_items(labeler, self._settings.plan)
        return page.progress(self._store.history(labeler), left)

    def _render(self, template: str, labeler: str, **values: Any) -> str:
        return page.render(template, labeler=labeler, settings=self._settings, **values)


def _number(request: Request) -> int:
    """The assignment of the path; `Refused` for what cannot be one."""
    text = request.path_params["number"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refused(404, "you were not asked this item")
    return int(text)
