"""The image, Compose, systemd and the Prometheus of Compose, as far as they can be checked without Docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from service.app.drain import EXIT_SECONDS
from service.settings import Settings
from tests.conftest import PLAIN_RULES, REPOSITORY, service_settings, service_thread

DEPLOY = REPOSITORY / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
UNIT = (DEPLOY / "systemd" / "truestock.service").read_text()


def known_settings() -> set[str]:
    return {f"TRUESTOCK_{name}".upper() for name in Settings.model_fields} | {"DATABASE_URL"}


def test_compose_is_valid_by_the_schema_of_compose() -> None:
    schema = files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text()

    jsonschema.validate(COMPOSE, json.loads(schema))


def test_what_compose_mounts_is_in_this_repository() -> None:
    sources = [
        volume.partition(":")[0] for service in COMPOSE["services"].values() for volume in service.get("volumes", ())
    ]
    for source in sources:
        assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), source


def test_compose_publishes_ports_on_this_machine_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_settings_of_compose_image_and_unit_are_those_of_the_service() -> None:
    in_image = re.findall(r"\b((?:TRUESTOCK|DATABASE)_[A-Z_]+)=", DOCKERFILE + UNIT)
    in_compose = [COMPOSE["services"][name]["environment"] for name in ("truestock", "migrate")]
    named = {*in_compose[0], *in_compose[1], *in_image}

    assert named <= known_settings()


def test_a_container_gets_the_time_that_a_service_takes_to_stop() -> None:
    seconds = int(COMPOSE["services"]["truestock"]["stop_grace_period"].removesuffix("s"))

    assert seconds > Settings().drain_seconds + EXIT_SECONDS


def test_the_image_is_built_on_a_base_that_nobody_can_replace() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert set(bases) == {"${BASE}"}
    assert re.search(r"^ARG BASE=python:3\.11\S*@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)


def test_the_image_copies_what_there_is_and_runs_as_no_root() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    copied = [source for line in lines for source in line.split()[:-1]]

    assert copied
    for source in copied:
        assert (REPOSITORY / source).exists(), source
        assert f"!{source}" in ignored
    user = re.findall(r"^USER (\d+)", DOCKERFILE, re.MULTILINE)
    assert user
    assert int(user[-1]) > 0


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: apt-get install prometheus")
def test_prometheus_of_compose_has_a_valid_configuration_with_our_rules(tmp_path: Path) -> None:
    config = (DEPLOY / "compose" / "prometheus.yml").read_text()
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in COMPOSE["services"]["prometheus"]["volumes"]}
    folder = "/etc/prometheus/truestock"
    (tmp_path / "prometheus.yml").write_text(config.replace(folder, str((DEPLOY / mounted[folder]).resolve())))

    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "rules found" in checked.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_systemd_unit_is_valid(tmp_path: Path) -> None:
    # It looks for the programs that the unit starts; there is one here that every machine has.
    unit = tmp_path / "truestock.service"
    unit.write_text(UNIT.replace("/opt/truestock/bin/truestock", "/bin/true"))

    checked = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False, env=os.environ
    )
    complaints = [line for line in checked.stderr.splitlines() if "truestock" in line]
    assert checked.returncode == 0, checked.stderr
    assert complaints == []


def test_the_commands_of_the_systemd_unit_copy_what_it_reads_to_a_new_machine(tmp_path: Path) -> None:
    (tmp_path / "etc" / "systemd" / "system").mkdir(parents=True)
    commands = [line.removeprefix("#   ") for line in UNIT.splitlines() if re.match("#   (mkdir|cp|install) ", line)]

    for command in commands:
        subprocess.run(command.replace("/etc/", f"{tmp_path}/etc/"), shell=True, check=True, cwd=REPOSITORY)

    assert (tmp_path / "etc" / "systemd" / "system" / "truestock.service").read_text() == UNIT
    rules = re.search("TRUESTOCK_RULES=(\\S+)", UNIT)
    assert rules is not None
    assert (tmp_path / rules[1].lstrip("/") / "merchant.yaml").is_file()


@pytest.fixture
def address(database_url: str) -> Iterator[str]:
    with service_thread(service_settings(database_url, PLAIN_RULES)) as address:
        yield address


def health(address: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, str(DEPLOY / "health.py"), address]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_the_health_check_of_the_image_tells_a_service_that_is_ready_from_none(address: str) -> None:
    assert health(address).returncode == 0

    absent = health("localhost:1")
    assert (absent.returncode, absent.stdout) == (1, "localhost:1 does not answer: UNAVAILABLE\n")
