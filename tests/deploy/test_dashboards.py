"""The Grafana dashboards: made by code, and of metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.deploy.test_prometheus_rules import known_metrics
from tools import dashboards as tool

FOLDER = REPOSITORY / "deploy" / "grafana"
RECORDED = REPOSITORY / "deploy" / "prometheus" / "recording-rules.yml"
BOARDS = ("operations.json", "service.json")


def panels_of(name: str) -> list[dict[str, Any]]:
    panels = json.loads((FOLDER / "dashboards" / name).read_text())["panels"]
    return [panel for panel in panels if panel["type"] != "row"]


def test_the_files_are_what_the_code_makes() -> None:
    assert tool.check() is None


def test_a_file_that_was_changed_by_hand_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "FOLDER", tmp_path)
    tool.generate()
    (tmp_path / "service.json").write_text("{}")
    (tmp_path / "mine.json").write_text("{}")

    assert tool.check() == "Dashboards differ from the code: mine.json, service.json. Run make dashboards."


@pytest.mark.parametrize("name", BOARDS)
def test_panels_ask_for_metrics_that_the_service_has_and_rates_that_are_recorded(name: str) -> None:
    rates = {rule["record"] for group in yaml.safe_load(RECORDED.read_text())["groups"] for rule in group["rules"]}
    expressions = [target["expr"] for panel in panels_of(name) for target in panel["targets"]]

    for expression in expressions:
        for rate in re.findall(r"\w+:\w+:ratio_\$window", expression):
            assert {rate.replace("$window", window) for window in ("5m", "1h", "1d", "30d")} <= rates
        used = set(re.findall(r"\btruestock_\w+", re.sub(r"\w+:\w+:\w+", "", expression)))
        assert used <= known_metrics(), expression


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_a_name_of_their_own_a_description_and_room(name: str) -> None:
    panels = panels_of(name)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]

    assert len({panel["title"] for panel in panels}) == len(set(places)) == len(panels)
    assert all(panel["description"].endswith(".") for panel in panels)


def test_provisioning_names_the_data_source_and_the_folder_of_the_dashboards() -> None:
    (source,) = yaml.safe_load((FOLDER / "provisioning/datasources/truestock.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/truestock.yml").read_text())["providers"]

    assert source["type"] == "prometheus"
    assert provider["options"]["path"].endswith("/dashboards/truestock")
