"""Rules whose folder is swapped by a link, as ConfigMaps and git-sync do: they reload once, whole, never half."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from service.app.application import running
from tests.conftest import PLAIN_RULES, service_settings
from tests.retailer import Retailer, eventually

STOCK = 1_000
HELD_BACK = """
kind: buffer
name: {name}
scope: {scope}
rules:
  - name: {name}
    when: {{channel.id: web}}
    hold_back: {{units: {units}}}
"""


def write_rules(folder: Path, units: int) -> None:
    """Rules in two files that hold back `units` each, so half of a change shows as an odd part of the sum."""
    (folder / "buffers").mkdir(parents=True)
    (folder / "routing.yaml").write_text((PLAIN_RULES / "plain.yaml").read_text())
    (folder / "a.yaml").write_text(HELD_BACK.format(name="a", scope="location", units=units))
    (folder / "buffers" / "z.yaml").write_text(HELD_BACK.format(name="z", scope="channel", units=units))


class ConfigMap:
    """A mounted ConfigMap: links to what `..data` links to, which the kubelet replaces in one step."""

    def __init__(self, root: Path) -> None:
        self.rules = root / "rules"
        self.rules.mkdir()
        self._count = 0
        self.swap(1)
        for name in ("routing.yaml", "a.yaml", "buffers"):
            (self.rules / name).symlink_to(f"..data/{name}")

    def swap(self, units: int) -> None:
        self._count += 1
        write_rules(self.rules / f"..2026_11_27_{self._count}", units)
        (self.rules / "..data_tmp").symlink_to(f"..2026_11_27_{self._count}")
        (self.rules / "..data_tmp").rename(self.rules / "..data")


class GitSync:
    """A folder of git-sync: the link `current` leads to the worktree of a commit."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.rules = root / "current" / "rules"
        self._count = 0
        self.swap(1)

    def swap(self, units: int) -> None:
        self._count += 1
        write_rules(self._root / ".worktrees" / f"{self._count:040x}" / "rules", units)
        (self._root / "next").symlink_to(f".worktrees/{self._count:040x}")
        (self._root / "next").rename(self._root / "current")


Folder = ConfigMap | GitSync


async def watch_swaps(database_url: str, folder: Folder, swaps: int) -> tuple[list[int], float]:
    """The figures that a caller saw while rules were swapped, without repetition, and how often rules were loaded."""
    seen: list[int] = []
    stop = asyncio.Event()
    async with (
        running(service_settings(database_url, folder.rules)) as service,
        Retailer.connect(service, database_url) as shop,
    ):
        await shop.set_up()
        await shop.stock({("MUG", "dc"): STOCK})

        async def look() -> None:
            while not stop.is_set():
                figure = await shop.sellable("MUG")
                if figure not in seen[-1:]:
                    seen.append(figure)

        def sees(figure: int) -> Callable[[], Awaitable[bool]]:
            async def seen_now() -> bool:
                return seen[-1:] == [figure]

            return seen_now

        looking = asyncio.create_task(look())
        loads = shop.metric("policy_reloads_total", result="accepted")
        for units in range(2, 2 + swaps):
            folder.swap(units)
            await eventually(sees(STOCK - 2 * units))
        stop.set()
        await looking
        return seen, shop.metric("policy_reloads_total", result="accepted") - loads


@pytest.mark.parametrize("kind", [ConfigMap, GitSync])
async def test_a_swapped_link_reloads_the_rules_once_and_whole(
    database_url: str, tmp_path: Path, kind: type[Folder]
) -> None:
    seen, loads = await watch_swaps(database_url, kind(tmp_path), 1)

    assert seen == [STOCK - 2, STOCK - 4]
    assert loads == 1


@pytest.mark.long
@pytest.mark.parametrize("kind", [ConfigMap, GitSync])
async def test_many_swaps_of_a_link_are_as_many_reloads_and_none_is_half(
    database_url: str, tmp_path: Path, kind: type[Folder]
) -> None:
    seen, loads = await watch_swaps(database_url, kind(tmp_path), 20)

    assert seen == [STOCK - 2 * units for units in range(1, 22)]
    assert loads == 20
