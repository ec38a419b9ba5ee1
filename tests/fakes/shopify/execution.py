"""What an operation costs on Shopify's schema before it runs."""

from __future__ import annotations

from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_named_type,
)
from graphql.language import FragmentSpreadNode, IntValueNode, VariableNode

MUTATION_COST = 10


class CostOf:
    """Points of one operation: 1 an object, a list its `first`, `last` or ids times what one entry costs.

    A mutation is 10 more; plain fields and `pageInfo` are free. Source: shopify.dev, "Calculated query cost".
    """

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, variables: dict[str, Any]) -> None:
        self._schema, self._variables = schema, variables
        definitions = document.definitions
        self._fragments = {each.name.value: each for each in definitions if isinstance(each, FragmentDefinitionNode)}
        operation = next(each for each in definitions if isinstance(each, OperationDefinitionNode))
        is_mutation = operation.operation is OperationType.MUTATION
        root = schema.mutation_type if is_mutation else schema.query_type
        self.points = self._inside(operation.selection_set, root) + (MUTATION_COST if is_mutation else 0)

    def _inside(self, selections: SelectionSetNode, parent: GraphQLNamedType | None) -> int:
        return sum(self._cost(node, parent) for node in selections.selections)

    def _cost(self, node: Any, parent: GraphQLNamedType | None) -> int:
        if isinstance(node, FragmentSpreadNode):
            node = self._fragments[node.name.value]
        if isinstance(node, InlineFragmentNode | FragmentDefinitionNode):
            named = self._schema.type_map[node.type_condition.name.value] if node.type_condition else parent
            return self._inside(node.selection_set, named)
        return self._field(node, parent)

    def _field(self, node: FieldNode, parent: Any) -> int:
        if node.selection_set is None or node.name.value == "pageInfo":
            return 0
        of_type = get_named_type(parent.fields[node.name.value].type)
        inside = self._inside(node.selection_set, of_type)
        return self._entries(node) * (inside if of_type.name.endswith("Connection") else 1 + inside)

    def _entries(self, node: FieldNode) -> int:
        for argument in node.arguments or ():
            if argument.name.value in ("first", "last", "ids"):
                value = argument.value
                if isinstance(value, IntValueNode):
                    return int(value.value)
                stated = self._variables.get(value.name.value) if isinstance(value, VariableNode) else None
                return len(stated) if isinstance(stated, list) else int(stated or 1)
        return 1


def actual_cost(data: Any) -> int:
    """Points of an answer: 1 an object that is in it. What was asked for and is not there is given back."""
    if isinstance(data, list):
        return sum(map(actual_cost, data))
    if not isinstance(data, dict):
        return 0
    own = 0 if "nodes" in data or "hasNextPage" in data else 1
    return own + sum(map(actual_cost, data.values()))
