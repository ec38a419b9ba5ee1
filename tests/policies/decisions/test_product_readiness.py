"""Whether a product has what a platform requires of its listings, and what is wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from policies.decisions.availability.sellable import assess_availability
from policies.decisions.product_readiness import listing_problems, readiness_of
from policies.domain.listing_formats import gtin_problem
from policies.domain.model import Channel, Location, Product, StockLevel, World
from policies.domain.product_details import ListingReadiness, ProductDetails, ProductImage
from policies.policy_set import PolicySet
from policies.reading.rules_reader import read

ROUTING = b"kind: routing\npolicies: [{name: any, position: 1, rank: [priority]}]\n"
TITLE = "{name: title, attribute: display_name, max_length: 12}"
GTIN = "4006381333931"


def rules(*requirements: str, exposure: str = "", platform: str = "tiktok_shop") -> PolicySet:
    """Listing requirements of one platform, and exposure rules."""
    lines = "".join(f"\n  - {requirement}" for requirement in requirements)
    text = f"kind: listing_requirements\nname: needed\nplatform: {platform}\nowner: product-data\nrules:{lines}\n"
    files = {"routing.yaml": ROUTING, "listings.yaml": text.encode()}
    if exposure:
        files["exposure.yaml"] = f"kind: exposure\nname: shown\nrules:\n  - {exposure}\n".encode()
    reading = read(files)
    assert reading.policy_set is not None, reading.problems
    return reading.policy_set


def problems(
    requirement: str, details: ProductDetails | None = None, product: Product | None = None
) -> list[tuple[str, str]]:
    """What is wrong with a product, as (attribute, problem)."""
    product = product or Product("MUG", name="Mug")
    found = listing_problems(rules(requirement), "tiktok_shop", product, details or ProductDetails())
    return [(problem.attribute, problem.problem) for problem in found]


def pictures(*sizes: tuple[int, int]) -> ProductDetails:
    return ProductDetails(images=tuple(ProductImage(f"https://x/{n}", *size) for n, size in enumerate(sizes)))


@pytest.mark.parametrize(
    ("requirement", "details", "problem"),
    [
        ("{name: a, attribute: barcode}", ProductDetails(), "is not stated"),
        ("{name: a, attribute: images}", ProductDetails(), "are not there"),
        ("{name: a, attribute: images, min_count: 2}", pictures((9, 9)), "are 1; at least 2 must be there"),
        ("{name: a, attribute: images, max_count: 1}", pictures((9, 9), (9, 9)), "are 2; at most 1 are allowed"),
        (
            "{name: a, attribute: images, min_side_px: 600}",
            pictures((1200, 1200), (800, 480)),
            "have image 2 with 800 x 480 px; each side must be at least 600 px",
        ),
        (
            "{name: a, attribute: images, min_longest_side_px: 500}",
            pictures((499, 20)),
            "have image 1 with 499 x 20 px; the longest side must be at least 500 px",
        ),
        (
            "{name: a, attribute: images, max_side_px: 5000}",
            pictures((20, 5001)),
            "have image 1 with 20 x 5,001 px; each side must be at most 5,000 px",
        ),
        (
            "{name: a, attribute: images, min_side_px: 1}",
            ProductDetails(images=(ProductImage("https://x"),)),
            "have no stated size: image 1",
        ),
        (
            "{name: a, attribute: height_mm, at_most: 600}",
            ProductDetails(height_mm=601),
            "is 601; it must be at most 600",
        ),
        (
            "{name: a, attribute: attributes.color, one_of: [red, blue]}",
            ProductDetails(attributes={"color": "green"}),
            "is 'green'; allowed: red, blue",
        ),
        (
            "{name: a, attribute: attributes.color, min_length: 9}",
            ProductDetails(attributes={"color": ""}),
            "is not stated",
        ),
        (
            "{name: a, attribute: attributes.color, min_length: 9}",
            ProductDetails(attributes={"color": "green"}),
            "has 5 characters; at least 9 are required",
        ),
        (
            "{name: a, attribute: style, pattern: '[A-Z]{3}-[0-9]+'}",
            ProductDetails(style="abc-1"),
            "is 'abc-1', which does not match the pattern [A-Z]{3}-[0-9]+",
        ),
        (
            "{name: a, attribute: barcode, format: gtin}",
            ProductDetails(barcode="4006381333932"),
            "is 4006381333932, whose last digit would have to be 1",
        ),
    ],
)
def test_a_product_that_lacks_something_is_told_what(requirement: str, details: ProductDetails, problem: str) -> None:
    assert [text for _, text in problems(requirement, details)] == [problem]


@pytest.mark.parametrize(
    ("requirement", "details"),
    [
        ("{name: a, attribute: barcode, format: gtin}", ProductDetails(barcode=GTIN)),
        ("{name: a, attribute: barcode, required: false, format: gtin}", ProductDetails()),
        ("{name: a, attribute: images, min_count: 1, max_count: 2, min_side_px: 600}", pictures((600, 601))),
        ("{name: a, attribute: length_mm, at_least: 1, at_most: 10}", ProductDetails(length_mm=10)),
        ("{name: a, attribute: attributes.color, one_of: [red]}", ProductDetails(attributes={"color": "red"})),
    ],
)
def test_a_product_that_has_it_is_ready(requirement: str, details: ProductDetails) -> None:
    assert problems(requirement, details) == []


def test_a_requirement_of_one_category_is_none_of_the_others() -> None:
    requirement = "{name: a, attribute: attributes.battery, when: {product.category: lighting}}"

    assert problems(requirement, product=Product("LAMP", category="lighting"))
    assert not problems(requirement, product=Product("MUG", category="kitchen"))


def test_a_problem_names_the_rule_and_who_owns_the_data() -> None:
    policy_set = rules("{name: color, attribute: attributes.color, owner: photo-desk}", TITLE)

    found = listing_problems(policy_set, "tiktok_shop", Product("MUG", name="A mug with a handle"), ProductDetails())

    assert [(x.rule, x.owner, str(x.source), x.value) for x in found] == [
        ("color", "photo-desk", "listings.yaml:6", ""),
        ("title", "product-data", "listings.yaml:7", "A mug with a handle"),
    ]


def test_a_problem_of_pictures_shows_them_with_the_sizes_that_are_stated() -> None:
    details = ProductDetails(images=(ProductImage("https://x/0", 9, 8), ProductImage("https://x/1")))
    policy_set = rules("{name: a, attribute: images, min_count: 3}")

    [problem] = listing_problems(policy_set, "tiktok_shop", Product("MUG"), details)

    assert problem.value == "https://x/0 (9 x 8 px), https://x/1"


def test_a_product_that_lacks_something_is_not_ready_for_the_platform() -> None:
    readiness = readiness_of(rules(TITLE), Product("MUG", name="A mug with a handle"), ProductDetails())

    assert readiness == ListingReadiness(unready=frozenset({"tiktok_shop"}))


def test_readiness_is_known_only_of_platforms_with_requirements() -> None:
    readiness = readiness_of(rules(TITLE), Product("MUG", name="Mug"), ProductDetails())

    assert readiness == ListingReadiness(ready=frozenset({"tiktok_shop"}))
    assert [readiness.on(x) for x in ("tiktok_shop", "shopify", None)] == [True, None, None]


NOT_READY = "{name: not-ready, when: {product.ready_for_channel: false}, block: the listing is not complete}"


@pytest.mark.parametrize(
    ("readiness", "platform", "sellable"),
    [
        (ListingReadiness(unready=frozenset({"tiktok_shop"})), "tiktok_shop", 0),
        (ListingReadiness(ready=frozenset({"tiktok_shop"})), "tiktok_shop", 5),
        (ListingReadiness(unready=frozenset({"tiktok_shop"})), None, 5),
        (None, "tiktok_shop", 5),
    ],
)
def test_an_exposure_rule_hides_what_cannot_be_listed(
    readiness: ListingReadiness | None, platform: str | None, sellable: int
) -> None:
    policy_set = rules(TITLE, exposure=NOT_READY)
    world = World(
        datetime(2026, 11, 27, tzinfo=UTC),
        {"oslo": Location("oslo", "store")},
        {"MUG": Product("MUG", readiness=readiness)},
        {("MUG", "oslo"): StockLevel("MUG", "oslo", 5)},
    )

    assert (
        assess_availability(policy_set, world, Channel("tik", "social", platform=platform), "MUG").sellable == sellable
    )


def test_rules_that_do_not_ask_for_readiness_do_not_have_it_read() -> None:
    assert rules(TITLE, exposure=NOT_READY).reads_readiness
    assert not rules(TITLE).reads_readiness


@given(st.sampled_from([7, 11, 12, 13]).flatmap(lambda n: st.text("0123456789", min_size=n, max_size=n)))
def test_every_number_has_exactly_one_check_digit(digits: str) -> None:
    valid = [digit for digit in "0123456789" if gtin_problem(digits + digit) is None]

    assert len(valid) == 1


@pytest.mark.parametrize("barcode", ["96385074", "036000291452", GTIN, "10012345678902"])
def test_barcodes_of_every_length_are_known(barcode: str) -> None:
    assert gtin_problem(barcode) is None


@pytest.mark.parametrize("barcode", ["", "123", "400638133393x", "٤٠٠٦٣٨١٣٣٣٩٣١"])
def test_other_barcodes_are_not(barcode: str) -> None:
    assert "it must be a GTIN" in (gtin_problem(barcode) or "")
