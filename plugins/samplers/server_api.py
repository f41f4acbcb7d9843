"""What is asked of a vLLM server over HTTP, with the standard library alone.

Protocol: vLLM's documentation, "OpenAI-Compatible Server" and "LoRA Adapters" (dynamic serving).
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from rlhfkit.errors import UserError
from rlhfkit.types import Response
from rlhfkit_plugins.samplers import ServerConfig


class ServerApi:
    """Completions of token ids, and adapters by name."""

    def __init__(self, config: ServerConfig) -> None:
        self._url = config.url.rstrip("/")
        self._timeout = config.timeout
        self._headers = {"Content-Type": "application/json"}
        key = os.environ.get(config.api_key_variable)
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    def load_adapter(self, name: str, path: str) -> None:
        """Let the server read an adapter from a directory of its own file system."""
        self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})

    def unload_adapter(self, name: str) -> None:
        """Let the server forget an adapter."""
        self._post("/v1/unload_lora_adapter", {"lora_name": name})

    def complete(
        self,
        model: str,
        prompt: list[int],
        count: int,
        eos_token_id: int,
        options: Mapping[str, float],
    ) -> list[Response]:
        """`count` completions of one prompt, by plain sampling; only `eos_token_id` ends them.

        options: max_tokens, temperature, seed.
        """
        plain = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
        end = {"ignore_eos": True, "stop_token_ids": [eos_token_id]}  # of several EOS only this one
        body = {"model": model, "prompt": prompt, "n": count, **plain, **end, **options}
        text = self._post("/v1/completions", {**body, "logprobs": 1, "return_token_ids": True})
        try:
            choices = sorted(json.loads(text)["choices"], key=lambda choice: choice["index"])
            found = [_response(choice, eos_token_id) for choice in choices]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise self._error(
                "the answer has no token_ids with log-probabilities: vLLM 0.10.2 or later?"
            ) from error
        if len(found) != count:
            raise self._error(f"{len(found)} completions where {count} were asked for")
        return found

    def _post(self, path: str, body: Mapping[str, Any]) -> str:
        data = json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, self._headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                text: str = answer.read().decode()
                return text
        except urllib.error.HTTPError as error:
            said = " ".join(error.read().decode(errors="replace").split())[:300]
            raise self._error(f"{path} answered {error.code}: {said}") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise self._error(f"no answer: {reason}; is `vllm serve` running there?") from error

    def _error(self, what: str) -> UserError:
        return UserError(f"sampler.url={self._url}: {what}")


def _response(choice: Mapping[str, Any], eos_token_id: int) -> Response:
    ids = [int(token) for token in choice["token_ids"]]
    logprobs = [float(value) for value in choice["logprobs"]["token_logprobs"]]
    if not ids or len(ids) != len(logprobs):
        raise ValueError
    return Response(ids, logprobs, finished=ids[-1] == eos_token_id)
