"""Asks a service what its catalog knows of the values that rules name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from policies.linting.catalog_values import KnownValues
from service import limits
from service.cli.client import Client, call
from truestock.v1.policy_service_pb2 import FactValues, FindFactValuesRequest, KnownFactValues


def known_values(server: str, named: Mapping[str, Collection[str]]) -> dict[str, KnownValues]:
    """The known values of each fact that the service can check. Raises UserError if it does not answer."""

    async def ask(client: Client) -> dict[str, KnownValues]:
        known: dict[str, KnownValues] = {}
        for request in _requests(named):
            response = await client.ask(client.policies.FindFactValues, request)
            for fact in response.facts:
                known[fact.fact] = _joined(known.get(fact.fact), fact)
        return known

    return call(server, ask)


def _requests(named: Mapping[str, Collection[str]]) -> Iterator[FindFactValuesRequest]:
    """A request has values of one fact only, so that long lists of SKUs stay within its limit."""
    for fact, values in named.items():
        ordered = sorted(values)
        for start in range(0, len(ordered), limits.FACT_VALUES):
            batch = ordered[start : start + limits.FACT_VALUES]
            yield FindFactValuesRequest(facts=[FactValues(fact=fact, values=batch)])


def _joined(before: KnownValues | None, found: KnownFactValues) -> KnownValues:
    """What several answers know of one fact."""
    known = KnownValues(frozenset(found.existing_values), dict(found.similar_values), tuple(found.every_value))
    if before is None:
        return known
    return KnownValues(before.existing | known.existing, {**before.similar, **known.similar}, known.every)
