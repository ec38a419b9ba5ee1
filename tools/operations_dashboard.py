"""The dashboard of the business: the six rates by channel and location, and what stands behind them."""

from __future__ import annotations

from tools.dashboard_panels import (
    CHANNEL,
    COUNT,
    LOCATION,
    SECONDS,
    SHARE,
    Board,
    Panel,
    Row,
    increase,
    quantile,
    recorded,
)

_RATES = Row(
    "The six rates",
    (
        recorded(
            "Oversold units of sold units",
            "channel:truestock_oversell_units",
            CHANNEL,
            "{{channel}}",
            "Units that were sold and are in no location that the order may use.",
        ),
        recorded(
            "Cancelled units of sold units",
            "channel:truestock_cancellation_units",
            CHANNEL,
            "{{channel}}",
            "Whoever was at fault; the panels below show the faults.",
        ),
        recorded(
            "Orders cancelled by the seller's fault",
            "channel:truestock_seller_cancellation_orders",
            CHANNEL,
            "{{channel}}",
            "The rate for which channels punish a seller, of sold orders.",
        ),
        recorded(
            "Exceptions for each sold order",
            "channel:truestock_exception_orders",
            CHANNEL,
            "{{channel}}",
            "An order can have several, so this can exceed 100 %.",
        ),
        recorded(
            "Orders that needed a person",
            "channel:truestock_manual_intervention_orders",
            CHANNEL,
            "{{channel}}",
            "Sold orders on which somebody acted or has to; not those that rules resolved.",
        ),
        recorded(
            "Counts that differed",
            "location:truestock_inventory_mismatch",
            LOCATION,
            "{{location}}",
            "Counts that were only compared with on hand, and differed by more than the feed's tolerance.",
        ),
        recorded(
            "Late shipments of those due, by location",
            "location:truestock_late_shipment",
            LOCATION,
            "{{location}}",
            "Late once the time to ship by has passed, whether or not the shipment has left since.",
        ),
        recorded(
            "Late shipments of those due, by channel",
            "channel:truestock_late_shipment",
            CHANNEL,
            "{{channel}}",
            "The same shipments, by the channel that sold them.",
        ),
        recorded(
            "Figures that a channel shows and should not",
            "channel:truestock_channel_mismatch",
            CHANNEL,
            "{{channel}}",
            "New figures that differed from what was published to the channel, of those that could be compared.",
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
                    {increase("oversold_units", "channel, cause", CHANNEL): "{{channel}} {{cause}}"},
                ),
                Panel(
                    "Units that only a buffer could supply",
                    COUNT,
                    "Sold units that buffers had kept in stock, and units in stock that a buffer or a block kept back.",
                    {
                        increase("buffer_saved_units", "channel", CHANNEL): "{{channel}} saved",
                        increase("withheld_units", "channel, cause", CHANNEL): "{{channel}} {{cause}}",
                    },
                ),
                Panel(
                    "Units that shoppers did not get",
                    COUNT,
                    "Of holds that were refused, and unmet demand from elsewhere, by cause.",
                    {increase("unmet_demand_units", "channel, cause", CHANNEL): "{{channel}} {{cause}}"},
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
                    {increase("cancelled_orders", "channel, fault", CHANNEL): "{{channel}} {{fault}}"},
                ),
                Panel(
                    "Cancellations left before a penalty",
                    SHARE,
                    "The unused share of what each marketplace allows by the seller's fault, now; 0 is a penalty.",
                    {f"min by (channel) (truestock_cancellation_headroom_ratio{{{CHANNEL}}})": "{{channel}}"},
                ),
                Panel(
                    "Exceptions raised by kind",
                    COUNT,
                    "Those that concern no channel are not in here.",
                    {increase("exceptions", "kind", CHANNEL): "{{kind}}"},
                ),
                Panel(
                    "Open exceptions by owner",
                    COUNT,
                    "As of now.",
                    {"sum by (kind, owner) (truestock_exceptions_open)": "{{owner}}: {{kind}}"},
                ),
                Panel(
                    "Overdue exceptions",
                    COUNT,
                    "Open past their due time as of now, and those that were escalated to their next owner.",
                    {
                        "sum by (owner) (truestock_exceptions_overdue)": "{{owner}}",
                        increase("exceptions_escalated", "owner", ""): "escalated to {{owner}}",
                    },
                ),
                Panel(
                    "Time until resolved",
                    SECONDS,
                    "Of exceptions that were open: half, and 95 %, by kind.",
                    {
                        quantile(0.5, "exception_resolve_seconds", "kind"): "{{kind}} half",
                        quantile(0.95, "exception_resolve_seconds", "kind"): "{{kind}} 95 %",
                    },
                ),
                Panel(
                    "Exceptions resolved",
                    COUNT,
                    "By how they were resolved, by a person or by a rule.",
                    {increase("exceptions_resolved", "resolution", ""): "{{resolution}}"},
                ),
                Panel(
                    "Orders that needed a person, by reason",
                    COUNT,
                    "Each order once, by its first reason.",
                    {increase("manual_interventions", "channel, reason", CHANNEL): "{{channel}} {{reason}}"},
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
                        increase("shipments_due", "deadline, result", LOCATION): "{{deadline}} {{result}}",
                    },
                ),
                Panel(
                    "Time until shipped",
                    SECONDS,
                    "From assignment until shipped or ready for pickup; half and 95 % of shipments.",
                    {
                        quantile(0.5, "shipment_ship_seconds", "location", LOCATION): "{{location}} half",
                        quantile(0.95, "shipment_ship_seconds", "location", LOCATION): "{{location}} 95 %",
                    },
                ),
                Panel(
                    "Time until accepted",
                    SECONDS,
                    "From assignment until the location accepted; half and 95 % of shipments.",
                    {
                        quantile(0.5, "shipment_accept_seconds", "location", LOCATION): "{{location}} half",
                        quantile(0.95, "shipment_accept_seconds", "location", LOCATION): "{{location}} 95 %",
                    },
                ),
                Panel(
                    "Units by which counts differed",
                    COUNT,
                    "Without sign, of counts that were only compared.",
                    {increase("inventory_mismatch_units", "location", LOCATION): "{{location}}"},
                ),
                Panel(
                    "Age of the stock that answers rested on",
                    SECONDS,
                    "Of the oldest figure behind each answer: half, and 95 %. Old figures make stale oversells.",
                    {
                        quantile(0.5, "stock_age_seconds", "channel, answer", CHANNEL): "{{channel}} {{answer}} half",
                        quantile(0.95, "stock_age_seconds", "channel, answer", CHANNEL): "{{channel}} {{answer}} 95 %",
                    },
                ),
                Panel(
                    "Units rerouted, by cause",
                    COUNT,
                    "Sold units that another location took over.",
                    {increase("rerouted_units", "channel, cause", CHANNEL): "{{channel}} {{cause}}"},
                ),
                Panel(
                    "Units allocated",
                    COUNT,
                    "To which location each channel's orders go.",
                    {increase("allocated_units", "location", f"{CHANNEL},{LOCATION}"): "{{location}}"},
                ),
            ),
        ),
    ),
)
