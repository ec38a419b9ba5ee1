"""What the Grafana dashboards show: their panels, and what each asks Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SHARE, PER_SECOND, SECONDS, COUNT = "percentunit", "ops", "s", "short"
"""Units, as Grafana names them."""
CHANNEL, LOCATION, INSTANCE = 'channel=~"$channel"', 'location=~"$location"', 'instance=~"$instance"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: what it asks, a description for whoever does not know the metric, and a legend for each expression."""

    title: str
    unit: str
    description: str
    queries: Mapping[str, str]
    """Legends by expression."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading; three stand side by side."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard, and the labels that whoever looks at it can choose: a variable for each, from a metric with it."""

    uid: str
    title: str
    description: str
    chosen: Mapping[str, str]
    has_windows: bool
    rows: tuple[Row, ...]


def _increase(metric: str, by: str, where: str) -> str:
    return f"sum by ({by}) (increase(truestock_{metric}_total{{{where}}}[$__rate_interval]))"


def _quantile(quantile: float, metric: str, by: str, where: str = "") -> str:
    rates = f"sum by (le, {by}) (rate(truestock_{metric}_bucket{{{where}}}[$__rate_interval]))"
    return f"histogram_quantile({quantile}, {rates})"


def _recorded(title: str, rate: str, where: str, legend: str, description: str) -> Panel:
    return Panel(title, SHARE, description, {f"{rate}:ratio_$window{{{where}}}": legend})


_RATES = Row(
    "The six rates",
    (
        _recorded(
            "Oversold units of sold units",
            "channel:truestock_oversell_units",
            CHANNEL,
            "{{channel}}",
            "Units that were sold and are in no location that the order may use.",
        ),
        _recorded(
            "Cancelled units of sold units",
            "channel:truestock_cancellation_units",
            CHANNEL,
            "{{channel}}",
            "Whoever was at fault; the panels below show the faults.",
        ),
        _recorded(
            "Orders cancelled by the seller's fault",
            "channel:truestock_seller_cancellation_orders",
            CHANNEL,
            "{{channel}}",
            "The rate for which channels punish a seller, of sold orders.",
        ),
        _recorded(
            "Exceptions for each sold order",
            "channel:truestock_exception_orders",
            CHANNEL,
            "{{channel}}",
            "An order can have several, so this can exceed 100 %.",
        ),
        _recorded(
            "Orders that needed a person",
            "channel:truestock_manual_intervention_orders",
            CHANNEL,
            "{{channel}}",
            "Sold orders on which somebody acted or has to; not those that rules resolved.",
        ),
        _recorded(
            "Counts that differed",
            "location:truestock_inventory_mismatch",
            LOCATION,
            "{{location}}",
            "Counts that were only compared with on hand, and differed by more than the feed's tolerance.",
        ),
        _recorded(
            "Late shipments of those due, by location",
            "location:truestock_late_shipment",
            LOCATION,
            "{{location}}",
            "Late once the time to ship by has passed, whether or not the shipment has left since.",
        ),
        Panel(
            "Late shipments of those due, by channel",
            SHARE,
            "The same for each channel, over the range of the dashboard.",
            {
                f'sum by (channel) (increase(truestock_channel_shipments_due_total{{{CHANNEL},deadline="ship_by",'
                'result="late"}[$__range])) / (sum by (channel) (increase(truestock_channel_shipments_due_total{'
                f'{CHANNEL},deadline="ship_by"}}[$__range])) > 0)': "{{channel}}"
            },
        ),
    ),
)

OPERATIONS = Board(
    uid="truestock-operations",
    title="Truestock operations",
    description="Whether each channel and location keeps what it sells: the six rates, and what stands behind them.",
    chosen={"channel": "truestock_sold_units_total", "location": "truestock_inventory_comparisons_total"},
    has_windows=True,
    rows=(
        _RATES,
        Row(
            "Oversells and buffers",
            (
                Panel(
                    "Oversold units by cause",
                    COUNT,
                    "The README lists the causes; each unit counts once.",
                    {_increase("oversold_units", "channel, cause", CHANNEL): "{{channel}} {{cause}}"},
                ),
                Panel(
                    "Units that only a buffer could supply",
                    COUNT,
                    "Sold units that buffers had kept in stock, and units in stock that a buffer or a block kept back.",
                    {
                        _increase("buffer_saved_units", "channel", CHANNEL): "{{channel}} saved",
                        _increase("withheld_units", "channel, cause", CHANNEL): "{{channel}} {{cause}}",
                    },
                ),
                Panel(
                    "Units that shoppers did not get",
                    COUNT,
                    "Of holds that were refused, and unmet demand from elsewhere, by cause.",
                    {_increase("unmet_demand_units", "channel, cause", CHANNEL): "{{channel}} {{cause}}"},
                ),
            ),
        ),
        Row(
            "Cancellations and exceptions",
            (
                Panel(
                    "Cancelled orders by fault",
                    COUNT,
                    "Each order once, by the fault of its first cancelled units.",
                    {_increase("cancelled_orders", "channel, fault", CHANNEL): "{{channel}} {{fault}}"},
                ),
                Panel(
                    "Exceptions raised by kind",
                    COUNT,
                    "Those that concern no channel are not in here.",
                    {_increase("exceptions", "kind", CHANNEL): "{{kind}}"},
                ),
                Panel(
                    "Open exceptions by owner",
                    COUNT,
                    "As of now.",
                    {"sum by (kind, owner) (truestock_exceptions_open)": "{{owner}}: {{kind}}"},
                ),
                Panel(
                    "Exceptions that became overdue",
                    COUNT,
                    "Escalated to their next owner.",
                    {_increase("exceptions_escalated", "owner", ""): "to {{owner}}"},
                ),
                Panel(
                    "Exceptions resolved",
                    COUNT,
                    "By how they were resolved, by a person or by a rule.",
                    {_increase("exceptions_resolved", "resolution", ""): "{{resolution}}"},
                ),
                Panel(
                    "Orders that needed a person, by reason",
                    COUNT,
                    "Each order once, by its first reason.",
                    {_increase("manual_interventions", "channel, reason", CHANNEL): "{{channel}} {{reason}}"},
                ),
            ),
        ),
        Row(
            "Locations",
            (
                Panel(
                    "Shipments due, by result",
                    COUNT,
                    "In time or late, by the time to ship by and by the day of delivery.",
                    {
                        _increase("shipments_due", "deadline, result", LOCATION): "{{deadline}} {{result}}",
                    },
                ),
                Panel(
                    "Time until shipped",
                    SECONDS,
                    "From assignment until shipped or ready for pickup; half and 95 % of shipments.",
                    {
                        _quantile(0.5, "shipment_ship_seconds", "location", LOCATION): "{{location}} half",
                        _quantile(0.95, "shipment_ship_seconds", "location", LOCATION): "{{location}} 95 %",
                    },
                ),
                Panel(
                    "Time until accepted",
                    SECONDS,
                    "From assignment until the location accepted; half and 95 % of shipments.",
                    {
                        _quantile(0.5, "shipment_accept_seconds", "location", LOCATION): "{{location}} half",
                        _quantile(0.95, "shipment_accept_seconds", "location", LOCATION): "{{location}} 95 %",
                    },
                ),
                Panel(
                    "Units by which counts differed",
                    COUNT,
                    "Without sign, of counts that were only compared.",
                    {_increase("inventory_mismatch_units", "location", LOCATION): "{{location}}"},
                ),
                Panel(
                    "Units rerouted, by cause",
                    COUNT,
                    "Sold units that another location took over.",
                    {_increase("rerouted_units", "channel, cause", CHANNEL): "{{channel}} {{cause}}"},
                ),
                Panel(
                    "Units allocated",
                    COUNT,
                    "To which location each channel's orders go.",
                    {_increase("allocated_units", "location", f"{CHANNEL},{LOCATION}"): "{{location}}"},
                ),
            ),
        ),
    ),
)


def _rate(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate(truestock_{metric}{{{where}}}[$__rate_interval]))"


def _mean(metric: str) -> str:
    return f"{_rate(f'{metric}_sum', 'instance')} / ({_rate(f'{metric}_count', 'instance')} > 0)"


SERVICE = Board(
    uid="truestock-service",
    title="Truestock service",
    description="Whether the service answers: rate, errors and duration of calls, and what they wait for.",
    chosen={"instance": "truestock_policy_info"},
    has_windows=False,
    rows=(
        Row(
            "Calls",
            (
                Panel(
                    "Calls",
                    PER_SECOND,
                    "Calls that ended, by method; a stream counts when it ends.",
                    {_rate("rpc_duration_seconds_count", "method", INSTANCE): "{{method}}"},
                ),
                Panel(
                    "Calls that failed",
                    PER_SECOND,
                    "Also those that refuse bad input (INVALID_ARGUMENT) or name what is not there (NOT_FOUND).",
                    {
                        _rate(
                            "rpc_duration_seconds_count", "method, code", f'{INSTANCE},code!="OK"'
                        ): "{{method}} {{code}}"
                    },
                ),
                Panel(
                    "Duration of calls",
                    SECONDS,
                    "95 % of calls of each method were answered within this; of all calls half, and 99 %.",
                    {
                        _quantile(0.95, "rpc_duration_seconds", "method", INSTANCE): "{{method}} 95 %",
                        _quantile(0.5, "rpc_duration_seconds", "instance", INSTANCE): "{{instance}} half",
                        _quantile(0.99, "rpc_duration_seconds", "instance", INSTANCE): "{{instance}} 99 %",
                    },
                ),
            ),
        ),
        Row(
            "Saturation and shedding",
            (
                Panel(
                    "Event loop delay",
                    SECONDS,
                    "How much later than due a timer ran: what everything waits for what computes.",
                    {
                        _quantile(0.5, "event_loop_delay_seconds", "instance", INSTANCE): "{{instance}} half",
                        _quantile(0.99, "event_loop_delay_seconds", "instance", INSTANCE): "{{instance}} 99 %",
                    },
                ),
                Panel(
                    "Orders waiting",
                    COUNT,
                    "Queued or being allocated.",
                    {f"sum by (instance) (truestock_allocator_queued_orders{{{INSTANCE}}})": "{{instance}}"},
                ),
                Panel(
                    "Refused because of load",
                    PER_SECOND,
                    "Orders that the queue had no room or no time for, and calls that only read.",
                    {
                        _rate("allocator_shed_orders_total", "instance", INSTANCE): "{{instance}} orders",
                        f"{_rate('shed_calls_total', 'method', INSTANCE)} or vector(0)": "calls {{method}}",
                    },
                ),
                Panel(
                    "Orders in a transaction",
                    COUNT,
                    "Mean; it grows with load.",
                    {_mean("allocator_batch_orders"): "{{instance}}"},
                ),
                Panel(
                    "Calls answered from one read of stock",
                    COUNT,
                    "Mean of CheckAvailability; it grows with load.",
                    {_mean("availability_batch_calls"): "{{instance}}"},
                ),
                Panel(
                    "Watches",
                    COUNT,
                    "Open WatchAvailability and WatchOrders calls.",
                    {
                        f"sum by (instance) (truestock_availability_watchers{{{INSTANCE}}})": "{{instance}} stock",
                        f"sum by (instance) (truestock_order_watchers{{{INSTANCE}}})": "{{instance}} orders",
                    },
                ),
            ),
        ),
        Row(
            "Database",
            (
                Panel(
                    "Operations",
                    PER_SECOND,
                    "Transactions and reads, by operation.",
                    {_rate("database_seconds_count", "operation", INSTANCE): "{{operation}}"},
                ),
                Panel(
                    "Time with a connection",
                    SECONDS,
                    "95 % of operations used their connection no longer than this.",
                    {_quantile(0.95, "database_seconds", "operation", INSTANCE): "{{operation}}"},
                ),
                Panel(
                    "Retried transactions",
                    PER_SECOND,
                    "Two transactions met, or the connection was lost.",
                    {f"{_rate('database_retries_total', 'operation', INSTANCE)} or vector(0)": "{{operation}}"},
                ),
            ),
        ),
        Row(
            "Rules and ledger",
            (
                Panel(
                    "Rules in force",
                    COUNT,
                    "One line for each revision and service: more than one revision for long is a service that lags.",
                    {f"truestock_policy_info{{{INSTANCE}}}": "{{instance}} {{revision}}"},
                ),
                Panel(
                    "Problems in rules",
                    COUNT,
                    "Problems refuse the folder; the rules before it stay in force.",
                    {
                        f"max(truestock_policy_problems{{{INSTANCE}}})": "problems",
                        f"max(truestock_policy_warnings{{{INSTANCE}}})": "names not in the catalog",
                        f"max(truestock_policy_failed_tests{{{INSTANCE}}})": "failed tests",
                    },
                ),
                Panel(
                    "Differences in the ledger",
                    COUNT,
                    "What the last check found, and the hours since then.",
                    {
                        "max(truestock_ledger_differences)": "differences",
                        "(time() - max(truestock_ledger_verified_timestamp_seconds)) / 3600": "hours since the check",
                    },
                ),
            ),
        ),
    ),
)
