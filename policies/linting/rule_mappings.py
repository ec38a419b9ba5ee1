"""The mappings of rules in their files, found again by position: a policy set keeps only where each rule begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from policies.source.problems import Source
from policies.source.yaml_nodes import MappingNode, Node, SequenceNode, parse


@dataclass(slots=True)
class RuleMappings:
    """The mappings of the files that a policy set was read from. Only files that are asked for are parsed again."""

    files: Mapping[str, bytes]
    read: dict[str, dict[Source, MappingNode]] = field(default_factory=dict)

    def at(self, source: Source) -> MappingNode:
        """The mapping that begins there."""
        if source.file not in self.read:
            root, _ = parse(source.file, self.files[source.file])
            mappings = _mappings(root)
            self.read[source.file] = {Source(source.file, node.line, node.column): node for node in mappings}
        return self.read[source.file][source]


def _mappings(node: Node) -> Iterator[MappingNode]:
    """All mappings of a file; no two start at the same position."""
    match node:
        case SequenceNode(items):
            for item in items:
                yield from _mappings(item)
        case MappingNode(entries):
            yield node
            for _, value in entries.values():
                yield from _mappings(value)
