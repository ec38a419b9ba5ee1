"""Reads files of listing requirements: what a platform requires of the data of a product before it can be listed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from policies.domain.channel_statuses import PLATFORMS
from policies.domain.listing_formats import TEXT_FORMATS, Demand, ImageRange, NumberRange, TextFormat
from policies.engine.matcher import Matcher
from policies.facts.fact_table import RulePlace
from policies.policy_set import ATTRIBUTES, FREE_ATTRIBUTE, IMAGES, NUMBER_ATTRIBUTES, ListingRequirement
from policies.reading.owners import Owners
from policies.reading.patterns import pattern_problem
from policies.reading.stock_rules import MAX_RULES, read_when, rule_title, unique_name, without_none
from policies.source.problems import Source, quoted
from policies.source.rule_file import RuleFile, number_text, suggestion
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode

MAX_LENGTH = 10_000
"""Longest value of an attribute, in characters."""
MAX_NUMBER = 1e9
MAX_IMAGES = 250
MAX_PIXELS = 100_000
MAX_CHOICES = 500
MAX_PATTERN = 200
ATTRIBUTE_NAME = "[a-z][a-z0-9_]{0,62}"
"""What the name of an attribute that a retailer has named looks like."""

FILE_KEYS = ("kind", "name", "description", "platform", "owner", "rules")
RULE_KEYS = ("name", "description", "when", "attribute", "required", "owner")
TEXT_KEYS = ("min_length", "max_length", "pattern", "one_of", "format")
NUMBER_KEYS = ("at_least", "at_most")
IMAGE_BOUNDS: Mapping[str, int] = {
    **dict.fromkeys(("min_count", "max_count"), MAX_IMAGES),
    **dict.fromkeys(("min_side_px", "max_side_px", "min_longest_side_px"), MAX_PIXELS),
}
"""The keys for images, each with its largest number."""
_RANGES = (
    ("min_length", "max_length"),
    NUMBER_KEYS,
    ("min_count", "max_count"),
    ("min_side_px", "max_side_px"),
    ("min_longest_side_px", "max_side_px"),
)

_ATTRIBUTE_WORDS = {
    **dict.fromkeys(("title", "name", "product_name"), "display_name"),
    **dict.fromkeys(("gtin", "ean", "upc"), "barcode"),
    **dict.fromkeys(("weight", "package_weight"), "weight_grams"),
    **dict.fromkeys(("image", "image_uri", "picture", "pictures", "photos"), IMAGES),
    **{name: f"{FREE_ATTRIBUTE}{name}" for name in ("description", "color", "size", "material")},
}
"""Other words for attributes."""


def listing_requirements(
    rule_file: RuleFile, node: Node, files: dict[str, Source], used: dict[str, Source], owners: Owners
) -> list[ListingRequirement]:
    """The requirements of a file. `files` and `used` are the names of the files and rules that were read before.

    Adds the owners that it names to `owners`.
    """
    fields = rule_file.fields(node, "a file of listing requirements", FILE_KEYS, ("name", "platform", "owner", "rules"))
    if fields is None:
        return []
    unique_name(rule_file, fields, "a file of listing requirements named", files)
    platform = rule_file.choice(fields["platform"], "'platform'", PLATFORMS) if "platform" in fields else None
    owner = owners.name(rule_file, fields["owner"], "'owner'") if "owner" in fields else None
    if "rules" not in fields:
        return []
    read = partial(_requirement, rule_file, used=used, owners=owners, platform=platform or "", owner=owner or "")
    return without_none(read(rule) for rule in rule_file.items(fields["rules"], "'rules'", at_most=MAX_RULES))


def listing_matchers(requirements: Iterable[ListingRequirement]) -> dict[str, Matcher[ListingRequirement]]:
    """A matcher for the requirements of each platform that has any."""
    by_platform: dict[str, list[ListingRequirement]] = {}
    for requirement in requirements:
        by_platform.setdefault(requirement.platform, []).append(requirement)
    return {
        platform: Matcher.of([(requirement, requirement.when) for requirement in of_platform])
        for platform, of_platform in sorted(by_platform.items())
    }


def _requirement(
    rule_file: RuleFile, node: Node, *, used: dict[str, Source], owners: Owners, platform: str, owner: str
) -> ListingRequirement | None:
    title = rule_title(node, "rule")
    attribute = _attribute(rule_file, node)
    demand_keys, read_demand = _DEMANDS[_kind(attribute)] if attribute else (_ALL_DEMAND_KEYS, _text_format)
    fields = rule_file.fields(node, title, (*RULE_KEYS, *demand_keys), ("name", "attribute"))
    if fields is None:
        return None
    name = unique_name(rule_file, fields, "a listing requirement named", used)
    applies = read_when(rule_file, fields, "when", title, RulePlace.LISTING)
    required = rule_file.flag(fields["required"], "'required'") if "required" in fields else True
    stated_owner = owners.name(rule_file, fields["owner"], "'owner'") if "owner" in fields else owner
    demand = read_demand(rule_file, fields) if attribute else None
    if name is None or applies is None or attribute is None or demand is None or None in (required, stated_owner):
        return None
    _check_demand(rule_file, node, fields, title, is_required=required is True)
    owner = stated_owner or owner
    return ListingRequirement(
        name, platform, rule_file.source(node), applies, attribute, demand, owner, is_required=required is True
    )


def _attribute(rule_file: RuleFile, node: Node) -> str | None:
    """The attribute that a rule names: one that every product has, or one that the retailer has named."""
    if not isinstance(node, MappingNode) or "attribute" not in node.entries:
        return None
    stated = node.entries["attribute"][1]
    name = stated.text if isinstance(stated, ScalarNode) else ""
    if name in ATTRIBUTES or re.fullmatch(f"{re.escape(FREE_ATTRIBUTE)}{ATTRIBUTE_NAME}", name):
        return name
    if name and name.startswith(FREE_ATTRIBUTE):
        help = f"write {FREE_ATTRIBUTE} and a name of a-z, 0-9 and '_', starting with a letter, at most 63 characters."
        rule_file.note(stated, "bad-name", f"'attribute' cannot be {quoted(name)}", help)
        return None
    word = rule_file.text(stated, "'attribute'")
    if word is not None:
        meant = _ATTRIBUTE_WORDS.get(word.strip().lower())
        likely = f"write {meant}. " if meant else suggestion(word, ATTRIBUTES)
        own = f"or {FREE_ATTRIBUTE} and the name of an attribute of your own"
        help = f"{likely}Attributes: {', '.join(ATTRIBUTES)}, {own}."
        rule_file.note(stated, "unknown-value", f"products have no attribute {quoted(word)}", help)
    return None


def _kind(attribute: str) -> str:
    if attribute == IMAGES:
        return IMAGES
    return "number" if attribute in NUMBER_ATTRIBUTES else "text"


def _text_format(rule_file: RuleFile, fields: Mapping[str, Node]) -> TextFormat | None:
    low, high = _integers(rule_file, fields, {"min_length": MAX_LENGTH, "max_length": MAX_LENGTH})
    choices: tuple[str, ...] = ()
    if "one_of" in fields:
        items = rule_file.items(fields["one_of"], "'one_of'", "one_of: [cotton, wool]", at_most=MAX_CHOICES)
        choices = tuple(without_none([rule_file.text(item, "an entry of 'one_of'") for item in items]))
    pattern = _pattern(rule_file, fields["pattern"]) if "pattern" in fields else None
    format_name = rule_file.choice(fields["format"], "'format'", TEXT_FORMATS) if "format" in fields else None
    return TextFormat(low, high, pattern, choices, format_name)


def _pattern(rule_file: RuleFile, node: Node) -> str | None:
    pattern = rule_file.text(node, "'pattern'", at_most=MAX_PATTERN)
    problem = None if pattern is None else pattern_problem(pattern)
    if pattern is None or problem is None:
        return pattern
    message, help = problem
    rule_file.note(node, "bad-pattern", f"'pattern' {message}", help)
    return None


def _number_range(rule_file: RuleFile, fields: Mapping[str, Node]) -> NumberRange:
    low, high = (rule_file.number(fields[x], f"'{x}'", 0, MAX_NUMBER) if x in fields else None for x in NUMBER_KEYS)
    return NumberRange(low, high)


def _image_range(rule_file: RuleFile, fields: Mapping[str, Node]) -> ImageRange:
    return ImageRange(*_integers(rule_file, fields, IMAGE_BOUNDS))


def _integers(rule_file: RuleFile, fields: Mapping[str, Node], most: Mapping[str, int]) -> list[int | None]:
    """The whole numbers under these keys, each from 1 to its largest; None for a key that is left out."""
    return [rule_file.integer(fields[x], f"'{x}'", 1, high) if x in fields else None for x, high in most.items()]


def _check_demand(
    rule_file: RuleFile, node: Node, fields: Mapping[str, Node], title: str, *, is_required: bool
) -> None:
    """Finds rules that demand nothing, and ranges that no value is in."""
    if not is_required and not any(key in fields for key in _ALL_DEMAND_KEYS):
        help = "add what a stated value must be, or leave out 'required: false'."
        rule_file.note(node, "no-effect", f"{title} demands nothing", help)
    for low, high in _RANGES:
        smallest, largest = (_stated_number(fields.get(key)) for key in (low, high))
        if smallest is not None and largest is not None and smallest > largest:
            message = f"'{low}' {number_text(smallest)} is above '{high}' {number_text(largest)}"
            rule_file.note(fields[low], "out-of-range", message, "swap them, or leave one out.")


def _stated_number(node: Node | None) -> float | None:
    try:
        return float(node.text) if isinstance(node, ScalarNode) else None
    except ValueError:
        return None


_DemandReader = Callable[[RuleFile, Mapping[str, Node]], Demand | None]
_DEMANDS: Mapping[str, tuple[tuple[str, ...], _DemandReader]] = {
    "text": (TEXT_KEYS, _text_format),
    "number": (NUMBER_KEYS, _number_range),
    IMAGES: (tuple(IMAGE_BOUNDS), _image_range),
}
"""The keys that say what a value must be, and what reads them, by the kind of the attribute."""
_ALL_DEMAND_KEYS = (*TEXT_KEYS, *NUMBER_KEYS, *IMAGE_BOUNDS)
