"""Grafana's dashboards and Prometheus's rules ask for metrics and labels that there are, and leave none out."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from monitoring import metrics

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
DASHBOARDS = {path.name: json.loads(path.read_text("utf-8")) for path in sorted((DEPLOY / "grafana").glob("*.json"))}
RULES = [r for g in yaml.safe_load((DEPLOY / "alerts.yml").read_text("utf-8"))["groups"] for r in g["rules"]]
ENDS = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
SCRAPED = {"instance", "job", "le"}


def exported() -> dict[str, set[str]]:
    """Name of a time series -> its labels."""
    kinds = [metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]
    return {f"{m._name}{end}": {*m._labelnames} for m in kinds for end in ENDS[m._type]}


def asked() -> Iterator[tuple[str, str]]:
    """Where, and the expression."""
    for name, board in DASHBOARDS.items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"]
    for rule in RULES:
        yield f"alerts.yml: {rule['alert']}", rule["expr"]


@pytest.mark.parametrize(("where", "expression"), list(asked()))
def test_an_expression_asks_for_metrics_and_labels_that_there_are(where: str, expression: str) -> None:
    names, known = set(re.findall(r"\bofferrank_\w+", expression)), exported()
    assert names <= known.keys(), where
    assert names or "up{" in expression, where
    labels = {label for name in names for label in known[name]} | SCRAPED
    grouped = {label.strip() for by in re.findall(r"\bby \(([^)]*)\)", expression) for label in by.split(",")}
    matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    assert grouped | matched <= labels, where


def test_a_legend_names_labels_that_its_expression_keeps() -> None:
    for name, board in DASHBOARDS.items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                kept = {label.strip() for by in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for label in by.split(",")}
                kept |= SCRAPED if "(" not in target["expr"] else set()
                assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept, f"{name}: {panel['title']}"


def test_every_metric_is_on_a_dashboard_or_in_a_rule() -> None:
    shown = {name for _, expression in asked() for name in re.findall(r"\bofferrank_\w+", expression)}
    unseen = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in exported()}
    assert unseen - {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in shown} == set()


def test_dashboards_can_be_told_apart_and_use_the_datasource_that_is_provisioned() -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana" / "datasource.yml").read_text("utf-8"))["datasources"]
    assert len({board["uid"] for board in DASHBOARDS.values()}) == len(DASHBOARDS) == 2
    for board in DASHBOARDS.values():
        panels = board["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        used = {one["datasource"]["uid"] for panel in panels for one in (panel, *panel["targets"])}
        assert used == {source["uid"]}
        for a, b in pairwise(panels):
            assert (a["gridPos"]["y"], a["gridPos"]["x"]) < (b["gridPos"]["y"], b["gridPos"]["x"])


def test_dashboards_are_mounted_where_grafana_looks_for_them() -> None:
    compose: dict[str, Any] = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text("utf-8"))
    (provider,) = yaml.safe_load((DEPLOY / "grafana" / "dashboards.yml").read_text("utf-8"))["providers"]
    mounted = {volume.split(":")[0]: volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]}
    folder = provider["options"]["path"]
    assert {name for name in DASHBOARDS if mounted.get(f"./deploy/grafana/{name}") == f"{folder}/{name}"} == set(DASHBOARDS)
    assert compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in mounted.values()


def test_alertmanager_tells_receivers_that_there_are_of_severities_that_rules_have() -> None:
    config = yaml.safe_load((DEPLOY / "alertmanager.yml").read_text("utf-8"))
    route = config["route"]
    assert {route["receiver"], *(one["receiver"] for one in route["routes"])} == {one["name"] for one in config["receivers"]}
    severities = {text for one in route["routes"] for matcher in one["matchers"] for text in re.findall(r'"(\w+)"', matcher)}
    assert severities <= {rule["labels"]["severity"] for rule in RULES}
    alerts = {rule["alert"] for rule in RULES}
    for inhibition in config["inhibit_rules"]:
        for matcher in (*inhibition["source_matchers"], *inhibition["target_matchers"]):
            assert set(re.search(r'"(.*)"', matcher)[1].split("|")) <= alerts  # type: ignore[index]
