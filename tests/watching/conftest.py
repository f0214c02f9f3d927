"""A log under watch whose check is told beforehand, and servers that take what is sent: HTTP and SMTP."""

from __future__ import annotations

import json
import socket
import threading
import time
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from llm_monitoring.alerts import checking
from tests.watching.logs import GrowingLog, as_known_at


class Watched:
    """A growing log; `alerts` are those that a check of the whole of it would give, `checks` the plans of those made."""

    def __init__(self, folder):
        self.log, self.alerts, self.checks = GrowingLog(folder / "log"), [], []
        self.state = folder / "watch.db"
        self.told = folder / "told.jsonl"
        self.plan = {"sinks": [{"url": f"jsonl://{self.told}"}]}

    def check(self, log, plan=None, until=None):
        self.checks.append(plan)
        return as_known_at(self.alerts, log.span("requests")[1])


@pytest.fixture
def watched(tmp_path, monkeypatch) -> Watched:
    found = Watched(tmp_path)
    found.patch = lambda check: monkeypatch.setattr(checking, "check", check)
    monkeypatch.setattr(checking, "check", found.check)
    return found


class WebHook:
    """An HTTP server: answers with `status` after `wait_s`, 507 once `room` is used up; keeps what it `taken` and was `asked`."""

    def __init__(self):
        self.status, self.wait_s, self.room, self.taken, self.asked = 200, 0.0, 1000, [], []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                hook.asked.append(self.path)
                time.sleep(hook.wait_s)
                status = hook.status if len(hook.taken) < hook.room else 507
                if status == 200:
                    hook.taken.append(json.loads(body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self):
                hook.asked.append(self.path)
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path: str = "hook") -> str:
        return f"json://127.0.0.1:{self.port}/{path}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook():
    server = WebHook()
    yield server
    server.close()


class Mailbox:
    """An SMTP server: refuses with `refusal` where it is set, keeps the mails it took."""

    def __init__(self):
        from aiosmtpd.controller import Controller

        self.refusal, self.mails = None, []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self.controller.start()

    async def handle_DATA(self, server, session, envelope):
        if self.refusal:
            return self.refusal
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"

    @property
    def url(self) -> str:
        return (
            f"mailto://127.0.0.1:{self.port}?smtp=127.0.0.1&from=watch@example.com&to=oncall@example.com&mode=insecure"
        )


@pytest.fixture
def mailbox():
    box = Mailbox()
    yield box
    box.controller.stop()
