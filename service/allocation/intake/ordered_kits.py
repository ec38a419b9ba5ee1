"""Order lines of kits as lines of their components: worked out once, when an order arrives.

A line that is sent again keeps the components that it has, whatever became of the kit since; only their units follow
the number of kits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from policies.domain.kits import Kit, KitPart, Kits, of_kit
from policies.domain.model import MAX_UNITS, Order, OrderLine
from policies.stock.oversell import UNMAPPED
from service import limits
from service.errors import InvalidFields, Violation
from service.orders.allocation_record import AllocationRecord, LineRecord
from service.orders.order_requests import Cancellation, OrderRequest

_FREE = Decimal(0)


def too_many_components(order: Order, kits: Kits) -> Violation | None:
    """The violation of an order that would have too many lines once its kits are lines of components."""
    if not kits.by_sku:
        return None
    by_sku = kits.by_sku
    count = sum(len(by_sku[line.sku].components) if line.sku in by_sku else 1 for line in order.lines)
    if count <= limits.ORDER_COMPONENTS:
        return None
    problem = f"have {count:,} components together; at most {limits.ORDER_COMPONENTS:,} are allowed, so split the order"
    return Violation("lines", problem)


def expanded(request: OrderRequest, record: AllocationRecord, kits: Kits) -> OrderRequest:
    """The request with a line of each component instead of the lines of kits. Raises InvalidFields."""
    order = request.order
    stored = _stored_kits(record)
    if not stored and (not kits.by_sku or all(line.sku not in kits.by_sku for line in order.lines)):
        return request
    plain = {line.line_id: line for line in record.lines if line.kit is None}
    used = {line.line_id for line in order.lines}
    lines: list[OrderLine] = []
    for index, line in enumerate(order.lines):
        parts = _parts(line, record, stored.get(line.line_id, ()), plain.get(line.line_id), kits)
        if not parts:
            lines.append(line)
            continue
        if line.unit_count * max(part.unit_count for _, _, part in parts) > MAX_UNITS:
            problem = f"{line.unit_count:,} kits of '{line.sku}' have more than {MAX_UNITS:,} units of a component"
            raise InvalidFields([Violation(f"lines[{index}].unit_count", problem)])
        lines += _component_lines(line, parts, used)
    return replace(request, order=replace(order, lines=tuple(lines)))


def _stored_kits(record: AllocationRecord) -> dict[str, list[LineRecord]]:
    """The stored components of each line that ordered a kit, by its id."""
    stored: dict[str, list[LineRecord]] = {}
    for line in record.lines:
        if line.kit is not None:
            stored.setdefault(line.kit.line_id, []).append(line)
    return stored


def _parts(
    line: OrderLine,
    record: AllocationRecord,
    stored: Sequence[LineRecord],
    plain: LineRecord | None,
    kits: Kits,
) -> list[tuple[str, str, KitPart]]:
    """The line ids (empty for a new line), SKUs and parts of a line's components; none if it is no kit."""
    known = [(x.line_id, x.sku, x.kit) for x in stored if x.kit is not None and x.kit.sku == line.sku]
    if known:
        return known
    if plain is not None and plain.sku == line.sku and not _waits_for_its_product(record, plain):
        # It was ordered before its SKU became a kit.
        return []
    kit = kits.by_sku.get(line.sku)
    if kit is None:
        return []
    return [
        ("", sku, KitPart(line.line_id, kit.sku, unit_count, kit.may_split))
        for sku, unit_count in kit.components.items()
    ]


def _waits_for_its_product(record: AllocationRecord, line: LineRecord) -> bool:
    """Whether nothing of a line was ever planned, because the catalog did not have its SKU."""
    short = sum(x.unit_count for x in record.shortages if x.line_id == line.line_id and x.cause == UNMAPPED)
    return 0 < line.uncancelled == short


def _component_lines(line: OrderLine, parts: Iterable[tuple[str, str, KitPart]], used: set[str]) -> Iterator[OrderLine]:
    """The lines of a kit's components. The first one has the price of the kit."""
    price = line.unit_price
    for line_id, sku, part in parts:
        item = None if line.item is None else replace(line.item, units_each=line.item.units_each * part.unit_count)
        yield OrderLine(
            line_id=line_id or _new_id(line.line_id, sku, used),
            sku=sku,
            unit_count=line.unit_count * part.unit_count,
            unit_price=price,
            placement=of_kit(line.placement, part, item),
            item=item,
            kit=part,
        )
        price = None if price is None else _FREE


def component_lines(line: OrderLine, kit: Kit, used: set[str]) -> list[OrderLine]:
    """The lines of a kit's components for a new line that orders it; `used` are the ids of the order's lines."""
    parts = [
        ("", sku, KitPart(line.line_id, kit.sku, unit_count, kit.may_split))
        for sku, unit_count in kit.components.items()
    ]
    return list(_component_lines(line, parts, used))


def _new_id(line_id: str, sku: str, used: set[str]) -> str:
    """`1/MUG`: the id of a component's line, made unique within the order by apostrophes."""
    id = f"{line_id}/{sku}"
    while id in used:
        id += "'"
    used.add(id)
    return id


def expand_waiting(record: AllocationRecord, kits: Kits) -> list[str]:
    """Gives lines that wait for their product, which is a kit by now, the kit's components, all on backorder.

    Returns what each kit consists of, as clauses.
    """
    waiting = [
        line
        for line in record.lines
        if line.kit is None and line.sku in kits.by_sku and _waits_for_its_product(record, line)
    ]
    used = {line.line_id for line in record.lines}
    for line in waiting:
        kit = kits.by_sku[line.sku]
        parts = [("", sku, KitPart(line.line_id, kit.sku, n, kit.may_split)) for sku, n in kit.components.items()]
        components = []
        for part in _component_lines(line.ordered(line.unit_count), parts, used):
            size = part.kit.unit_count if part.kit is not None else 1
            counts = (line.cancelled * size, line.oversold * size, line.withheld * size)
            component = LineRecord.of(part)
            component.cancelled, component.oversold, component.withheld = counts
            components.append((component, size))
        position = record.lines.index(line)
        record.lines[position : position + 1] = [component for component, _ in components]
        short = [short for short in record.shortages if short.line_id == line.line_id]
        record.shortages = [short for short in record.shortages if short.line_id != line.line_id] + [
            replace(x, line_id=component.line_id, sku=component.sku, unit_count=x.unit_count * size)
            for x in short
            for component, size in components
        ]
    return [f"{line.sku} is a kit of {', '.join(kits.by_sku[line.sku].components)}" for line in waiting]


def component_cancellations(
    record: AllocationRecord, cancellations: Sequence[Cancellation], field: str = "cancellations"
) -> tuple[Cancellation, ...]:
    """The cancellations of kits in units of their components; the others as they are. Raises InvalidFields.

    Kits are cancelled whole, by the line on which they were ordered or by their item. A component is cancelled alone
    only as far as it is beyond the kits of which nothing has shipped.
    """
    stored = _stored_kits(record)
    if not stored:
        return tuple(cancellations)
    violations: list[Violation] = []
    converted: list[Cancellation] = []
    for index, cancellation in enumerate(cancellations):
        components = _cancelled_components(cancellation, stored)
        if components:
            is_of_items = cancellation.item_id is not None
            for part in components:
                count = cancellation.unit_count
                units = part.item.units(count) if is_of_items and part.item else count * _size(part)
                converted.append(replace(cancellation, line_id=part.line_id, unit_count=units, item_id=None))
            continue
        converted.append(cancellation)
        line = next((x for x in record.lines if x.line_id == cancellation.line_id), None)
        if line is None or line.kit is None:
            continue
        members = stored[line.kit.line_id]
        kits = min((x.uncancelled - record.shipped_of_line(x.line_id)) // _size(x) for x in members)
        beyond = line.uncancelled - record.shipped_of_line(line.line_id) - kits * _size(line)
        if cancellation.unit_count > beyond:
            problem = (
                f"'{line.line_id}' is a component of the kit {line.kit.sku}, which is cancelled whole: cancel so many "
                f"kits of line '{line.kit.line_id}'"
            )
            violations.append(Violation(f"{field}[{index}].line_id", problem))
    if violations:
        raise InvalidFields(violations)
    return tuple(converted)


def _cancelled_components(
    cancellation: Cancellation, stored: Mapping[str, Sequence[LineRecord]]
) -> Sequence[LineRecord]:
    """The components of the kit line that a cancellation names by its id or its item; none if it names no such line."""
    if cancellation.item_id is None:
        return stored.get(cancellation.line_id, ())
    named = [
        lines
        for line_id, lines in stored.items()
        if cancellation.line_id in ("", line_id)
        and lines[0].item is not None
        and lines[0].item.item_id == cancellation.item_id
    ]
    return named[0] if len(named) == 1 else ()


def _size(line: LineRecord) -> int:
    return 1 if line.kit is None else line.kit.unit_count


def kit_skus(record: AllocationRecord) -> Mapping[str, str]:
    """The SKU of the kit of each line that is a component of one, by line id."""
    return {line.line_id: line.kit.sku for line in record.lines if line.kit is not None}
