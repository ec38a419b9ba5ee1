"""Shopify's own Admin API schema, whole or the part that is asked for, from the package that `make vendors` installs.

`python -m tools.shopify_schema 2026-04 Order InventoryLevel` prints what a version says of some types.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, cast

from graphql import GraphQLSchema, build_client_schema, print_type

from tools.vendor_clients import MODULES

FOLDER = MODULES / "@shopify" / "dev-mcp" / "dist" / "data"
_ROOTS = ("QueryRoot", "Mutation")

Fields = Mapping[str, Collection[str]]
"""Names of fields by the type that has them."""


class SubsetError(Exception):
    """The part that was asked for does not hang together; the message names the field."""


@cache
def introspection(version: str) -> dict[str, Any]:
    """What Shopify answers to an introspection query, and under `offline_scopes` which access its types need."""
    content: dict[str, Any] = json.loads(gzip.decompress((FOLDER / f"admin_{version}.json.gz").read_bytes()))
    return content


@cache
def whole_schema(version: str) -> GraphQLSchema:
    """The schema of a version. Some of Shopify's own deprecations break a rule of GraphQL, so it is taken as it is."""
    return build_client_schema(cast(Any, introspection(version)["data"]), assume_valid=True)


def subset(version: str, fields: Fields) -> GraphQLSchema:
    """A schema with only these fields of these object types and interfaces, and all inputs and enums that they need.

    A field keeps its arguments and its type. Raises SubsetError for a field that the version lacks or that leads to a
    type of which no field is asked for.
    """
    schema = introspection(version)["data"]["__schema"]
    types = {each["name"]: each for each in schema["types"]}
    kept = {name: _with_fields(types, name, wanted) for name, wanted in fields.items()}
    _add_inputs(types, kept)
    for each in kept.values():
        for implemented in ("interfaces", "possibleTypes"):
            each[implemented] = [named for named in each.get(implemented) or [] if named["name"] in kept]
    mutations = schema["mutationType"] if "Mutation" in kept else None
    data = {"__schema": {**schema, "types": list(kept.values()), "mutationType": mutations, "subscriptionType": None}}
    return build_client_schema(cast(Any, data), assume_valid=True)


def scopes(version: str, types: Collection[str]) -> dict[str, list[str]]:
    """The access scopes of each type, any one of which is enough."""
    items = introspection(version)["offline_scopes"]["items"]
    return {
        item["typeName"]: item["offlineScopes"]
        for item in items
        if item["type"] == "type" and item["typeName"] in types
    }


def _with_fields(types: dict[str, Any], name: str, wanted: Collection[str]) -> dict[str, Any]:
    if name not in types:
        raise SubsetError(f"the schema has no type {name}")
    fields = {field["name"]: field for field in types[name]["fields"]}
    if missing := sorted(set(wanted) - set(fields)):
        raise SubsetError(f"{name} has no field {', '.join(missing)}")
    return {**types[name], "fields": [fields[field] for field in wanted]}


def _add_inputs(types: dict[str, Any], kept: dict[str, Any]) -> None:
    waiting = list(kept.values())
    while waiting:
        owner = waiting.pop()
        for name in _named_types(owner):
            if name in kept:
                continue
            if types[name]["kind"] in ("OBJECT", "INTERFACE", "UNION"):
                raise SubsetError(f"a field of {owner['name']} leads to {name}, of which no field is asked for")
            kept[name] = dict(types[name])
            waiting.append(kept[name])
    for name, each in types.items():
        if each["kind"] == "SCALAR":
            kept.setdefault(name, dict(each))


def _named_types(owner: dict[str, Any]) -> set[str]:
    fields = [*(owner.get("fields") or []), *(owner.get("inputFields") or [])]
    arguments = [argument for field in fields for argument in field.get("args", [])]
    return {_name(each["type"]) for each in [*fields, *arguments]}


def _name(of_type: dict[str, Any]) -> str:
    return cast(str, of_type["name"]) if of_type["name"] else _name(of_type["ofType"])


if __name__ == "__main__":
    schema = whole_schema(sys.argv[1])
    print("\n\n".join(print_type(schema.type_map[name]) for name in sys.argv[2:] or _ROOTS))
