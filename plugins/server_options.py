"""What is told of a server, whatever is asked of it. Cheap to import: options only."""

from dataclasses import dataclass

from rlhfkit.errors import UserError
from rlhfkit.validators import require_above_zero, require_not_negative


@dataclass
class ServerOptions:
    """A server that answers over HTTP, and for how long it may fail to."""

    url: str = "http://localhost:8000"
    """Where the server listens."""

    timeout: float = 600.0
    """Longest wait for an answer, in seconds."""

    retries: int = 5
    """How often a question is put again when there is no answer, or one of status 429 or 5xx."""

    retry_delay: float = 1.0
    """Seconds before a question is put again; twice as many before each further time, up to a
    minute."""

    api_key_variable: str = ""
    """The environment variable with the server's key, where it wants one."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "timeout")
        require_not_negative(name, self, "retries", "retry_delay")
        if not self.url.startswith(("http://", "https://")):
            raise UserError(f"{name}.url={self.url}: must begin with http:// or https://")
