"""Saved rules are in force within two seconds, however they are saved; broken or incomplete ones never are."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from watchfiles import awatch

from service.policy import folder_watcher
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import Retailer
from tests.waiting import within
from truestock.v1 import policy_service_pb2 as policy_pb

STOCK = 10


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PLAIN_RULES, tmp_path / "rules"))


class Shop:
    """A service that watches a folder, with ten mugs; the sellable count shows which rules are in force."""

    def __init__(self, retailer: Retailer, rules: Path) -> None:
        self.retailer = retailer
        self.rules = rules
        self.file = rules / "buffer.yaml"

    async def sells(self, units: int) -> None:
        """Waits until this many mugs are sellable; fails after two seconds of a quiet machine."""
        await within(lambda: self._sells(units), 2)

    async def is_refused(self, *, refused: bool = True) -> policy_pb.GetPolicySetResponse:
        """Waits until the folder has problems, or no longer has any; returns the policy set with its problems."""
        await within(lambda: self._is_refused(refused), 2)
        return await self._policy_set()

    async def _sells(self, units: int) -> bool:
        return await self.retailer.sellable("MUG") == units

    async def _is_refused(self, refused: bool) -> bool:
        return bool((await self._policy_set()).problems) is refused

    async def _policy_set(self) -> policy_pb.GetPolicySetResponse:
        policy_set: policy_pb.GetPolicySetResponse = await self.retailer.policies.GetPolicySet(
            policy_pb.GetPolicySetRequest()
        )
        return policy_set


@pytest.fixture
async def shop(retailers: RetailerMaker, rules: Path) -> Shop:
    retailer = await retailers.make(rules)
    await retailer.stock({("MUG", "dc"): STOCK})
    return Shop(retailer, rules)


async def test_rules_saved_by_editors_that_replace_the_file_are_loaded(shop: Shop) -> None:
    """Most editors write a temporary file and rename it; vim may move the old file to a backup and write a new one."""
    for units in (1, 2):
        temporary = shop.rules / ".buffer.yaml.swp"
        temporary.write_text(buffer(units))
        temporary.rename(shop.file)
        await shop.sells(STOCK - units)

    shop.file.rename(shop.rules / "buffer.yaml~")
    (shop.rules / "4913").touch()
    shop.file.write_text(buffer(3))
    (shop.rules / "buffer.yaml~").unlink()
    (shop.rules / "4913").unlink()

    await shop.sells(STOCK - 3)


async def test_new_folders_and_deleted_files_take_effect(shop: Shop) -> None:
    (shop.rules / "buffers/stores").mkdir(parents=True)
    rule_file = shop.rules / "buffers/stores/all.yaml"
    rule_file.write_text(buffer(4))
    await shop.sells(STOCK - 4)
    rule_file.write_text(buffer(5))
    await shop.sells(STOCK - 5)

    shutil.rmtree(shop.rules / "buffers")

    await shop.sells(STOCK)


async def test_a_half_written_file_is_refused_and_the_next_save_accepted(shop: Shop) -> None:
    shop.file.write_text(buffer(2))
    await shop.sells(STOCK - 2)

    shop.file.write_text(buffer(3)[:-12])
    policy_set = await shop.is_refused()
    assert [problem.file for problem in policy_set.problems] == ["rules/buffer.yaml"]
    assert await shop.retailer.sellable("MUG") == STOCK - 2

    shop.file.write_text(buffer(3))
    await shop.sells(STOCK - 3)
    await shop.is_refused(refused=False)


async def test_a_file_that_is_still_being_written_is_not_loaded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part of the file would be valid rules, but not those that the planner writes."""
    read = folder_watcher._read_folder
    two, three, four, five = (f"  - {{name: keep-{n}, hold_back: {{units: {n}}}}}\n" for n in range(2, 6))
    # The service reads a folder that goes on changing a few times, and then loads it as it is.
    parts = [two, three, four + five]

    async def read_while_it_is_written(*arguments: Any) -> Any:
        """Whenever the service has read the folder, another part is written, until all are."""
        folder = await read(*arguments)
        if shop.file.exists() and parts:
            with shop.file.open("a") as file:
                file.write(parts.pop(0))
        return folder

    monkeypatch.setattr(folder_watcher, "_read_folder", read_while_it_is_written)
    shop.file.write_text(buffer(1))

    await shop.sells(STOCK - 5)
    assert parts == []
    assert shop.retailer.metric("policy_reloads_total", result="accepted") == 2


async def test_new_versions_of_a_kubernetes_config_map_are_loaded(retailers: RetailerMaker, tmp_path: Path) -> None:
    """Files and subfolders are links into `..data`, a link that Kubernetes replaces."""
    rules = tmp_path / "rules"
    rules.mkdir()
    publish(rules, 1)
    for name in ("plain.yaml", "buffers"):
        (rules / name).symlink_to(f"..data/{name}")
    retailer = await retailers.make(rules)
    await retailer.stock({("MUG", "dc"): STOCK})
    shop = Shop(retailer, rules)
    await shop.sells(STOCK - 1)

    for units in (2, 3):
        publish(rules, units)
        await shop.sells(STOCK - units)

    assert retailer.metric("policy_reloads_total", result="refused") == 0


async def test_a_rules_folder_that_is_removed_and_created_again_is_loaded(shop: Shop) -> None:
    shop.file.write_text(buffer(2))
    await shop.sells(STOCK - 2)

    shop.rules.rename(shop.rules.parent / "removed")
    policy_set = await shop.is_refused()
    assert "the rules folder cannot be read" in policy_set.problems[0].message
    assert await shop.retailer.sellable("MUG") == STOCK - 2

    shutil.copytree(PLAIN_RULES, shop.rules)
    await shop.sells(STOCK)
    shop.file.write_text(buffer(3))
    await shop.sells(STOCK - 3)


async def test_a_rules_folder_that_is_replaced_by_another_is_loaded(shop: Shop) -> None:
    replacement = Path(shutil.copytree(PLAIN_RULES, shop.rules.parent / "replacement"))
    (replacement / "buffer.yaml").write_text(buffer(2))
    shop.rules.rename(shop.rules.parent / "before")
    shutil.move(replacement, shop.rules)
    await shop.sells(STOCK - 2)

    shop.file.write_text(buffer(3))

    await shop.sells(STOCK - 3)


async def test_a_broken_link_is_reported_and_the_last_good_rules_stay_in_force(shop: Shop) -> None:
    shop.file.write_text(buffer(2))
    await shop.sells(STOCK - 2)

    shop.file.unlink()
    shop.file.symlink_to("missing.yaml")
    policy_set = await shop.is_refused()

    assert [(problem.file, problem.code) for problem in policy_set.problems] == [("rules/buffer.yaml", "not-readable")]
    assert await shop.retailer.sellable("MUG") == STOCK - 2
    assert shop.retailer.metric("policy_problems") == 1


async def test_without_file_watches_rules_are_still_in_force_within_two_seconds(
    retailers: RetailerMaker, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operating system limits file watches; a busy machine may have none left."""

    def without_watches(*_: object, **__: object) -> None:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr(folder_watcher, "awatch", without_watches)
    retailer = await retailers.make(rules)
    await retailer.stock({("MUG", "dc"): STOCK})
    shop = Shop(retailer, rules)

    for units in (1, 2):
        shop.file.write_text(buffer(units))
        await shop.sells(STOCK - units)


async def test_a_file_watch_that_fails_is_started_again(
    retailers: RetailerMaker, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watches: list[object] = []

    def fails_once(*paths: Path, **options: Any) -> AsyncIterator[object]:
        watches.append(paths)
        if len(watches) == 1:
            raise RuntimeError("watch thread unexpectedly received a signal")
        return awatch(*paths, **options)

    monkeypatch.setattr(folder_watcher, "awatch", fails_once)
    retailer = await retailers.make(rules)
    await retailer.stock({("MUG", "dc"): STOCK})
    shop = Shop(retailer, rules)
    shop.file.write_text(buffer(2))

    await shop.sells(STOCK - 2)
    await within(lambda: asyncio.sleep(0, len(watches) > 1), 2)


async def test_a_save_that_changes_no_rule_reloads_nothing(shop: Shop) -> None:
    load_time_before = (await shop._policy_set()).load_time
    (shop.rules / "plain_test.yaml").write_text("suite: Not finished\n")
    os.utime(shop.rules / "plain.yaml")

    await within(lambda: asyncio.sleep(0, shop.retailer.metric("policy_reloads_total", result="unchanged") == 1), 2)

    assert (await shop._policy_set()).load_time == load_time_before


async def test_rules_loaded_during_a_database_failure_are_stored_later(shop: Shop) -> None:
    """Rules that decided an order stay readable: the service tries to store them until it succeeds."""
    await shop.retailer.sql("ALTER TABLE policy_set RENAME TO policy_set_away")
    shop.file.write_text(buffer(2))
    await shop.sells(STOCK - 2)
    await asyncio.sleep(0.2)
    await shop.retailer.sql("ALTER TABLE policy_set_away RENAME TO policy_set")

    async def is_stored() -> bool:
        return len(await shop.retailer.sql("SELECT DISTINCT revision FROM policy_set")) == 2

    await within(is_stored, 2)
    shop.file.write_text(buffer(3))
    await shop.sells(STOCK - 3)


def buffer(units: int) -> str:
    rule = f"{{name: keep-{units}, hold_back: {{units: {units}}}}}"
    return f"kind: buffer\nname: all\nscope: location\nrules:\n  - {rule}\n"


def publish(folder: Path, units: int) -> None:
    """Publishes a version of a ConfigMap as a kubelet does: new folder, new link renamed, old folder removed."""
    version = folder / f"..2026_11_27_09_00_0{units}.{time.time_ns()}"
    (version / "buffers").mkdir(parents=True)
    shutil.copy(PLAIN_RULES / "plain.yaml", version)
    (version / "buffers/all.yaml").write_text(buffer(units))
    old_version = (folder / "..data").resolve()
    (folder / "..data_tmp").symlink_to(version.name)
    (folder / "..data_tmp").rename(folder / "..data")
    if old_version != folder / "..data":
        shutil.rmtree(old_version)
