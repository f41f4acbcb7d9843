"""The page on a port of this computer, until Ctrl-C."""

import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Timer

import uvicorn

from rlhfkit.errors import UserError
from rlhfkit.labelling.assignment import Plan
from rlhfkit.labelling.options import LabelOptions
from rlhfkit.labelling.server import Settings, all_done, create_app
from rlhfkit.labelling.store import Store
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.web import serving

_LAST_PAGE_SECONDS = 1.0
"""For the style sheet of the page that says thank you."""


def serve(listener: socket.socket, store: Store, settings: Settings) -> None:
    """Answer requests; returns once it was told to stop."""
    holder: list[uvicorn.Server] = []

    def stop() -> None:
        holder[0].should_exit = True

    if settings.until_done:
        if all_done(store, settings.plan):
            return
        settings = replace(settings, on_done=lambda: Timer(_LAST_PAGE_SECONDS, stop).start())
    holder.append(serving.server_of(create_app(store, settings)))
    with suppress(KeyboardInterrupt):  # uvicorn ends what is under way before it raises it
        holder[0].run(sockets=[listener])


def page_settings(run: RunDir, options: LabelOptions, owner: str, guidelines: str) -> Settings:
    """What the page is told of the command line."""
    return Settings(
        kind=options.kind,
        title=f"{run.root.resolve().name}: which answer is better?",
        guidelines=guidelines,
        owner=owner,
        hosts=_hosts(options),
        https=options.https,
        cookie=f"rlhfkit-label-{options.port}",
        plan=Plan(options.overlap, options.repeats, 60 * options.abandoned),
        until_done=options.until_done,
    )


def _hosts(options: LabelOptions) -> frozenset[str]:
    """Host names that requests may carry."""
    own = f"[{options.host}]" if ":" in options.host else options.host
    return frozenset({*serving.LOOPBACK, own.lower(), options.hostname.lower()} - {""})


def listening(options: LabelOptions) -> socket.socket:
    """The port. `UserError` for one that is taken."""
    command = f"label --host {options.host} --port {options.port}"
    return serving.listening(options.host, options.port, command)


def text_of(path: str) -> str:
    """The guidelines; empty where no file is named."""
    if not path:
        return ""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"label --guidelines {path}: cannot be read ({error})") from error
