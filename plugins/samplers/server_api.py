"""What is asked of a vLLM server.

Protocol: vLLM's documentation, "OpenAI-Compatible Server" and "LoRA Adapters" (dynamic serving).
"""

import json
from collections.abc import Mapping
from typing import Any

from rlhfkit.console import count_of
from rlhfkit.types import Ends, Response
from rlhfkit_plugins.json_server import JsonServer
from rlhfkit_plugins.samplers import ServerConfig


class ServerApi:
    """Completions of token ids, and adapters by name."""

    def __init__(self, config: ServerConfig, hint: str = "is `vllm serve` running there?") -> None:
        """hint: what to look at when there is no answer."""
        self._server = JsonServer("sampler", config, hint)

    def load_adapter(self, name: str, path: str) -> None:
        """Let the server read an adapter from a directory of its own file system."""
        self._server.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})

    def unload_adapter(self, name: str) -> None:
        """Let the server forget an adapter."""
        self._server.post("/v1/unload_lora_adapter", {"lora_name": name})

    def complete(
        self,
        model: str,
        prompt: list[int],
        count: int,
        ends: Ends,
        options: Mapping[str, float],
    ) -> list[Response]:
        """`count` completions of one prompt, by plain sampling; only `ends` end them.

        options: max_tokens, temperature, seed.
        """
        plain = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
        stops = {"ignore_eos": True, "stop_token_ids": [*ends.ids]}  # no others that it knows of
        if ends.strings:
            stops |= {"stop": [*ends.strings], "include_stop_str_in_output": True}
        body = {"model": model, "prompt": prompt, "n": count, **plain, **stops, **options}
        text = self._server.post(
            "/v1/completions", {**body, "logprobs": 1, "return_token_ids": True}
        )
        try:
            choices = sorted(json.loads(text)["choices"], key=lambda choice: choice["index"])
            found = [_response(choice, ends) for choice in choices]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise self._server.error(
                "the answer has no token_ids with log-probabilities: vLLM 0.10.2 or later?"
            ) from error
        if len(found) != count:
            completed = count_of(len(found), "completion")
            raise self._server.error(f"{completed} where {count} should have come")
        return found


def _response(choice: Mapping[str, Any], ends: Ends) -> Response:
    ids = [int(token) for token in choice["token_ids"]]
    logprobs = [float(value) for value in choice["logprobs"]["token_logprobs"]]
    if not ids or len(ids) != len(logprobs):
        raise ValueError
    ids = ends.cut(ids)
    return Response.from_ids(ids, logprobs[: len(ids)], ends)
