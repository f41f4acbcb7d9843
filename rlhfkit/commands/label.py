"""`rlhfkit label RUN`: people rank a run's answers in the browser."""

import getpass
import ipaddress
import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from rlhfkit.commands.flags import parse_flags
from rlhfkit.console import console
from rlhfkit.errors import UserError, nearest
from rlhfkit.labelling.invitations import require_name
from rlhfkit.labelling.items import items_of
from rlhfkit.labelling.options import LabelOptions
from rlhfkit.labelling.store import Store
from rlhfkit.labelling.submission import Refused
from rlhfkit.plugin_manager import Plugins
from rlhfkit.storage.catalogue import JUDGEMENTS_FILE
from rlhfkit.storage.run_dir import RunDir


def label_run(arguments: list[str], plugins: Plugins) -> None:
    """Serve the page, or do what one of the other flags says."""
    words, options = parse_flags("label", arguments, LabelOptions)
    if len(words) != 1:
        raise UserError("label: say one run's directory, as in rlhfkit label runs/quickstart")
    options.check()
    run = _run(Path(words[0]).expanduser())
    store = Store(run.root / JUDGEMENTS_FILE)
    try:
        _what(options)(run, store, options)
    except Refused as error:
        raise UserError(f"label {run.root}: {error.reason}") from error
    finally:
        store.close()


def _what(options: LabelOptions) -> Callable[[RunDir, Store, LabelOptions], None]:
    """What the flags ask for; serving is what they mostly do."""
    others = {
        "invite": _invite,
        "revoke": _revoke,
        "results": _results,
        "disagreements": _disagreements,
        "export": _export,
        "load": _load,
    }
    asked = [name for name in others if getattr(options, name)]
    if len(asked) > 1:
        raise UserError(f"label --{asked[0]} --{asked[1]}: one of them at a time")
    return others[asked[0]] if asked else _serve


def _run(place: Path) -> RunDir:
    if not place.is_dir():
        parent = place.parent if place.parent.is_dir() else Path()
        names = [item.name for item in parent.iterdir() if item.is_dir()]
        raise UserError(f"label {place}: no such directory; {nearest(place.name, names)}")
    return RunDir(place)


def _invite(run: RunDir, store: Store, options: LabelOptions) -> None:
    name = require_name(options.invite)
    _tell(f"invitation of {name}, to be sent to nobody else and shown only now:")
    _tell(f"  {_link(options, store.invite(name))}")


def _revoke(run: RunDir, store: Store, options: LabelOptions) -> None:
    if not store.revoke(options.revoke):
        raise UserError(
            f"label --revoke {options.revoke}: no invitation; "
            f"{nearest(options.revoke, store.invited())}"
        )
    _tell(f"{options.revoke} can no longer label; the judgements stay")


def _results(run: RunDir, store: Store, options: LabelOptions) -> None:
    from rlhfkit.labelling.results import show_results

    show_results(store)


def _disagreements(run: RunDir, store: Store, options: LabelOptions) -> None:
    from rlhfkit.labelling.disagreements import show_disagreements

    show_disagreements(run, store)


def _export(run: RunDir, store: Store, options: LabelOptions) -> None:
    from rlhfkit.labelling.formats import export

    count = export(store, Path(options.export).expanduser(), options.format, options.of)
    _tell(f"{count} rows: {options.export}")


def _load(run: RunDir, store: Store, options: LabelOptions) -> None:
    from rlhfkit.labelling.formats import load

    new, known = load(store, Path(options.load).expanduser())
    _tell(f"{new} judgements added, {known} were there already")


def _serve(run: RunDir, store: Store, options: LabelOptions) -> None:
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise UserError("label: the page needs two packages: pip install 'rlhfkit[label]'")
    from rlhfkit.labelling.serve import serve

    owner = require_name(options.name or getpass.getuser())
    _check_address(store, options, owner)
    items = items_of(run, "evaluate" if options.of == "evaluate" else "sample", options.kind)
    store.ask(items[: options.prompts])
    _log_to(run.root / "label.log")
    _tell(f"{min(len(items), options.prompts or len(items))} items; open as {owner}:")
    _tell(f"  {_link(options, store.invite(owner))}")
    for name in store.invited():
        if name != owner:
            _tell(f"  invited too: {name}")
    _tell("Ctrl-C ends it; what was submitted is stored at once")
    serve(run, store, options, owner)
    count = len(store.judged())
    _tell(f"{count} judgements in {store.path}; the next run with labeler=people trains on them")


def _check_address(store: Store, options: LabelOptions, owner: str) -> None:
    """Other computers reach the page only with invitations, and it is said what that means."""
    if is_loopback(options.host):
        return
    if _is_any(options.host) and not options.hostname:
        raise UserError(
            f"label --host {options.host}: add --hostname NAME, the name or address under which "
            f"labelers open the page; requests under another one are refused"
        )
    if not [name for name in store.invited() if name != owner]:
        raise UserError(
            f"label --host {options.host}: other computers could open the page: invite each "
            f"labeler first, as in rlhfkit label RUN --invite NAME"
        )
    if not options.https:
        _tell(
            "reachable from other computers over plain HTTP: who can listen on the network reads "
            "prompts, answers and invitations. Put a proxy with HTTPS before it and add --https"
        )


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_any(host: str) -> bool:
    return host in ("0.0.0.0", "::", "")


def _link(options: LabelOptions, token: str) -> str:
    host = options.hostname or (f"[{options.host}]" if ":" in options.host else options.host)
    scheme, port = ("https", "") if options.https else ("http", f":{options.port}")
    return f"{scheme}://{host}{port}/join/{token}"


def _log_to(path: Path) -> None:
    """Refusals and judgements, a line each, without texts."""
    logger = logging.getLogger("rlhfkit.labelling")
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _tell(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
