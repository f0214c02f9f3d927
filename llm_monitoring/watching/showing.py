"""Where numbers are shown: a /metrics page that Prometheus scrapes, or OTLP metrics pushed to a collector."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from llm_monitoring import addresses
from llm_monitoring.alerts.plan import SinkPlan
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.watching.gauges import FRONT, HELP, Gauge, exposition
from llm_monitoring.watching.sinks import Sink, SinkError


class MetricsPage(Sink):
    """``prometheus://HOST:PORT``: a page at ``/metrics`` for as long as the watch runs."""

    def __init__(self, wanted: SinkPlan, url: str):
        super().__init__(wanted, url)
        self.host, self.port = _host_and_port(url, 9464)
        self.text = exposition([])
        self.server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen.

        Raises
        ------
        ConfigError
            Nobody may listen there, or somebody does already.
        """
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path.partition("?")[0] == "/metrics"
                body = page.text.encode(errors="replace") if found else b"the numbers are at /metrics\n"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        try:
            self.server = ThreadingHTTPServer((self.host, self.port), Handler)
        except OSError as error:
            raise ConfigError(f"[[sinks]] url = {quote(self.shown)}: cannot listen there ({error.strerror})") from None
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True, name="metrics").start()

    def reason_against(self) -> str | None:
        """Why no watch could show its numbers here; None where one could, or one does."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        with (
            suppress(OSError, ValueError),
            urllib.request.urlopen(f"http://{host}:{self.port}/metrics", timeout=5) as got,
        ):
            if f"{FRONT}log_readable" in got.read().decode(errors="replace"):
                return None
        try:
            self.start()
        except ConfigError as error:
            return str(error).partition(": ")[2]
        self.stop()
        return None

    def stop(self) -> None:
        """Listen no longer."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def show(self, gauges: Iterable[Gauge]) -> None:
        """Put numbers on the page in place of those that stand there."""
        self.text = exposition(gauges)


class Collector(Sink):
    """``otlp://HOST:PORT`` (``otlps://`` over TLS): gauges pushed as OTLP metrics over HTTP, headers from the environment.

    ``OTEL_EXPORTER_OTLP_HEADERS`` holds the key of a hosted collector, as for every OpenTelemetry exporter.
    """

    def __init__(self, wanted: SinkPlan, url: str):
        super().__init__(wanted, url)
        _metrics_of([])  # the package is there
        host, port = _host_and_port(url, 4318)
        kind = "https" if url.lower().startswith("otlps") else "http"
        self.target = f"{kind}://{host}:{port}{urlsplit(url).path.rstrip('/') or '/v1/metrics'}"

    def reason_against(self) -> str | None:
        """Why the collector does not take what it is sent; None where it does."""
        try:
            self.show([])
        except SinkError as error:
            return str(error)
        return None

    def show(self, gauges: Iterable[Gauge], timeout_s: float = 10.0) -> None:
        """Push numbers.

        Raises
        ------
        SinkError
            The collector did not take them.
        """
        headers = {"Content-Type": "application/x-protobuf"}
        for part in os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(","):
            name, is_header, value = part.partition("=")
            if is_header:
                headers[unquote(name).strip()] = unquote(value).strip()
        request = urllib.request.Request(self.target, _metrics_of(list(gauges)), headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s):
                return
        except urllib.error.HTTPError as error:
            raise SinkError(f"answered {error.code}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise SinkError(addresses.without_secrets(str(reason), self.url)) from None


def _metrics_of(gauges: list[Gauge]) -> bytes:
    """An export request of OTLP with these gauges."""
    try:
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    except ImportError:
        raise ImportError(
            'a sink otlp:// needs the opentelemetry-proto package: pip install "llm-monitoring[otlp]"'
        ) from None
    now = time.time_ns()
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    service = resource.resource.attributes.add(key="service.name")
    service.value.string_value = "llm-monitoring"
    scope = resource.scope_metrics.add()
    scope.scope.name = "llm_monitoring"
    metrics: dict[str, Any] = {}
    for gauge in gauges:
        if gauge.name not in metrics:
            metrics[gauge.name] = scope.metrics.add(name=f"{FRONT}{gauge.name}", description=HELP[gauge.name])
        point = metrics[gauge.name].gauge.data_points.add(time_unix_nano=now, as_double=gauge.value)
        for name, text in gauge.labels.items():
            point.attributes.add(key=name).value.string_value = text.encode(errors="replace").decode()
    return request.SerializeToString()


def _host_and_port(url: str, usual: int) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ConfigError(
            f"[[sinks]] url = {quote(addresses.destination(url))}; expected {url.partition('://')[0]}://HOST:PORT"
        )
    return host, usual if port is None else port
