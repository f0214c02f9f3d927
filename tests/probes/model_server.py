"""An OpenAI-compatible server on the loopback whose answers a function of the request gives; in the process of the test."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ModelServer:
    """`reply(body)` gives the text, or (status, error message); every body asked is kept in `bodies`."""

    def __init__(self, reply, refuse=()):
        self.reply, self.refuse, self.bodies = reply, refuse, []

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.bodies.append(body)
                status, content = outer.answer(body)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.base_url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, body):
        for name in self.refuse:
            if name in body:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                return 400, {
                    "error": {"message": message, "type": "invalid_request_error", "param": name, "code": None}
                }
        found = self.reply(body)
        if isinstance(found, tuple):
            return found[0], {"error": {"message": found[1], "type": "error", "param": None, "code": None}}
        message = {"role": "assistant", "content": found}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return 200, {
            "id": "c", "object": "chat.completion", "created": 1, "model": f"{body['model']}-2026-05-01",
            "system_fingerprint": "fp_1", "choices": [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }  # fmt: skip
