"""What a page reads of a request, and the files that it may ask for."""

import json
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources.abc import Traversable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from rlhfkit.web.refused import Refused

_TYPES = {"css": "text/css", "js": "text/javascript"}


async def json_of(request: Request) -> Any:
    """The body. Raises `Refused` for one that is no JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "the body must be JSON")
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise Refused(422, "the body is no JSON") from error


def static(known: Mapping[str, Traversable]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint of files by name; nothing is looked up on the disk for another."""

    async def answer(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in known:
            raise Refused(404, "no such file")
        return Response(known[name].read_bytes(), media_type=_TYPES[name.rpartition(".")[2]])

    return answer
