"""Pages that this computer serves: who may ask, and how they are served. labelling/ and the chat in
the browser stand on it."""

from importlib.util import find_spec

from rlhfkit.errors import UserError


def require_packages(command: str) -> None:
    """`UserError` where the packages of pages are not installed."""
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise UserError(f"{command}: the page needs two packages: pip install 'rlhfkit[label]'")
