"""Records of a TikTok shop as its API writes them. Ids are strings there."""

from __future__ import annotations

from typing import Any

from tests.fakes.tiktok_shop.records import PENDING, Cancellation, Line, Order, Return, Sku, Warehouse

_SHIP_WITHIN = 2 * 86_400
_HIDDEN = "***"


def order_json(order: Order) -> dict[str, Any]:
    """An order with its units. Before it may be shipped nobody learns where it goes."""
    hidden = order.status in ("UNPAID", "ON_HOLD")
    created = order.created
    return {
        "id": order.id,
        "status": order.status,
        "order_type": "NORMAL",
        "commerce_platform": "TIKTOK_SHOP",
        "create_time": created,
        "update_time": order.updated,
        **({"paid_time": order.paid} if order.paid else {}),
        "is_on_hold_order": order.status == "ON_HOLD",
        "is_sample_order": order.is_sample,
        "is_cod": False,
        "is_buyer_request_cancel": bool(order.requested_cancel),
        **({"request_cancel_time": order.requested_cancel} if order.requested_cancel else {}),
        **({"cancel_reason": order.cancel_reason, "cancel_time": order.updated} if order.cancel_reason else {}),
        **({"cancellation_initiator": order.cancelled_by} if order.cancelled_by else {}),
        "fulfillment_type": "FULFILLMENT_BY_TIKTOK" if order.fulfilled_by_tiktok else "FULFILLMENT_BY_SELLER",
        "delivery_type": "HOME_DELIVERY",
        "shipping_type": "SELLER",
        "warehouse_id": order.warehouse_id,
        "rts_sla_time": created + _SHIP_WITHIN,
        "tts_sla_time": created + _SHIP_WITHIN,
        "shipping_due_time": created + _SHIP_WITHIN,
        "cancel_order_sla_time": created + 4 * 86_400,
        "delivery_sla_time": created + 7 * 86_400,
        "line_items": [line_json(line) for line in order.lines],
        "packages": [{"id": package} for package in sorted({line.package_id for line in order.lines} - {""})],
        "payment": {"currency": "USD", "total_amount": f"{len(order.lines) * 12}.00"},
        "buyer_email": _HIDDEN if hidden else order.shopper.mail,
        "buyer_nickname": order.shopper.nickname,
        "user_id": str(7_000_000_000_000_000_000 + len(order.shopper.name)),
        "recipient_address": _address(order, hidden),
    }


def line_json(line: Line) -> dict[str, Any]:
    """One unit of an order."""
    return {
        "id": line.id,
        "sku_id": line.sku.id,
        "product_id": line.sku.product_id,
        "seller_sku": line.sku.seller_sku,
        "product_name": f"Product {line.sku.seller_sku}",
        "display_status": line.status,
        "currency": "USD",
        "original_price": "12.00",
        "sale_price": "12.00",
        "sku_type": "NORMAL",
        **({"cancel_reason": line.cancel_reason} if line.cancel_reason else {}),
        **({"package_id": line.package_id, "tracking_number": line.tracking_number} if line.package_id else {}),
    }


def cancellation_json(cancellation: Cancellation) -> dict[str, Any]:
    """A cancellation, or a request for one with the seller's deadline."""
    pending = cancellation.status == PENDING
    return {
        "cancel_id": cancellation.id,
        "order_id": cancellation.order.id,
        "cancel_type": "BUYER_CANCEL" if cancellation.role == "BUYER" else "CANCEL",
        "cancel_status": cancellation.status,
        "role": cancellation.role,
        "cancel_reason": cancellation.reason,
        "cancel_reason_text": cancellation.reason.replace("_", " "),
        "create_time": cancellation.created,
        "update_time": cancellation.updated,
        "should_replenish_stock": cancellation.should_replenish_stock,
        "cancel_line_items": [
            {
                "cancel_line_item_id": f"{cancellation.id[:-4]}{number:04}",
                "order_line_item_id": line.id,
                "sku_id": line.sku.id,
                "seller_sku": line.sku.seller_sku,
            }
            for number, line in enumerate(cancellation.lines, 1)
        ],
        "seller_next_action_response": [
            {"action": "SELLER_RESPOND_BUYER_CANCEL", "deadline": cancellation.created + 86_400}
        ]
        if pending
        else [],
    }


def return_json(record: Return) -> dict[str, Any]:
    """A return, or a refund without goods."""
    return {
        "return_id": record.id,
        "order_id": record.order.id,
        "return_type": record.type,
        "return_status": record.status,
        "role": "BUYER",
        "return_reason": "ecom_order_delivered_refund_and_return_reason_damaged",
        "create_time": record.created,
        "update_time": record.updated,
        "return_method": "PLATFORM_SHIPPED",
        "handover_method": "DROP_OFF",
        "return_line_items": [
            {
                "return_line_item_id": f"{record.id[:-4]}{number:04}",
                "order_line_item_id": line.id,
                "sku_id": line.sku.id,
                "seller_sku": line.sku.seller_sku,
            }
            for number, line in enumerate(record.lines, 1)
        ],
    }


def inventory_json(sku: Sku, at: float) -> dict[str, Any]:
    """What may be sold of an item and what is promised, by warehouse, as it was at a time."""
    figures = sku.figures(at)
    return {
        "id": sku.id,
        "seller_sku": sku.seller_sku,
        "total_available_quantity": sum(available for available, _ in figures.values()),
        "total_committed_quantity": sum(committed for _, committed in figures.values()),
        "warehouse_inventory": [
            {"warehouse_id": warehouse, "available_quantity": available, "committed_quantity": committed}
            for warehouse, (available, committed) in figures.items()
        ],
    }


def product_json(skus: list[Sku]) -> dict[str, Any]:
    """A product with its items."""
    return {
        "id": skus[0].product_id,
        "title": f"Product {skus[0].seller_sku}",
        "status": "ACTIVATE",
        "create_time": 1_775_123_176,
        "update_time": 1_782_892_330,
        "skus": [
            {
                "id": sku.id,
                "seller_sku": sku.seller_sku,
                "status_info": {"status": "FROZEN" if sku.frozen else "NORMAL"},
                "price": {"currency": "USD", "tax_exclusive_price": "12.00"},
                "inventory": [
                    {"warehouse_id": warehouse, "quantity": stock.available} for warehouse, stock in sku.stock.items()
                ],
            }
            for sku in skus
        ],
    }


def warehouse_json(warehouse: Warehouse) -> dict[str, Any]:
    """A warehouse."""
    return {
        "id": warehouse.id,
        "name": warehouse.name,
        "type": "SALES_WAREHOUSE",
        "sub_type": "DOMESTIC_WAREHOUSE",
        "effect_status": warehouse.effect_status,
        "is_default": warehouse.is_default,
        "address": {"region": "United States", "region_code": "US", "postal_code": "10001"},
    }


def _address(order: Order, hidden: bool) -> dict[str, Any]:
    shopper = order.shopper
    if hidden:
        return {"full_address": _HIDDEN, "name": _HIDDEN, "phone_number": _HIDDEN, "region_code": shopper.country}
    return {
        "name": shopper.name,
        "first_name": shopper.first_name,
        "last_name": shopper.last_name,
        "phone_number": shopper.phone,
        "address_line1": shopper.street,
        "address_detail": shopper.street,
        "full_address": f"{shopper.street}, {shopper.region} {shopper.postal_code}, United States",
        "postal_code": shopper.postal_code,
        "region_code": shopper.country,
        "district_info": [
            {"address_level": "L0", "address_level_name": "Country", "address_name": "United States"},
            {"address_level": "L1", "address_level_name": "State", "address_name": shopper.region},
        ],
    }
