"""However rules are saved, they are in force within two seconds; what is bad or half there never is."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from watchfiles import awatch

from service.policy import folder_watcher
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import Retailer
from truestock.v1 import policy_service_pb2 as policy_pb

STOCK = 10


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PLAIN_RULES, tmp_path / "rules"))


class Shop:
    """A service that watches a folder, with ten mugs; how many it sells says which rules are in force."""

    def __init__(self, retailer: Retailer, rules: Path) -> None:
        self.retailer = retailer
        self.rules = rules
        self.file = rules / "buffer.yaml"

    async def sells(self, units: int) -> None:
        """Waits until so many can be sold; fails after two seconds."""
        await within_two_seconds(lambda: self._sells(units))

    async def is_refused(self, *, refused: bool = True) -> policy_pb.GetPolicySetResponse:
        """Waits until the folder is refused, or is not any more; answers what is told of it."""
        await within_two_seconds(lambda: self._is_refused(refused))
        return await self._policies()

    async def _sells(self, units: int) -> bool:
        return await self.retailer.sellable("MUG") == units

    async def _is_refused(self, refused: bool) -> bool:
        return bool((await self._policies()).problems) is refused

    async def _policies(self) -> policy_pb.GetPolicySetResponse:
        found: policy_pb.GetPolicySetResponse = await self.retailer.policies.GetPolicySet(
            policy_pb.GetPolicySetRequest()
        )
        return found


@pytest.fixture
async def shop(retailers: RetailerMaker, rules: Path) -> Shop:
    retailer = await retailers.make(rules)
    await retailer.stock({("MUG", "dc"): STOCK})
    return Shop(retailer, rules)


async def test_editors_that_replace_a_file_are_followed(shop: Shop) -> None:
    """Writing beside and renaming, as most editors do; moving to a backup and writing anew, as vim may."""
    for held in (1, 2):
        beside = shop.rules / ".buffer.yaml.swp"
        beside.write_text(buffer(held))
        beside.rename(shop.file)
        await shop.sells(STOCK - held)

    shop.file.rename(shop.rules / "buffer.yaml~")
    (shop.rules / "4913").touch()
    shop.file.write_text(buffer(3))
    (shop.rules / "buffer.yaml~").unlink()
    (shop.rules / "4913").unlink()

    await shop.sells(STOCK - 3)


async def test_a_new_folder_and_a_file_that_goes_are_noticed(shop: Shop) -> None:
    (shop.rules / "buffers/stores").mkdir(parents=True)
    deep = shop.rules / "buffers/stores/all.yaml"
    deep.write_text(buffer(4))
    await shop.sells(STOCK - 4)
    deep.write_text(buffer(5))
    await shop.sells(STOCK - 5)

    shutil.rmtree(shop.rules / "buffers")

    await shop.sells(STOCK)


async def test_a_half_written_file_is_refused_and_the_next_save_accepted(shop: Shop) -> None:
    shop.file.write_text(buffer(2))
    await shop.sells(STOCK - 2)

    shop.file.write_text(buffer(3)[:-12])
    found = await shop.is_refused()
    assert [problem.file for problem in found.problems] == ["rules/buffer.yaml"]
    assert await shop.retailer.sellable("MUG") == STOCK - 2

    shop.file.write_text(buffer(3))
    await shop.sells(STOCK - 3)
    await shop.is_refused(refused=False)


async def test_a_file_that_is_still_being_written_is_not_taken(shop: Shop) -> None:
    """Every part of it would be good rules, and wrong ones."""
    lines = buffer(1) + "".join(f"  - {{name: keep-{units}, hold_back: {{units: {units}}}}}\n" for units in range(2, 6))
    seen = []
    with shop.file.open("w", buffering=1) as file:
        for line in lines.splitlines(keepends=True):
            file.write(line)
            await asyncio.sleep(0.06)
            seen.append(await shop.retailer.sellable("MUG"))

    await shop.sells(STOCK - 5)
    assert set(seen) == {STOCK}


async def test_a_config_map_of_kubernetes_is_followed_through_its_swaps(
    retailers: RetailerMaker, tmp_path: Path
) -> None:
    """Links to `..data`, which is a link that is replaced, files and subfolders alike."""
    rules = tmp_path / "rules"
    rules.mkdir()
    publish(rules, 1)
    for name in ("plain.yaml", "buffers"):
        (rules / name).symlink_to(f"..data/{name}")
    retailer = await retailers.make(rules)
    await retailer.stock({("MUG", "dc"): STOCK})
    shop = Shop(retailer, rules)
    await shop.sells(STOCK - 1)

    for held in (2, 3):
        publish(rules, held)
        await shop.sells(STOCK - held)

    assert retailer.metric("policy_reloads_total", result="refused") == 0


async def test_a_folder_that_is_removed_and_made_again_is_found_again(shop: Shop) -> None:
    shop.file.write_text(buffer(2))
    await shop.sells(STOCK - 2)

    shop.rules.rename(shop.rules.parent / "gone")
    found = await shop.is_refused()
    assert "the rules folder cannot be read" in found.problems[0].message
    assert await shop.retailer.sellable("MUG") == STOCK - 2

    shutil.copytree(PLAIN_RULES, shop.rules)
    await shop.sells(STOCK)
    shop.file.write_text(buffer(3))
    await shop.sells(STOCK - 3)


async def test_a_folder_that_another_takes_the_place_of_is_followed(shop: Shop) -> None:
    other = Path(shutil.copytree(PLAIN_RULES, shop.rules.parent / "other"))
    (other / "buffer.yaml").write_text(buffer(2))
    shop.rules.rename(shop.rules.parent / "before")
    shutil.move(other, shop.rules)
    await shop.sells(STOCK - 2)

    shop.file.write_text(buffer(3))

    await shop.sells(STOCK - 3)


async def test_a_link_that_leads_nowhere_is_told_and_takes_no_rule_away(shop: Shop) -> None:
    shop.file.write_text(buffer(2))
    await shop.sells(STOCK - 2)

    shop.file.unlink()
    shop.file.symlink_to("gone.yaml")
    found = await shop.is_refused()

    assert [(problem.file, problem.code) for problem in found.problems] == [("rules/buffer.yaml", "not-readable")]
    assert await shop.retailer.sellable("MUG") == STOCK - 2
    assert shop.retailer.metric("policy_problems") == 1


async def test_without_a_watch_rules_are_still_in_force_within_two_seconds(
    retailers: RetailerMaker, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that has no more watches to give, as a crowded machine may be."""

    def broken(*_: object, **__: object) -> None:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr(folder_watcher, "awatch", broken)
    retailer = await retailers.make(rules)
    await retailer.stock({("MUG", "dc"): STOCK})
    shop = Shop(retailer, rules)

    for held in (1, 2):
        shop.file.write_text(buffer(held))
        await shop.sells(STOCK - held)


async def test_a_watch_that_breaks_is_begun_again(
    retailers: RetailerMaker, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []

    def fragile(*paths: Path, **options: Any) -> AsyncIterator[object]:
        begun.append(paths)
        if len(begun) == 1:
            raise RuntimeError("watch thread unexpectedly received a signal")
        return awatch(*paths, **options)

    monkeypatch.setattr(folder_watcher, "awatch", fragile)
    retailer = await retailers.make(rules)
    await retailer.stock({("MUG", "dc"): STOCK})
    shop = Shop(retailer, rules)
    shop.file.write_text(buffer(2))

    await shop.sells(STOCK - 2)
    await within_two_seconds(lambda: asyncio.sleep(0, len(begun) > 1))


async def test_a_save_that_changes_no_rule_changes_nothing(shop: Shop) -> None:
    before = (await shop._policies()).load_time
    (shop.rules / "plain_test.yaml").write_text("suite: Not finished\n")
    os.utime(shop.rules / "plain.yaml")

    await within_two_seconds(
        lambda: asyncio.sleep(0, shop.retailer.metric("policy_reloads_total", result="unchanged") == 1)
    )

    assert (await shop._policies()).load_time == before


async def test_rules_of_a_time_when_the_database_was_away_are_kept_later(shop: Shop) -> None:
    """What decided an order stays readable: the watch goes on until the rules are stored."""
    await shop.retailer.sql("ALTER TABLE policy_set RENAME TO policy_set_away")
    shop.file.write_text(buffer(2))
    await shop.sells(STOCK - 2)
    await asyncio.sleep(0.2)
    await shop.retailer.sql("ALTER TABLE policy_set_away RENAME TO policy_set")

    async def is_kept() -> bool:
        return len(await shop.retailer.sql("SELECT DISTINCT revision FROM policy_set")) == 2

    await within_two_seconds(is_kept)
    shop.file.write_text(buffer(3))
    await shop.sells(STOCK - 3)


def buffer(units: int) -> str:
    rule = f"{{name: keep-{units}, hold_back: {{units: {units}}}}}"
    return f"kind: buffer\nname: all\nscope: location\nrules:\n  - {rule}\n"


def publish(folder: Path, held: int) -> None:
    """What a kubelet does with a new version of a ConfigMap: a folder beside, a link beside, a rename, a removal."""
    version = folder / f"..2026_11_27_09_00_0{held}.{time.time_ns()}"
    (version / "buffers").mkdir(parents=True)
    shutil.copy(PLAIN_RULES / "plain.yaml", version)
    (version / "buffers/all.yaml").write_text(buffer(held))
    before = (folder / "..data").resolve()
    (folder / "..data_tmp").symlink_to(version.name)
    (folder / "..data_tmp").rename(folder / "..data")
    if before != folder / "..data":
        shutil.rmtree(before)


async def within_two_seconds(happened: Callable[[], Awaitable[bool]]) -> None:
    """Asks again and again, as an outsider has to."""
    async with asyncio.timeout(2):
        while not await happened():  # noqa: ASYNC110 - the service is asked from outside
            await asyncio.sleep(0.03)
