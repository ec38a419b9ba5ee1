"""What a channel's products, items, outlets and locations must be."""

from policies.readiness.answers import Result
from policies.readiness.product_answers import (
    ItemFacts,
    Lacking,
    NotListable,
    ProductFacts,
    items_mapped,
    locations_decided,
    outlets_mapped,
    product_data,
)

COMPLETE = ProductFacts(3)


def test_products_with_every_attribute_pass() -> None:
    assert product_data(COMPLETE, "social").result is Result.PASS


def test_a_channel_without_products_is_not_ready() -> None:
    assert product_data(ProductFacts(0), "web").result is Result.FAIL


def test_the_answer_names_the_attribute_and_the_products_that_lack_it() -> None:
    answer = product_data(ProductFacts(3, {"dimensions": Lacking(2, ("BOWL", "MUG"))}), "social")

    assert (answer.result, answer.details) == (Result.FAIL, ("2 products without dimensions: BOWL, MUG",))
    assert answer.finding == "3 products, not all of them complete and unambiguous"


def test_a_till_needs_barcodes_but_no_pictures() -> None:
    assert product_data(ProductFacts(1, {"image": Lacking(1, ("MUG",))}), "pos").result is Result.PASS
    assert product_data(ProductFacts(1, {"barcode": Lacking(1, ("MUG",))}), "pos").result is Result.FAIL


def test_two_products_with_one_barcode_cannot_be_told_apart_at_a_till() -> None:
    answer = product_data(ProductFacts(2, shared_barcodes={"4006381333931": ("BOWL", "MUG")}), "pos")

    assert (answer.result, answer.details) == (Result.FAIL, ("barcode 4006381333931 is that of BOWL, MUG",))


def test_variants_of_one_style_in_two_categories_are_worth_a_look() -> None:
    assert product_data(ProductFacts(2, mixed_styles={"TEE": ("TEE-L", "TEE-S")}), "web").result is Result.WARN


def test_what_the_platform_requires_of_listings_decides_where_the_rules_state_it() -> None:
    no_image = {"image": Lacking(1, ("MUG",))}

    ready = product_data(ProductFacts(1, no_image, platform="tiktok_shop"), "social")
    wrong = {"images": NotListable(2, "BOWL", "are not there", "catalog-desk")}
    answer = product_data(ProductFacts(2, platform="tiktok_shop", not_listable=wrong), "social")

    assert ready.finding == "1 product with all that tiktok_shop requires"
    assert answer.details == ("images of 2 products, such as BOWL: are not there (catalog-desk)",)
    assert "truestock products check" in answer.advice


def test_a_channel_that_names_products_by_sku_needs_no_items() -> None:
    assert items_mapped(ItemFacts(0)).result is Result.PASS


def test_an_item_that_was_ordered_and_is_not_mapped_fails() -> None:
    answer = items_mapped(ItemFacts(1, unmapped_item_ids=("1729",)))

    assert (answer.result, answer.details) == (Result.FAIL, ("item 1729 is not mapped",))


def test_an_item_of_a_discontinued_product_fails() -> None:
    assert items_mapped(ItemFacts(1, inactive_items={"1729": "OLD-MUG"})).result is Result.FAIL


def test_a_product_that_the_channel_is_told_of_and_has_no_item_is_worth_a_look() -> None:
    assert items_mapped(ItemFacts(1, unlisted_count=1, unlisted_skus=("BOWL",))).result is Result.WARN


def test_a_location_outside_every_outlet_fails() -> None:
    answer = outlets_mapped({"online": frozenset({"dc"})}, ["dc", "store"])

    assert (answer.result, answer.details) == (Result.FAIL, ("store is in no outlet",))


def test_an_outlet_whose_locations_the_channel_may_not_sell_from_fails() -> None:
    answer = outlets_mapped({"online": frozenset({"dc"}), "shops": frozenset({"store"})}, ["dc"])

    assert answer.details == (
        "outlet shops has no location that the channel may sell from",
        "store is in an outlet, and not of the channel",
    )


def test_outlets_for_every_location_pass_and_so_does_a_channel_without_outlets() -> None:
    assert outlets_mapped({"online": frozenset({"dc", "store"})}, ["dc", "store"]).result is Result.PASS
    assert outlets_mapped({}, ["dc"]).result is Result.PASS


def test_selling_from_every_location_by_default_was_decided_by_nobody() -> None:
    assert locations_decided(frozenset(), 0, ["dc", "store"]).result is Result.FAIL
    assert locations_decided(frozenset({"dc"}), 0, ["dc"]).result is Result.PASS
    assert locations_decided(frozenset(), 2, ["dc"]).result is Result.PASS


def test_a_channel_whose_locations_are_all_closed_cannot_sell() -> None:
    assert locations_decided(frozenset({"dc"}), 0, []).result is Result.FAIL


def test_long_lists_say_how_many_more_there_are() -> None:
    answer = items_mapped(ItemFacts(1, unmapped_item_ids=tuple(map(str, range(12)))))

    assert len(answer.details) == 10
    assert answer.details[-1] == "and 3 more"
