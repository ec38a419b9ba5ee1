"""Records of the catalog that contradict others."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from policies.domain.outlets import OutletConflict
from service.errors.error_details import Violation
from service.errors.truestock_error import TruestockError


class FeedConflict(TruestockError):
    """Two feeds would own a product at a location, where at most one can; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "FEED_CONFLICT"

    def __init__(self, field: str, source: str, owner: str, location_id: str | None, sku: str | None) -> None:
        """`field` is the path of the refused feed; None stands for every location, or every SKU."""
        where = f"'{location_id}'" if location_id else "every location"
        what = f"'{sku}'" if sku else "every product"
        super().__init__(
            f"feed {source} would own {what} at {where}, which feed {owner} already owns; declare one of them an "
            "observer, or limit each to its own locations and SKUs",
            metadata={"source": source, "owner": owner, "location_id": location_id or "", "sku": sku or ""},
            violations=[Violation(field, f"would own stock that feed '{owner}' already owns")],
        )


class SharedLocation(TruestockError):
    """A location would be in two outlets of one channel; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "OUTLET_CONFLICT"

    def __init__(self, conflict: OutletConflict, field: str, stated: str) -> None:
        """`field` is the path of the refused record in the request, `stated` what it is, such as "outlet 'online'"."""
        both = f"outlets '{conflict.outlet_id}' and '{conflict.other_outlet_id}' of channel '{conflict.channel_id}'"
        super().__init__(
            f"{stated} would put location '{conflict.location_id}' into both {both}, where it can be in only one; take "
            "it out of one of them, or move it in one call that writes both",
            metadata={
                "channel_id": conflict.channel_id,
                "location_id": conflict.location_id,
                "outlet_id": conflict.outlet_id,
                "other_outlet_id": conflict.other_outlet_id,
            },
            violations=[Violation(field, f"location '{conflict.location_id}' would be in {both}")],
        )


class NoListingRequirements(TruestockError):
    """The rules in force have no listing requirements for the platform of a channel."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "NO_LISTING_REQUIREMENTS"

    def __init__(self, channel_id: str, platform: str | None, known: Sequence[str]) -> None:
        """`known` are the platforms that have requirements."""
        if platform is None:
            message = f"channel '{channel_id}' has no platform; upsert it with one of: {', '.join(known) or 'none yet'}"
        else:
            message = (
                f"the rules have no listing requirements for '{platform}', the platform of channel '{channel_id}'; add "
                f"a file with 'kind: listing_requirements' and 'platform: {platform}'"
            )
        super().__init__(message, metadata={"channel_id": channel_id, "platform": platform or ""})


class KitConflict(TruestockError):
    """A kit would be a component of a kit, or the catalog would have too many kits; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "KIT_CONFLICT"

    @classmethod
    def nested(cls, field: str, sku: str, component_sku: str) -> KitConflict:
        """`component_sku` of the kit `sku` is a kit; `field` is the path of the record that makes it so."""
        return cls(
            f"the kit {sku} would contain {component_sku}, which is a kit too; name the components of {component_sku} "
            f"in {sku} instead, or delete the kit {component_sku} with DeleteKit first",
            metadata={"sku": sku, "component_sku": component_sku},
            violations=[Violation(field, f"makes the kit '{component_sku}' a component of the kit '{sku}'")],
        )

    @classmethod
    def full(cls, count: int, limit: int) -> KitConflict:
        """The catalog would have `count` kits."""
        return cls(
            f"the catalog would have {count:,} kits, and at most {limit:,} are allowed; delete some that are no longer "
            "sold with DeleteKit first",
            metadata={"limit": str(limit)},
        )
