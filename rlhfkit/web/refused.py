"""Why a request is not carried out. Beside the server, for rankings are checked without one."""


class Refused(Exception):
    """A request that is not carried out, and why: status of HTTP and a sentence for people."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason
