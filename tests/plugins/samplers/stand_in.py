"""A server that speaks as much of vLLM's protocol as sampler=server does, with a model behind."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from peft import PeftModel
from transformers import LlamaForCausalLM

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers import CachedConfig
from rlhfkit_plugins.samplers.cached import CachedSampler

BASE = "tiny"


class StandIn:
    """Its models by name; what was asked; what it leaves out of answers; how many of the next
    answers are of status 500."""

    def __init__(self, path):
        self.path, self.asked, self.left_out, self.ill = path, [], (), 0
        self.models = {BASE: LanguageModel(LlamaForCausalLM.from_pretrained(path).eval())}
        self.lock = threading.Lock()

    def answer(self, path, body):
        with self.lock:
            self.asked.append((path, body))
            if self.ill:
                self.ill -= 1
                return 500, "out of memory"
            return getattr(self, path.rpartition("/")[2])(**body)

    def load_lora_adapter(self, lora_name, lora_path):
        base = LlamaForCausalLM.from_pretrained(self.path)
        model = PeftModel.from_pretrained(base, lora_path).eval()
        self.models[lora_name] = LanguageModel(model, "default")
        return 200, f"Success: LoRA adapter '{lora_name}' added successfully"

    def unload_lora_adapter(self, lora_name):
        del self.models[lora_name]
        return 200, f"Success: LoRA adapter '{lora_name}' removed successfully"

    def completions(self, model, prompt, n, stop_token_ids, max_tokens, temperature, seed, **_):
        if model not in self.models:
            error = {"message": f"The model `{model}` does not exist.", "code": 404}
            return 404, {"error": error}
        sampler = CachedSampler(CachedConfig(response_length=max_tokens, temperature=temperature))
        generator = torch.Generator().manual_seed(seed)
        drawn = sampler.sample(
            self.models[model], [prompt] * n, Ends(tuple(stop_token_ids)), generator
        )
        choices = [
            {
                "index": index,
                "text": "",
                "logprobs": {"token_logprobs": response.logprobs},
                "token_ids": response.ids,
                "finish_reason": "stop" if response.ended else "length",
            }
            for index, response in enumerate(drawn)
        ]
        for choice in choices:
            for key in self.left_out:
                del choice[key]
        return 200, {"object": "text_completion", "choices": choices[::-1]}


@contextmanager
def serving(stand_in: StandIn) -> Iterator[str]:
    """Its address while it listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stand_in.key = self.headers.get("Authorization")
            status, answer = stand_in.answer(self.path, body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer.encode() if isinstance(answer, str) else _json(answer))

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _json(value):
    return json.dumps(value).encode()
