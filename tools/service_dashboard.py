"""The dashboard of the service: calls, errors and durations, what they wait for, and the state of rules and ledger."""

from __future__ import annotations

from tools.dashboard_panels import COUNT, INSTANCE, PER_SECOND, SECONDS, Board, Panel, Row, mean, quantile, rate

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
                    {rate("rpc_duration_seconds_count", "method", INSTANCE): "{{method}}"},
                ),
                Panel(
                    "Calls that failed",
                    PER_SECOND,
                    "Also those that refuse bad input (INVALID_ARGUMENT) or name what is not there (NOT_FOUND).",
                    {
                        rate(
                            "rpc_duration_seconds_count", "method, code", f'{INSTANCE},code!="OK"'
                        ): "{{method}} {{code}}"
                    },
                ),
                Panel(
                    "Duration of calls",
                    SECONDS,
                    "95 % of calls of each method were answered within this; of all calls half, and 99 %.",
                    {
                        quantile(0.95, "rpc_duration_seconds", "method", INSTANCE): "{{method}} 95 %",
                        quantile(0.5, "rpc_duration_seconds", "instance", INSTANCE): "{{instance}} half",
                        quantile(0.99, "rpc_duration_seconds", "instance", INSTANCE): "{{instance}} 99 %",
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
                        quantile(0.5, "event_loop_delay_seconds", "instance", INSTANCE): "{{instance}} half",
                        quantile(0.99, "event_loop_delay_seconds", "instance", INSTANCE): "{{instance}} 99 %",
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
                        rate("allocator_shed_orders_total", "instance", INSTANCE): "{{instance}} orders",
                        f"{rate('shed_calls_total', 'method', INSTANCE)} or vector(0)": "calls {{method}}",
                    },
                ),
                Panel(
                    "Orders in a transaction",
                    COUNT,
                    "Mean; it grows with load.",
                    {mean("allocator_batch_orders"): "{{instance}}"},
                ),
                Panel(
                    "Calls answered from one read of stock",
                    COUNT,
                    "Mean of CheckAvailability; it grows with load.",
                    {mean("availability_batch_calls"): "{{instance}}"},
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
                    {rate("database_seconds_count", "operation", INSTANCE): "{{operation}}"},
                ),
                Panel(
                    "Time with a connection",
                    SECONDS,
                    "95 % of operations used their connection no longer than this.",
                    {quantile(0.95, "database_seconds", "operation", INSTANCE): "{{operation}}"},
                ),
                Panel(
                    "Retried transactions",
                    PER_SECOND,
                    "Two transactions met, or the connection was lost.",
                    {f"{rate('database_retries_total', 'operation', INSTANCE)} or vector(0)": "{{operation}}"},
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
