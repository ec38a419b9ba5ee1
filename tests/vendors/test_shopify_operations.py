"""What we ask of Shopify, held against Shopify's own schemas."""

from __future__ import annotations

import pytest
from graphql import GraphQLObjectType, TypeInfo, TypeInfoVisitor, Visitor, get_named_type, parse, validate, visit
from graphql.language import FieldNode

from service.channels.shopify.operations import API_VERSION, OPERATIONS, SCOPES
from tests.vendors.presence import NEEDS_NPM
from tools.shopify_schema import SubsetError, scopes, subset, whole_schema

pytestmark = [pytest.mark.long, NEEDS_NPM]

VERSIONS = ("2026-04", "2026-07", "2026-10", "unstable")
PERSONAL = {
    "email",
    "phone",
    "firstName",
    "lastName",
    "name",
    "address1",
    "address2",
    "company",
    "customer",
    "formatted",
}


class TypesOfFields(Visitor):
    """The object types whose fields an operation asks for, and which fields."""

    def __init__(self, info: TypeInfo) -> None:
        super().__init__()
        self.info = info
        self.fields: set[tuple[str, str]] = set()

    def enter_field(self, node: FieldNode, *_: object) -> None:
        parent = self.info.get_parent_type()
        if isinstance(get_named_type(parent), GraphQLObjectType) and parent is not None:
            self.fields.add((parent.name, node.name.value))


def asked(version: str) -> set[tuple[str, str]]:
    """Type and field of everything that we ask for."""
    info = TypeInfo(whole_schema(version))
    visitor = TypesOfFields(info)
    for text in OPERATIONS.values():
        visit(parse(text), TypeInfoVisitor(info, visitor))
    return visitor.fields


@pytest.mark.parametrize("version", VERSIONS)
def test_every_operation_is_valid_in_this_version_and_later_ones(version: str) -> None:
    problems = {name: validate(whole_schema(version), parse(text)) for name, text in OPERATIONS.items()}

    assert {name: errors for name, errors in problems.items() if errors} == {}
    assert VERSIONS[0] == API_VERSION


def test_a_field_that_a_version_lacks_is_found() -> None:
    document = parse("query { locations(first: 1) { nodes { id isOpenOnSundays } } }")

    assert validate(whole_schema(API_VERSION), document)


def test_the_scopes_that_we_ask_merchants_for_are_those_of_what_we_read() -> None:
    needed = scopes(API_VERSION, {name for name, _ in asked(API_VERSION)})

    assert {name: any_of for name, any_of in needed.items() if any_of and not SCOPES & set(any_of)} == {}
    assert [scope for scope in SCOPES if not any(scope in any_of for any_of in needed.values())] == []


def test_nothing_is_asked_of_a_shopper_but_where_the_parcel_goes() -> None:
    fields = asked(API_VERSION)

    assert {field for name, field in fields if name == "MailingAddress"} == {
        "countryCodeV2",
        "provinceCode",
        "zip",
        "latitude",
        "longitude",
    }
    people = {(name, field) for name, field in fields if field in PERSONAL} - {
        ("Order", "name"),
        ("Shop", "name"),
        ("Location", "name"),
        ("InventoryQuantity", "name"),
    }
    assert people == set()


def test_a_part_of_the_schema_refuses_what_it_leaves_out() -> None:
    part = subset(API_VERSION, {"QueryRoot": ["location"], "Location": ["id", "name"]})

    assert not validate(part, parse('query { location(id: "1") { id name } }'))
    assert validate(part, parse('query { location(id: "1") { id isActive } }'))
    with pytest.raises(SubsetError, match="leads to LocationAddress"):
        subset(API_VERSION, {"QueryRoot": ["location"], "Location": ["id", "address"]})
    with pytest.raises(SubsetError, match="Location has no field colour"):
        subset(API_VERSION, {"QueryRoot": ["location"], "Location": ["id", "colour"]})
