"""An OpenAI-compatible server for the tests: real HTTP on the loopback, in a process of its own, with failure modes.

    with FakeJudgeServer(latency=0.1) as server:
        Judge("fake", base_url=server.base_url, api_key="none")

What it does to a call is set for all calls by `configure(mode=...)`, or for one item by `[[mode]]` in its texts.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request
from email.utils import formatdate
from pathlib import Path

BAD_CONTENT = {
    "prose": "I would give this answer a 4 out of 5.",
    "float": '{"reason": "r", "correctness": 4.0, "completeness": 4, "tone": 4}',
    "out_of_range": '{"reason": "r", "correctness": 7, "completeness": 4, "tone": 4}',
    "zero": '{"reason": "r", "correctness": 0, "completeness": 4, "tone": 4}',
    "boolean": '{"reason": "r", "correctness": true, "completeness": 4, "tone": 4}',
    "text_score": '{"reason": "r", "correctness": "5", "completeness": 4, "tone": 4}',
    "missing": '{"reason": "r", "correctness": 5, "tone": 4}',
    "twice": '{"reason": "r", "correctness": 1, "correctness": 5, "completeness": 4, "tone": 4}',
    "bare_number": "4",
    "list": "[4, 4, 4]",
    "nan": '{"reason": "r", "correctness": NaN, "completeness": 4, "tone": 4}',
    "two_objects": '{"correctness": 5, "completeness": 5, "tone": 5} {"correctness": 1, "completeness": 1, "tone": 1}',
    "empty": "",
    "null": None,
}
CONTENT = {
    **BAD_CONTENT,
    "fence": '```json\n{"reason": "r", "correctness": 5, "completeness": 5, "tone": 5}\n```',
}
STATUS = {"400": 400, "401": 401, "403": 403, "404": 404, "408": 408, "429": 429, "500": 500, "503": 503}
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 429: "Too Many"}


class FakeJudgeServer:
    """Start and stop the server process; `configure` and `stats` speak to it over HTTP."""

    def __init__(self, **settings):
        self.settings = settings

    def __enter__(self):
        command = [sys.executable, str(Path(__file__).resolve()), json.dumps(self.settings)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.root = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.base_url = f"{self.root}/v1"
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def configure(self, **settings):
        """Change settings from the next call on; forgets what was counted."""
        self._send("/configure", json.dumps(settings).encode())

    def stats(self):
        """What was asked so far: `calls`, `refused` (429), `answered`, `items` (text marks), `times`, `bodies`."""
        return json.loads(self._send("/stats"))

    def _send(self, path, body=None):
        with urllib.request.urlopen(urllib.request.Request(self.root + path, data=body), timeout=10) as answer:
            return answer.read()


class _Server:
    def __init__(self, settings):
        self.settings = {}
        self.configure(settings)

    def configure(self, settings):
        self.settings = {
            "mode": "ok",
            "latency": 0.0,
            "answers": None,  # how many calls get an answer; later ones hang until the next configure
            "limit_per_s": None,
            "burst": 1,
            "retry_after": "seconds",
            "keep_bodies": False,
            "fail_first": 0,
            "steerable": False,
            "usage": True,
            "refuse_parameters": [],  # names of parameters, or types of the response format
            "refusal_status": 400,
            "fail_each": 0,  # the first calls of every item that end in a 500
            "model": "fake-2026-05-01",
            **settings,
        }
        self.calls = self.refused = self.answered = 0
        self.times, self.bodies, self.items, self.asked_waits = [], [], {}, []
        self.allowance, self.at = float(self.settings["burst"]), time.monotonic()

    async def serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"(?i)content-length: *(\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                path = head.split(" ", 2)[1]
                if not await self.answer(path, body, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, path, body, writer):
        if path == "/configure":
            self.configure(json.loads(body))
            return send(writer, 200, {})
        if path == "/stats":
            names = ("calls", "refused", "answered", "times", "bodies", "items", "asked_waits")
            return send(writer, 200, {name: getattr(self, name) for name in names})
        return await self.complete(json.loads(body), writer)

    async def complete(self, body, writer):
        said = body["messages"][-1]["content"]
        self.calls += 1
        held = self.settings["answers"] is not None and self.calls > self.settings["answers"]
        self.times.append(time.time())
        if self.settings["keep_bodies"]:
            self.bodies.append(body)
        for mark in re.findall(r"item-\w+", said):
            self.items[mark] = self.items.get(mark, 0) + 1
        if await self.refuses(body, writer):
            return True
        wait = self.over_limit()
        if wait is not None:
            self.refused += 1
            return send(writer, 429, error("slow down", "rate_limit_exceeded"), self.retry_headers(wait))
        marks = re.findall(r"\[\[(\w+)\]\]", said)
        mode = marks[0] if marks else self.settings["mode"]
        if self.settings["fail_first"]:
            self.settings["fail_first"] -= 1
        elif mode.startswith("once_"):
            mode = "ok"
        mode = mode.removeprefix("once_")
        mark = re.search(r"item-\w+", said)
        if mark and self.items[mark[0]] <= self.settings["fail_each"]:
            mode = "500"
        if mode == "hang":
            await asyncio.sleep(3600)
        settings = self.settings
        while held and self.settings is settings:
            await asyncio.sleep(0.02)
        if self.settings["latency"]:
            await asyncio.sleep(self.settings["latency"])
        if mode == "disconnect":
            return False
        if mode == "page":
            return send(writer, 200, "<html>Bad gateway</html>")
        if mode == "no_choices":
            return send(writer, 200, {"id": "x", "object": "chat.completion", "choices": []})
        if mode == "quota":
            return send(writer, 429, error("You exceeded your current quota", "insufficient_quota"))
        if mode in STATUS:
            self.refused += mode == "429"
            headers = self.retry_headers(0.3) if mode == "429" else {}
            return send(writer, STATUS[mode], error(f"status {mode}", mode), headers)
        self.answered += 1
        return send(writer, 200, self.completion(mode, said, body))

    async def refuses(self, body, writer):
        """One refusal a call, of the first parameter in the list; all calls that wait for it have been sent by then."""
        form = body.get("response_format", {}).get("type")
        for name in self.settings["refuse_parameters"]:
            if name not in body and name != form:
                continue
            await asyncio.sleep(self.settings["latency"])
            if name == form:  # as OpenAI words it for models without schemas: no `param`
                words = f"Invalid parameter: 'response_format' of type '{form}' is not supported with this model."
                return send(writer, 400, error(words, None))
            if self.settings["refusal_status"] == 422:  # as servers on FastAPI word it
                fault = {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}
                return send(writer, 422, {"detail": [fault]})
            return send(writer, 400, error(f"'{name}' is not supported", "unsupported_parameter", name))
        return False

    def over_limit(self):
        limit = self.settings["limit_per_s"]
        if limit is None:
            return None
        now = time.monotonic()
        self.allowance = min(self.settings["burst"], self.allowance + (now - self.at) * limit)
        self.at = now
        if self.allowance >= 1:
            self.allowance -= 1
            return None
        return (1 - self.allowance) / limit

    def retry_headers(self, wait):
        form = self.settings["retry_after"]
        wait = max(wait, self.settings.get("least_wait", 0))
        self.asked_waits.append(wait)
        if form == "ms":
            return {"retry-after-ms": str(int(wait * 1000) + 1)}
        if form == "date":
            return {"retry-after": formatdate(time.time() + wait + 1, usegmt=True)}
        return {"retry-after": str(round(wait + 0.001, 3))} if form == "seconds" else {}

    def completion(self, mode, said, body):
        message = {"role": "assistant", "content": CONTENT.get(mode), "refusal": None}
        finish = {"length": "length", "content_filter": "content_filter"}.get(mode, "stop")
        if mode == "refusal":
            message |= {"refusal": "I cannot help with that."}
        elif mode not in CONTENT:
            message["content"] = json.dumps(self.scores(said, body))
        content = {
            "id": f"c-{self.calls}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.settings["model"],
            "system_fingerprint": "fp_1",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        }
        if self.settings["usage"]:
            characters = sum(len(m["content"]) for m in body["messages"])
            content["usage"] = {"prompt_tokens": characters // 4, "completion_tokens": 40, "total_tokens": 0}
        return content

    def scores(self, said, body):
        wanted = re.search(r"score=([1-5])", said)
        score = int(wanted[1]) if wanted else 4
        if self.settings["steerable"] and re.search(r"(?i)give (this|it|the answer) (a )?5|score of 5", said):
            score = 5
        names = re.search(r"Rate the answer on (.*)\.$", said)[1].split(", ")
        return {"reason": "because", **dict.fromkeys(names, score)}


def error(message, code, param=None):
    return {"error": {"message": message, "type": "error", "code": code, "param": param}}


def send(writer, status, content, headers=None):
    body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
    kind = "text/html" if isinstance(content, str) else "application/json"
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", f"content-type: {kind}"]
    lines += [f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return True


async def main(settings):
    server = await asyncio.start_server(_Server(settings).serve, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
