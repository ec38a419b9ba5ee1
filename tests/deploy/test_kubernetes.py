"""The manifests of Kubernetes: valid by its schemas, and true to one another and to the service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from policies.reading.rules_reader import read
from service.app.drain import EXIT_SECONDS
from service.policy.rules_folder import read_folder
from service.settings import Address, Settings
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "kubernetes"
BY_GIT = FOLDER / "rules-by-git"
FILES = sorted(path for path in FOLDER.rglob("*.yaml"))
WITHOUT_SCHEMA = {"Kustomization", "ServiceMonitor"}
"""Kinds that Kubernetes itself does not have."""
VERSIONS = ("1.31", "1.37")
SERVICE_LABELS = {"app.kubernetes.io/name": "truestock", "app.kubernetes.io/component": "service"}


def manifest(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return content


def merged(base: Any, patch: Any) -> Any:
    """A patch of kustomize applied: null removes, and entries of lists go by their name."""
    if isinstance(base, dict) and isinstance(patch, dict):
        keys = {**base, **patch}
        together = {key: merged(base.get(key), patch[key]) if key in patch else base[key] for key in keys}
        return {key: value for key, value in together.items() if value is not None}
    if isinstance(base, list) and isinstance(patch, list) and all("name" in entry for entry in [*base, *patch]):
        by_name = {entry["name"]: entry for entry in base}
        by_name |= {entry["name"]: merged(by_name.get(entry["name"]), entry) for entry in patch}
        return list(by_name.values())
    return patch


def deployments() -> list[Any]:
    base = manifest("deployment.yaml")
    patch = yaml.safe_load((BY_GIT / "deployment.yaml").read_text())
    return [
        pytest.param(base, id="rules from a ConfigMap"),
        pytest.param(merged(base, patch), id="rules from git"),
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
@pytest.mark.parametrize("version", VERSIONS)
def test_every_file_is_valid_in_old_and_new_versions_of_kubernetes(path: Path, version: str) -> None:
    content = yaml.safe_load(path.read_text())
    if path == BY_GIT / "deployment.yaml":
        content = merged(manifest("deployment.yaml"), content)
    if content["kind"] not in WITHOUT_SCHEMA:
        kubernetes_validate.validate(content, version, strict=True)


@pytest.mark.parametrize("folder", [FOLDER, BY_GIT], ids=["base", "rules-by-git"])
def test_kustomize_is_given_every_file_but_the_job_that_runs_before(folder: Path) -> None:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    named = {*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", ()))}

    assert named - {".."} == {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml", "migrate-job.yaml"}


def test_selectors_find_the_pods_of_the_service() -> None:
    labels = manifest("deployment.yaml")["spec"]["template"]["metadata"]["labels"]

    assert labels == SERVICE_LABELS
    assert manifest("deployment.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("service.yaml")["spec"]["selector"] == labels
    assert manifest("disruption-budget.yaml")["spec"]["selector"]["matchLabels"] == labels
    for policy in ("network-policy.yaml", "rules-by-git/network-policy.yaml"):
        assert manifest(policy)["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    # A job's pods belong to no service, yet reach the database.
    job = manifest("migrate-job.yaml")["spec"]["template"]["metadata"]["labels"]
    assert manifest("network-policy.yaml")["spec"]["podSelector"]["matchLabels"].items() <= job.items()
    assert not SERVICE_LABELS.items() <= job.items()
    monitor = manifest("service-monitor.yaml")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= manifest("service.yaml")["metadata"]["labels"].items()
    ports = {port["name"] for port in manifest("service.yaml")["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} <= ports
    assert manifest("autoscaler.yaml")["spec"]["scaleTargetRef"]["name"] == "truestock"


@pytest.mark.parametrize("deployment", deployments())
def test_no_container_is_root_or_writes_to_its_image(deployment: Any) -> None:
    for manifest_of_pods in (deployment, manifest("migrate-job.yaml")):
        pod = manifest_of_pods["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            mounts = {mount["name"] for mount in container.get("volumeMounts", ())}
            assert mounts <= {volume["name"] for volume in pod.get("volumes", ())}


@pytest.mark.parametrize("deployment", deployments())
def test_rules_are_mounted_where_the_service_reads_them_and_whole(deployment: Any) -> None:
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "rules"]

    assert Path(environment["TRUESTOCK_RULES"]).is_relative_to(mount["mountPath"])
    assert "subPath" not in mount


def test_every_setting_is_one_of_the_service() -> None:
    names = set(manifest("settings.yaml")["data"])
    for entry in manifest("deployment.yaml")["spec"]["template"]["spec"]["containers"][0]["env"]:
        names.add(entry["name"])
    values = manifest("settings.yaml")["data"]
    settings = Settings(**{name.removeprefix("TRUESTOCK_").lower(): value for name, value in values.items()})

    assert names <= {f"TRUESTOCK_{name}".upper() for name in Settings.model_fields} | {"DATABASE_URL"}
    assert settings.require_tests


def test_a_pod_gets_the_time_that_a_service_takes_to_stop() -> None:
    pod = manifest("deployment.yaml")["spec"]["template"]["spec"]
    drain = float(manifest("settings.yaml")["data"]["TRUESTOCK_DRAIN_SECONDS"])
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert pod["terminationGracePeriodSeconds"] > pause + drain + EXIT_SECONDS


def test_ports_are_those_of_the_image() -> None:
    image = (REPOSITORY / "deploy" / "Dockerfile").read_text()
    ports = {Address.parse(found).port for found in re.findall(r"TRUESTOCK_(?:METRICS_)?ADDRESS=(\S+)", image)}
    container = manifest("deployment.yaml")["spec"]["template"]["spec"]["containers"][0]

    assert ports == {port["containerPort"] for port in container["ports"]}
    assert ports == {port["port"] for port in manifest("service.yaml")["spec"]["ports"]}
    allowed = {port["port"] for rule in manifest("network-policy.yaml")["spec"]["ingress"] for port in rule["ports"]}
    assert ports == allowed
    assert container["readinessProbe"]["grpc"]["port"] in ports


def test_the_rules_of_this_repository_can_be_a_configmap(tmp_path: Path) -> None:
    files = [path for path in (REPOSITORY / "rules").rglob("*") if path.suffix in {".yaml", ".csv"}]
    flat = tmp_path / "rules"
    flat.mkdir()
    for path in files:
        (flat / path.name).write_bytes(path.read_bytes())

    reading = read(read_folder(flat).files)
    assert len(list(flat.iterdir())) == len(files)
    assert not reading.problems
    assert sum(path.stat().st_size for path in files) < 1 << 20
