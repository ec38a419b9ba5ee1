"""The files for a database that outlives its machines say nothing that Patroni or the service would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from service.settings import Settings, database_hosts
from tests.patroni_cluster import FILES, NODES, settings_in


def test_services_name_every_node_and_ask_for_the_one_that_takes_writes() -> None:
    url = settings_in(FILES / "truestock.env")["DATABASE_URL"]

    assert Settings(database_url=url).database_url == url
    assert database_hosts(url) == [(name, 5432) for name in NODES]
    assert "target_session_attrs=read-write" in url


def test_a_managed_database_is_verified_by_its_name_and_asked_for_the_primary(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    url = settings_in(FILES / "managed.env")["DATABASE_URL"].replace("/etc/truestock/ca.pem", str(authority))

    assert Settings(database_url=url).database_url == url
    assert "sslmode=verify-full" in url
    assert "target_session_attrs=read-write" in url


@pytest.mark.parametrize("name", ["synchronous_mode", "synchronous_mode_strict"])
def test_a_commit_is_confirmed_only_by_two_nodes(name: str) -> None:
    assert yaml.safe_load((FILES / "patroni.yml").read_text())["bootstrap"]["dcs"][name] is True


def test_a_primary_has_time_to_renew_its_key_twice_before_another_one_takes_it() -> None:
    times = yaml.safe_load((FILES / "patroni.yml").read_text())["bootstrap"]["dcs"]

    assert times["ttl"] >= times["loop_wait"] + 2 * times["retry_timeout"]
