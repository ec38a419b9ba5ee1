"""Writes or checks the Grafana dashboards in deploy/grafana/dashboards/.

`python -m tools.dashboards generate` writes them; `check` fails if they differ from the code. What their panels show
is in `tools.operations_dashboard` and `tools.service_dashboard`; a test evaluates every expression with a real
Prometheus.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableOption,
    VariableRefresh,
)

from tools.dashboard_panels import Board, Panel
from tools.operations_dashboard import OPERATIONS
from tools.service_dashboard import SERVICE

FOLDER = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
PANEL_HEIGHT = 8
WINDOWS = ("5m", "1h", "1d", "30d")
"""Windows of the recorded rates."""


BOARDS = {"operations.json": OPERATIONS, "service.json": SERVICE}


def main() -> str | None:
    """Runs the action on the command line; returns an error message, or None."""
    actions = {"generate": generate, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        return f"usage: python -m tools.dashboards {'|'.join(actions)}"
    return actions[sys.argv[1]]()


def generate() -> None:
    """Writes every dashboard."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, board in BOARDS.items():
        (FOLDER / name).write_text(dashboard_json(board), encoding="utf-8")


def check() -> str | None:
    """Compares the files with what `generate` would write."""
    present = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    expected = {name: dashboard_json(board) for name, board in BOARDS.items()}
    stale = sorted(name for name in present.keys() | expected.keys() if present.get(name) != expected.get(name))
    return f"Dashboards differ from the code: {', '.join(stale)}. Run make dashboards." if stale else None


def dashboard_json(board: Board) -> str:
    """The file that Grafana reads."""
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["truestock"])
        .refresh("30s")
        .time("now-24h" if board.has_windows else "now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    if board.has_windows:
        builder.with_variable(_window_variable())
    for label, metric in board.chosen.items():
        builder.with_variable(_label_variable(label, metric))
    for row in board.rows:
        builder.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            builder.with_panel(_plot(panel))
    return JSONEncoder(sort_keys=True, indent=1).encode(builder.build()) + "\n"


def _window_variable() -> dashboard.CustomVariable:
    options = [VariableOption(text=window, value=window, selected=window == "1h") for window in WINDOWS]
    return (
        dashboard.CustomVariable("window")
        .label("Window of the rates")
        .values(",".join(WINDOWS))
        .options(options)
        .current(options[1])
    )


def _label_variable(label: str, metric: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(label)
        .label(label.capitalize())
        .datasource(SOURCE)
        .query(f"label_values({metric}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(VariableOption(text="All", value="$__all", selected=True))
    )


def _plot(panel: Panel) -> timeseries.Panel:
    plot = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .min(0)
        .fill_opacity(10)
        .height(PANEL_HEIGHT)
        .span(8)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
        )
    )
    for number, (query, legend) in enumerate(panel.queries.items()):
        target = prometheus.Dataquery().datasource(SOURCE).expr(query).legend_format(legend).ref_id(chr(65 + number))
        plot.with_target(target)
    return plot


if __name__ == "__main__":
    sys.exit(main())
