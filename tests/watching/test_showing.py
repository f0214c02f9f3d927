"""Numbers for Prometheus and OTLP, and rules over them that a real server takes and fires."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.plan import read_plan
from llm_monitoring.intervals import clopper_pearson
from llm_monitoring.watching.boards import Boards
from llm_monitoring.watching.gauges import _labels, exposition, of_features
from llm_monitoring.watching.levels import levels_of
from llm_monitoring.watching.looking import Source
from llm_monitoring.watching.prometheus import dashboard_of, export_prometheus, rules_of
from llm_monitoring.watching.state import State
from tests.builders import make_requests

EVIL = 'a"b\\c\nd{{ printf "x" }}'
PATIENCE_S = 180
PLAN = {"infrastructure": {"window": "1h", "min_requests": 20}}


def requests(weeks=3, failing=0, feature_id="search"):
    """Thirty requests an hour; `failing` of the last two hours fail, a fifth of them is slow."""
    n = weeks * 7 * 24 * 30
    rows = make_requests(n, every="2min", feature_id=feature_id, latency_ms=[800.0, 900.0, 1000.0, 1100.0, 2000.0])
    failed = np.arange(n) % 30 < failing
    rows["error"] = np.where(failed & (np.arange(n) >= n - 60), "timeout", None)
    return rows


def closed(**options):
    """The same, and one request more, so that the last window is over."""
    rows = requests(**options)
    return pd.concat(
        [rows, make_requests(1, start=rows["timestamp"].iloc[-1] + pd.Timedelta("2min"), request_id="next")]
    )


def numbers(log, plan):
    found = of_features(log, plan, levels_of(log, plan))
    return {gauge.name: gauge.value for gauge in found}


def test_the_numbers_are_those_of_the_last_closed_windows():
    log, plan = lm.open_log(closed(failing=6)), read_plan(PLAN)
    found = numbers(log, plan)
    last = lm.window_metrics(requests(failing=6), window="1h").iloc[-1]
    for name in ("request_count", "error_rate", "latency_p95_ms", "latency_p99_ms", "total_cost_usd"):
        assert found[name] == pytest.approx(last[name], rel=1e-9)
    assert found["error_rate_low"] == pytest.approx(clopper_pearson(6, 30, 0.99)[0])
    assert found["request_count_usual"] == 30
    assert found["window_end_timestamp_seconds"] == last["window_end"].timestamp()
    assert found["request_count_low"] < 30 < found["request_count_high"]


def test_a_rule_on_the_numbers_fires_where_the_plan_does():
    plan = read_plan(PLAN | {"quality": {"enabled": False}, "cost": {"enabled": False}})
    for failing in (1, 4, 5, 6, 12):
        log = lm.open_log(closed(failing=failing))
        fired = "error_rate" in set(lm.check(log, plan)["metric"])
        assert (numbers(log, plan)["error_rate_low"] > plan.infrastructure.error_rate) == fired


def test_few_requests_have_no_rate():
    log, plan = lm.open_log(make_requests(30 * 24, every="1h")), read_plan({"infrastructure": {"min_requests": 100}})
    assert set(numbers(log, plan)) == {
        "request_count", "request_count_low", "request_count_high", "request_count_usual", "total_cost_usd",
        "window_end_timestamp_seconds",
    }  # fmt: skip


def test_at_night_the_rate_is_that_of_the_last_windows_that_hold_enough_together():
    """Thirty requests an hour by day, six at night; from 22:00 on every second one fails."""
    rows = requests()
    night = rows["timestamp"].dt.hour.isin([22, 23, 0, 1, 2, 3, 4, 5])
    rows = rows[~night | (rows.index % 5 == 0)]
    rows = rows[rows["timestamp"] < rows["timestamp"].iloc[-1].normalize() + pd.Timedelta("5h1min")].reset_index(
        drop=True
    )
    began = rows["timestamp"].iloc[-1].normalize() - pd.Timedelta("2h")
    failing = (rows["timestamp"] >= began) & (rows.index % 2 == 0)
    rows["error"] = np.where(failing, "timeout", None)
    found = numbers(lm.open_log(rows), read_plan(PLAN))
    assert found["request_count"] == 6
    day = began.normalize() + pd.Timedelta("1D")
    lots = [
        rows.loc[(rows["timestamp"] >= day + first) & (rows["timestamp"] < day + last), "error"].notna()
        for first, last in ((pd.Timedelta("1h"), pd.Timedelta("5h")), (pd.Timedelta("-3h"), pd.Timedelta("1h")))
    ]
    assert [len(lot) for lot in lots] == [24, 48]  # four hours of the night; three, and the thirty of 21:00
    assert found["error_rate"] == lots[0].mean()
    assert found["error_rate_low"] == pytest.approx(min(clopper_pearson(lot.sum(), len(lot), 0.99)[0] for lot in lots))


def test_names_of_a_log_are_escaped_in_numbers_and_rules(tmp_path):
    log, plan = lm.open_log(requests(feature_id=EVIL)), read_plan(PLAN)
    levels = levels_of(log, plan)
    page = exposition(of_features(log, plan, levels))
    assert r'feature_id="a\"b\\c\nd{{ printf \"x\" }}"' in page
    (group,) = rules_of(plan, levels)["groups"]
    assert not any("printf" in text for rule in group["rules"] for text in rule["annotations"].values())
    json.dumps(dashboard_of(plan, levels))


def test_a_layer_that_is_off_has_no_rules():
    plan = read_plan({"infrastructure": {"enabled": False}})
    (group,) = rules_of(plan, levels_of(lm.open_log(requests(weeks=1)), plan))["groups"]
    assert [rule["alert"] for rule in group["rules"]] == ["LLMWatchSilent"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="the Debian package prometheus is not here")
def test_promtool_takes_the_rules(tmp_path):
    several = [requests(feature_id=name).assign(request_id=lambda rows: rows["request_id"] + rows["feature_id"])
               for name in ("chat", "search", EVIL, "\U0001f600")]  # fmt: skip
    for name, rows in (("plain", requests()), ("several", pd.concat(several)), ("empty", requests(weeks=0))):
        rules, _ = export_prometheus({"requests": rows}, PLAN, tmp_path / name)
        done = subprocess.run(
            ["promtool", "check", "rules", "--lint-fatal", str(rules)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    names = ["chat", EVIL, "\U0001f600"]
    case = {
        "rule_files": [str(tmp_path / "several" / "rules.yml")], "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": [
                {"series": f'llm_monitoring_latency_p95_ms_low{_labels({"feature_id": name})}', "values": "9000x3"}
                for name in names
            ],
            "alert_rule_test": [{
                "eval_time": "2m", "alertname": "LLMLatencyP95",
                "exp_alerts": [{
                    "exp_labels": {"severity": "warning", "layer": "infrastructure", "feature_id": name},
                    "exp_annotations": {
                        "summary": f"{name}: 95 % quantile of the latency is over 4000 ms",
                        "description": f"{name}, windows of : 9k ms at least.",
                    },
                } for name in names],
            }],
        }],
    }  # fmt: skip
    (tmp_path / "case.yml").write_text(json.dumps(case, ensure_ascii=False))
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "case.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


class OTLPCollector:
    """Takes OTLP over HTTP and reads it by the definitions of opentelemetry-proto."""

    def __init__(self):
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        self.got, self.paths, self.status = [], [], 200
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = ExportMetricsServiceRequest()
                request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
                mine.got.append((self.headers, request))
                mine.paths.append(self.path)
                self.send_response(mine.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()


def test_a_collector_gets_the_numbers_as_otlp(tmp_path, monkeypatch):
    pytest.importorskip("opentelemetry.proto")
    collector = OTLPCollector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret%20key")
    closed(failing=6).to_parquet(tmp_path / "requests.parquet")
    url = f"otlp://127.0.0.1:{collector.server.server_address[1]}"
    plan = PLAN | {"sinks": [{"url": url}], "quality": {"enabled": False}, "cost": {"enabled": False}}
    found = lm.watch(str(tmp_path), plan, tmp_path / "watch.db")
    (headers, request), = collector.got  # fmt: skip
    assert collector.paths == ["/v1/metrics"]
    assert headers["api-key"] == "s3cret key"
    metrics = {one.name: one for one in request.resource_metrics[0].scope_metrics[0].metrics}
    (point,) = metrics["llm_monitoring_error_rate"].gauge.data_points
    assert point.as_double == pytest.approx(0.2)
    assert {one.key: one.value.string_value for one in point.attributes} == {"feature_id": "search", "window": "1h"}
    assert point.time_unix_nano > 0
    assert found["metric"].tolist() == ["error_rate"]
    assert len(metrics["llm_monitoring_alert_open"].gauge.data_points) == 1
    collector.status = 503
    assert any(
        "did not take the numbers: answered 503" in line
        for line in lm.watch(str(tmp_path), plan, tmp_path / "watch.db").attrs["lines"]
    )


def test_a_page_shows_only_while_a_watch_runs_and_what_its_sink_wants(tmp_path):
    port = free_port()
    requests(failing=6).to_parquet(tmp_path / "requests.parquet")
    plan = read_plan(PLAN | {"sinks": [{"url": f"prometheus://127.0.0.1:{port}", "layers": ["cost"]}]})
    boards, state = Boards(Source.of(str(tmp_path)), plan), State(tmp_path / "watch.db")
    with state.round():
        assert boards.show(state, True) == [f"prometheus://127.0.0.1:{port} is shown by a running watch only"]
        with boards.serving():
            assert boards.show(state, True) == []
            page = read(f"http://127.0.0.1:{port}/metrics")
            assert "llm_monitoring_log_readable 1" in page
            assert "llm_monitoring_error_rate" not in page
            with pytest.raises(lm.ConfigError, match="cannot listen there"), Boards(Source.of("x"), plan).serving():
                pass
            with pytest.raises(urllib.error.HTTPError):
                read(f"http://127.0.0.1:{port}/")
    with pytest.raises(urllib.error.URLError):
        read(f"http://127.0.0.1:{port}/metrics")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def read(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def until(seen, what):
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = seen()
        except OSError:
            found = None
        if found:
            return found
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.2)


@pytest.mark.engines
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="the Debian package prometheus is not here")
def test_an_error_burst_makes_a_rule_fire_in_a_real_server(tmp_path):
    page, port, log = free_port(), free_port(), tmp_path / "log"
    log.mkdir()
    healthy = requests()
    healthy.to_parquet(log / "requests.parquet")
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[infrastructure]\nwindow = "1h"\n[quality]\nenabled = false\n[cost]\nenabled = false\n'
        '[watch]\ninfrastructure = "1s"\ncost = "1s"\nquality = "1s"\n'
        f'[[sinks]]\nurl = "prometheus://127.0.0.1:{page}"\n'
    )
    export_prometheus(str(log), plan, tmp_path / "rules")
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: ['{tmp_path}/rules/rules.yml']\n"
        f"scrape_configs:\n- job_name: watch\n  static_configs: [{{targets: ['127.0.0.1:{page}']}}]\n"
    )
    watch = [
        sys.executable,
        "-m",
        "llm_monitoring.cli",
        "watch",
        str(log),
        "--plan",
        str(plan),
        "--state",
        str(tmp_path / "s.db"),
    ]
    server = [
        "prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    running = [
        subprocess.Popen(each, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL) for each in (watch, server)
    ]
    try:
        until(lambda: ask(port, "up == 1"), "the first scrape")
        (rate,) = until(lambda: ask(port, "llm_monitoring_error_rate"), "the error rate")
        assert (float(rate["value"][1]), rate["metric"]["feature_id"]) == (0.0, "search")
        assert ask(port, 'ALERTS{alertname="LLMErrorRate"}') == []
        start = healthy["timestamp"].iloc[-1] + pd.Timedelta("2min")
        burst = make_requests(
            91, start=start, every="2min", error=["timeout", None], request_id=[f"b{i}" for i in range(91)]
        )
        pd.concat([healthy, burst]).to_parquet(log / "next.part")
        (log / "next.part").rename(log / "requests.parquet")
        (fired,) = until(lambda: ask(port, 'ALERTS{alertname="LLMErrorRate", alertstate="firing"}'), "the rule to fire")
        assert fired["metric"]["feature_id"] == "search"
        until(lambda: ask(port, 'llm_monitoring_alert_open{metric="error_rate"} == 1'), "the open alert")
    finally:
        for each in running:
            each.kill()
            each.wait()


def ask(port, query):
    answer = read(f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query}))
    return json.loads(answer)["data"]["result"]
