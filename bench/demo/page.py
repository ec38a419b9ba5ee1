"""What the demo prints: titles, sentences, and tables of where the units are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from bench.demo.unit_groups import MAY_SELL, in_order
from service.cli.console import add_row, new_table


@dataclass(frozen=True, slots=True)
class DemoPage:
    """Prints to a console. What was measured shows on a terminal only, so that a file is the same for the same seed."""

    console: Console

    def title(self, text: str) -> None:
        """The heading of a step."""
        self.console.print(f"\n[bold cyan]{text}[/]")

    def say(self, text: str) -> None:
        """Sentences with rich's markup."""
        self.line(Text.from_markup(text))

    def line(self, text: Text) -> None:
        """Indented text."""
        self.show(Padding(text, (0, 0, 0, 2), expand=False))

    def show(self, renderable: RenderableType) -> None:
        """A table, or anything else that rich can show."""
        self.console.print(renderable)

    def measured(self, text: str) -> str:
        """The text on a terminal, and nothing in a file."""
        return text if self.console.is_terminal else ""

    def groups(self, moments: Mapping[str, Mapping[str, int]]) -> None:
        """Where every unit is at each of the moments, with the sum of each."""
        table = new_table("where the units are", *moments, numbers=tuple(moments))
        for name in in_order(name for groups in moments.values() for name in groups):
            is_published = name == MAY_SELL
            label = Text(f"TikTok {name}" if is_published else name, style="bold" if is_published else "")
            add_row(table, label, *(f"{groups.get(name, 0):,}" for groups in moments.values()))
        totals = (Text(f"{sum(groups.values()):,}", style="bold") for groups in moments.values())
        add_row(table, Text("total on hand", style="bold"), *totals)
        self.show(table)
