"""The alerts for Prometheus and the dashboard for Grafana, in packaging/."""

import json
import re
import subprocess
import urllib.request

import pytest

from support.promtool import promtool
from support.servers import ROOT, Stayd

PROMETHEUS = ROOT / "packaging" / "prometheus"
RULES = PROMETHEUS / "stayd.rules.yml"
# A pool whose engine cannot be reached has all metrics of clustered pools.
CLUSTERED = {"cluster": "nats://127.0.0.1:1", "serve_while_catching_up": "yes"}
GRAFANA = ROOT / "packaging" / "grafana" / "stayd.json"


@pytest.fixture(scope="module")
def metric_names():
    with Stayd(sessions=CLUSTERED) as stayd, urllib.request.urlopen(stayd.admin_url() + "/metrics",
                                                  timeout=10) as reply:
        return set(re.findall(r"^# TYPE (\w+) ", reply.read().decode(), re.MULTILINE))


def used(text):
    """The metrics of stayd's that a text names."""
    return set(re.findall(r"\bstayd_(?:pool_|cluster_|connections|read_|written_|build_)\w+", text))


def test_promtool_finds_no_fault_in_the_rules_and_each_alert_fires_as_it_should():
    for what in (["check", "rules", "stayd.rules.yml"], ["test", "rules", "stayd.rules.test.yml"]):
        done = subprocess.run([promtool(), *what], cwd=PROMETHEUS, capture_output=True, text=True,
                              timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "SUCCESS" in done.stdout


def test_each_alert_has_a_test_and_a_remedy():
    rules = RULES.read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert len(alerts) >= 10
    tested = (PROMETHEUS / "stayd.rules.test.yml").read_text()
    for alert in alerts:
        assert re.search(rf"alertname: {alert}\n +exp_alerts:\n", tested), alert
    assert len(re.findall(r"^ +remedy: ", rules, re.MULTILINE)) == len(alerts)


def test_alerts_and_dashboard_name_only_metrics_that_there_are(metric_names):
    assert used(RULES.read_text()) <= metric_names
    shown = used(GRAFANA.read_text())
    assert shown <= metric_names and len(shown) > 20


def test_the_grafana_dashboard_is_whole():
    dashboard = json.loads(GRAFANA.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 10
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    for panel in panels:
        assert panel["title"] and panel["targets"]
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])
