"""`rlhfkit label RUN`: people rank a run's answers in the browser."""

import getpass
import ipaddress
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from rlhfkit.commands.flags import parse_flags
from rlhfkit.console import console, count_of
from rlhfkit.errors import UserError, nearest
from rlhfkit.labelling.invitations import require_name
from rlhfkit.labelling.items import items_of
from rlhfkit.labelling.options import LabelOptions
from rlhfkit.labelling.store import Store
from rlhfkit.labelling.submission import Refused
from rlhfkit.plugin_manager import Plugins
from rlhfkit.storage.catalogue import JUDGEMENTS_FILE
from rlhfkit.storage.find_run import find_run
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.web import require_packages


def label_run(arguments: list[str], plugins: Plugins) -> None:
    """Serve the page, or do what one of the other flags says."""
    words, options = parse_flags("label", arguments, LabelOptions)
    if len(words) != 1:
        raise UserError("label: say one run's directory, as in rlhfkit label runs/quickstart")
    options.check()
    run = _run(words[0])
    try:
        _what(options)(run, options)
    except Refused as error:
        raise UserError(f"label {run.root}: {error.reason}") from error


def _what(options: LabelOptions) -> Callable[[RunDir, LabelOptions], None]:
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


@contextmanager
def _judgements(run: RunDir) -> Iterator[Store]:
    """The run's file, which must be there."""
    path = run.root / JUDGEMENTS_FILE
    if not path.exists():
        raise UserError(f"label {run.root}: nobody was asked anything yet")
    with closing(Store(path)) as store:
        yield store


def _run(word: str) -> RunDir:
    """A run, or a directory that has judgements without one."""
    place = Path(word).expanduser()
    return RunDir(place) if (place / JUDGEMENTS_FILE).exists() else find_run(word, "label")


def _invite(run: RunDir, options: LabelOptions) -> None:
    name = require_name(options.invite)
    with closing(Store(run.root / JUDGEMENTS_FILE)) as store:
        _tell(f"invitation of {name}, to be sent to nobody else and shown only now:")
        _tell(f"  {_link(options, store.invite(name))}")


def _revoke(run: RunDir, options: LabelOptions) -> None:
    with _judgements(run) as store:
        if not store.revoke(options.revoke):
            near = nearest(options.revoke, store.invited())
            raise UserError(f"label --revoke {options.revoke}: no invitation; {near}")
    _tell(f"{options.revoke} can no longer label; the judgements stay")


def _results(run: RunDir, options: LabelOptions) -> None:
    from rlhfkit.labelling.results import show_results

    with _judgements(run) as store:
        show_results(store, options.json)


def _disagreements(run: RunDir, options: LabelOptions) -> None:
    from rlhfkit.labelling.disagreements import show_disagreements

    with _judgements(run) as store:
        show_disagreements(run, {one.labeler for one in store.judged()})


def _export(run: RunDir, options: LabelOptions) -> None:
    from rlhfkit.labelling.formats import export

    with _judgements(run) as store:
        count = export(store, Path(options.export).expanduser(), options.format, options.of)
    _tell(f"{count_of(count, 'row')}: {options.export}")


def _load(run: RunDir, options: LabelOptions) -> None:
    from rlhfkit.labelling.formats import load, read_file

    found = read_file(Path(options.load).expanduser())
    with closing(Store(run.root / JUDGEMENTS_FILE)) as store:
        new, known = load(store, found)
    _tell(f"{count_of(new, 'judgement')} added, {known} known already")


def _serve(run: RunDir, options: LabelOptions) -> None:
    require_packages("label")
    from rlhfkit.labelling.serve import listening, page_settings, serve, text_of

    # what may be refused stands before anything is written
    owner = require_name(options.name or _login())
    items = items_of(run, "evaluate" if options.of == "evaluate" else "sample", options.kind)
    guidelines = text_of(options.guidelines)
    _check_address(run, options, owner)
    with listening(options) as listener, closing(Store(run.root / JUDGEMENTS_FILE)) as store:
        asked = items[: options.prompts]
        store.ask(asked)
        _log_to(run.root / "label.log")
        _tell(f"{count_of(len(asked), 'item')}; open as {owner}:")
        _tell(f"  {_link(options, store.invite(owner))}")
        for name in store.invited():
            if name != owner:
                _tell(f"  invited too: {name}")
        _tell("Ctrl-C ends it; what was submitted is stored at once")
        serve(listener, store, page_settings(run, options, owner, guidelines))
        judged = count_of(len(store.judged()), "judgement")
        _tell(f"{judged} in {store.path}, for labeler=people to train on")


def _check_address(run: RunDir, options: LabelOptions, owner: str) -> None:
    """Other computers reach the page only with invitations, and it is said what that means."""
    if is_loopback(options.host):
        return
    if options.host in ("0.0.0.0", "::", "") and not options.hostname:
        raise UserError(
            f"label --host {options.host}: add --hostname NAME, the name or address under which "
            f"labelers open the page; requests under another one are refused"
        )
    path = run.root / JUDGEMENTS_FILE
    with closing(Store(path)) if path.exists() else nullcontext() as store:
        invited = store.invited() if store else []
    if not [name for name in invited if name != owner]:
        raise UserError(
            f"label --host {options.host}: other computers could open the page: invite each "
            f"labeler first, as in rlhfkit label RUN --invite NAME"
        )
    if not options.https:
        _tell(
            "reachable from other computers over plain HTTP: who can listen on the network reads "
            "prompts, answers and invitations. Put a proxy with HTTPS before it and add --https"
        )


def _login() -> str:
    try:
        login = getpass.getuser()
    except (OSError, KeyError):  # a container may know no name
        login = ""
    return re.sub(r"[^\w.-]+", "_", login).strip("._-") or "me"


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _link(options: LabelOptions, token: str) -> str:
    host = options.hostname or (f"[{options.host}]" if ":" in options.host else options.host)
    scheme, port = ("https", "") if options.https else ("http", f":{options.port}")
    return f"{scheme}://{host}{port}/join/{token}"


def _log_to(path: Path) -> None:
    """Refusals and judgements, a line each, without texts."""
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("rlhfkit.labelling", "rlhfkit.web"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def _tell(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
