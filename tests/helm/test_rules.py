"""The alerts, by Prometheus' own promtool (Debian: prometheus). Left out where there is none."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.helm.chart import CHART, named, objects, profile, read

RULES = CHART / "rules" / "oncetune.yaml"


def promtool(*words: str | Path, said: str | None = None) -> str:
    """What it prints, once it has nothing to say against it."""
    ended = subprocess.run(["promtool", *words], input=said, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_every_alert_fires_on_its_symptom_and_none_on_a_healthy_hour():
    promtool("test", "rules", Path(__file__).parent / "rules_test.yaml")


def test_every_alert_is_tried():
    tried = (Path(__file__).parent / "rules_test.yaml").read_text()
    for alert in read(RULES)["groups"][0]["rules"]:
        assert f'alertname="{alert["alert"]}"' in tried and f"alertname: {alert['alert']}" in tried, alert["alert"]


def test_the_rendered_rules_are_the_file_and_prometheus_reads_them(tmp_path: Path):
    rendered = named(objects(profile("external")), "PrometheusRule", "oncetune")["spec"]
    assert rendered == read(RULES)
    (tmp_path / "rules.yaml").write_text(json.dumps(rendered))
    promtool("check", "rules", tmp_path / "rules.yaml")


@pytest.mark.parametrize("dashboard", sorted((CHART / "dashboards").glob("*.json")), ids=lambda path: path.stem)
def test_every_expression_of_a_dashboard_is_one(dashboard: Path, tmp_path: Path):
    panels = json.loads(dashboard.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(expressions)]
    (tmp_path / "panels.yaml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "panels.yaml")
    mounted = named(objects(profile("external")), "ConfigMap", f"oncetune-dashboard-{dashboard.stem}")
    assert json.loads(mounted["data"][dashboard.name]) == json.loads(dashboard.read_text())
    assert len({re.sub(r"\W", "", panel["title"]) for panel in panels}) == len(panels)
