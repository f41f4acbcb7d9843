"""A server process of OpenAI's chat protocol with a tiny model behind:
`python judge_server.py MODEL` prints its address.

Of the verdicts [[A]] and [[B]] it gives the one whose token the model finds likelier, and of a
rating the likeliest number and word.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

VERDICTS = ("[[A]]", "[[B]]")
NUMBERS, WORDS = tuple("1234567"), ("yes", "no")
KEY = "Bearer secret"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != KEY:
            return self.reply(401, {"error": {"message": "Incorrect API key provided"}})
        if self.path != "/v1/chat/completions" or body["model"] != "tiny":
            return self.reply(404, {"error": {"message": f"no model {body['model']}"}})
        text = tokenizer.apply_chat_template(
            body["messages"], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
        with torch.no_grad():
            logits = model(ids).logits[0, -1]

        def likeliest(words):
            return max(words, key=lambda word: float(logits[tokenizer(word).input_ids[0]]))

        rates = "Overall" in body["messages"][-1]["content"]
        rating = f"Overall: {likeliest(NUMBERS)}\nOpinion: {likeliest(WORDS)}"
        content = rating if rates else f"I say {likeliest(VERDICTS)}"
        usage = {"prompt_tokens": ids.shape[1], "completion_tokens": 1}
        message = {"role": "assistant", "content": content}
        return self.reply(200, {"choices": [{"message": message}], "usage": usage})

    def reply(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
