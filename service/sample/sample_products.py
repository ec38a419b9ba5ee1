"""The products of the sample retailer: styles of invented brands in colors and sizes. Only data."""

from __future__ import annotations

from dataclasses import dataclass

BRANDS = {
    "FNM": "Fennimoor",
    "TRN": "Tarnwick",
    "BRK": "Brackenfold",
    "QLM": "Quillmere",
    "PEL": "Pellworth",
    "MRW": "Marrowick",
    "DUN": "Dunmarsh",
}
"""Brand names by the first part of their SKUs."""


@dataclass(frozen=True, slots=True)
class Style:
    """The properties that all variants of a style share.

    `price` is that of the smallest size in dollars; each next size costs `price_step` more. `parcel` is the smallest
    size packed: grams, then length, width and height in millimeters; each next size adds the share `weight_growth` of
    that weight. `units_per_day` is the sales of all variants together; 0 if unknown.
    """

    number: int
    brand: str
    name: str
    category: str
    price: float
    units_per_day: float
    parcel: tuple[int, int, int, int]
    colors: str = ""
    sizes: str = ""
    tags: str = ""
    price_step: float = 0.0
    weight_growth: float = 0.06


_CLOTHES = "XS S M L XL"

STYLES = (
    # Clothing
    Style(1101, "FNM", "Ridge Rain Jacket", "clothing", 149.0, 6.0, (540, 340, 260, 70), "Moss|Slate|Ochre", _CLOTHES),
    Style(1102, "FNM", "Longmoor Fleece", "clothing", 89.0, 5.0, (420, 330, 260, 80), "Oat|Spruce", _CLOTHES),
    Style(
        1103, "FNM", "Larkspur Merino Tee", "clothing", 64.0, 7.0, (180, 280, 220, 25),
        "Charcoal|Clay|Sage", "S M L XL",
    ),
    Style(1104, "FNM", "Switchback Trousers", "clothing", 98.0, 3.0, (460, 320, 250, 50), "Stone|Bark", "30 32 34 36"),
    Style(1105, "FNM", "Harbour Beanie", "accessories", 28.0, 6.0, (85, 230, 200, 30), "Rust|Navy|Oat", tags="gift"),
    Style(1106, "FNM", "Trail Sock, 2 pairs", "accessories", 24.0, 9.0, (130, 200, 120, 50), "Grey|Forest", "S M L"),
    Style(
        1107, "FNM", "Cinder Down Vest", "clothing", 129.0, 2.5, (310, 300, 240, 90),
        "Black|Moss", "S M L XL", "clearance",
    ),
    Style(
        1108, "FNM", "Bogtrotter Rain Boot", "footwear", 79.0, 2.8, (1650, 360, 330, 130),
        "Olive", "6 7 8 9 10 11 12",
    ),
    Style(1109, "FNM", "Saltflat Sun Hat", "accessories", 36.0, 2.0, (120, 310, 300, 110), "Sand|Sky", "SM LX"),
    Style(1110, "FNM", "Thicket Glove", "garden", 32.0, 1.6, (150, 260, 120, 40), "Tan", "S M L"),
    # Packs and bottles
    Style(1201, "TRN", "Millrace Daypack 22 L", "packs", 84.0, 4.0, (720, 480, 290, 120), "Tide|Moss|Rust|Black"),
    Style(1202, "TRN", "Cairn Backpack 48 L", "packs", 219.0, 1.2, (1480, 680, 340, 200), "Slate|Ochre", "SM ML"),
    Style(
        1203, "TRN", "Portage Duffel", "packs", 98.0, 2.4, (900, 400, 320, 110),
        "Black|Tide|Clay", "40L 60L 90L", "", 20.0, 0.2,
    ),
    Style(
        1204, "TRN", "Brook Bottle", "drinkware", 29.0, 46.0, (310, 260, 80, 80),
        "Moss|Tide|Rust|Oat|Plum|Black", "500 750 1000", "gift", 5.0, 0.25,
    ),
    Style(
        1205, "TRN", "Brook Tumbler 590 ml", "drinkware", 34.0, 38.0, (380, 240, 100, 100),
        "Moss|Tide|Rust|Oat|Plum|Black|Rose|Butter", tags="gift",
    ),
    Style(
        1206, "TRN", "Heron Dry Bag", "packs", 22.0, 3.6, (110, 280, 140, 30),
        "Tide|Sun|Black", "5L 10L 20L", "", 6.0, 0.3,
    ),
    Style(1207, "TRN", "Scree Trekking Poles, pair", "hiking", 118.0, 1.4, (560, 660, 130, 80), "Black|Ember"),
    Style(1208, "TRN", "Wren Hip Pack", "packs", 42.0, 5.5, (210, 280, 160, 70), "Plum|Moss|Butter|Black", tags="gift"),
    Style(
        1209, "TRN", "Floe Cooler", "camp", 189.0, 1.1, (6900, 520, 400, 420),
        "Ice|Spruce", "20L 45L", "oversize", 110.0, 0.8,
    ),
    # Shelter and sleep
    Style(1301, "BRK", "Hollow Tent", "shelter", 329.0, 1.5, (2300, 520, 180, 180), "Fern", "2P 3P 4P", "", 90.0, 0.3),
    Style(
        1302, "BRK", "Drift Sleeping Bag", "sleep", 189.0, 1.3, (1250, 420, 250, 250),
        "Dusk|Ember", "R L", "", 15.0, 0.1,
    ),
    Style(1303, "BRK", "Heath Sleeping Pad", "sleep", 109.0, 1.2, (620, 300, 130, 130), "Dusk", "R W", "", 20.0, 0.2),
    Style(
        1304, "BRK", "Loam Camp Chair", "camp", 74.0, 4.4, (3100, 960, 180, 170),
        "Moss|Rust|Oat|Tide|Black", tags="oversize",
    ),
    Style(1305, "BRK", "Treeline Hammock", "camp", 58.0, 2.2, (540, 230, 140, 120), "Tide|Sun|Fern|Plum"),
    Style(1306, "BRK", "Leeward Tarp", "shelter", 96.0, 0.8, (880, 330, 150, 120), "Fern|Sand", "3M 4M", "", 40.0, 0.4),
    Style(
        1307, "BRK", "Meadow Picnic Blanket", "camp", 62.0, 3.0, (1200, 380, 300, 120),
        "Clay|Sage|Navy|Plaid", tags="gift",
    ),
    Style(1308, "BRK", "Trestle Camp Table", "camp", 139.0, 0.7, (6200, 1020, 350, 110), "Oak|Ash", tags="oversize"),
    Style(1309, "BRK", "Burrow Camp Pillow", "sleep", 38.0, 1.9, (260, 260, 150, 110), "Dusk|Sage|Oat"),
    # Camp kitchen
    Style(1401, "QLM", "Matchstick Stove", "camp kitchen", 69.0, 2.1, (240, 140, 110, 90), "Steel|Black"),
    Style(
        1402, "QLM", "Isobutane Fuel", "camp kitchen", 6.5, 8.0, (200, 95, 95, 75),
        "", "110G 230G 450G", "hazardous", 3.0, 0.9,
    ),
    Style(1403, "QLM", "Billy Cookset", "camp kitchen", 84.0, 1.4, (740, 220, 200, 150), "", "2P 4P", "", 30.0, 0.4),
    Style(
        1404, "QLM", "Campfire Enamel Mug", "camp kitchen", 16.0, 34.0, (210, 120, 100, 95),
        "Cream|Moss|Tide|Rust|Plum|Black|Butter|Speckle", tags="gift",
    ),
    Style(
        1405, "QLM", "Campfire Enamel Plate", "camp kitchen", 18.0, 4.0, (340, 270, 270, 30),
        "Cream|Moss|Tide|Speckle",
    ),
    Style(1406, "QLM", "Spork & Knife Set", "camp kitchen", 21.0, 2.6, (110, 220, 60, 30), "Steel|Oak|Black"),
    Style(1407, "QLM", "Pour-Over Kit", "coffee", 48.0, 3.2, (680, 230, 180, 170), "Clear|Amber", tags="fragile gift"),
    Style(
        1408, "QLM", "Cast-Iron Skillet", "cookware", 39.0, 3.4, (1900, 380, 260, 60),
        "", "8IN 10IN 12IN", "", 12.0, 0.5,
    ),
    Style(
        1409, "QLM", "Noonday Food Jar", "camp kitchen", 36.0, 3.0, (390, 170, 110, 110),
        "Moss|Oat|Black", "350 500", "", 6.0, 0.2,
    ),
    Style(1410, "QLM", "Sparker Fire Steel", "camp kitchen", 19.0, 1.8, (70, 150, 60, 25)),
    Style(1411, "QLM", "Seven-Spice Tin", "camp kitchen", 26.0, 1.1, (240, 130, 130, 60), tags="gift best-before"),
    # Ceramics
    Style(
        1501, "PEL", "Hearth Stoneware Mug", "tableware", 24.0, 15.0, (420, 140, 120, 115),
        "Chalk|Moss|Indigo|Rust|Sand|Plum|Ink|Celadon", tags="fragile gift",
    ),
    Style(
        1502, "PEL", "Hearth Dinner Plate", "tableware", 28.0, 3.6, (780, 300, 300, 45),
        "Chalk|Moss|Indigo|Sand|Ink", tags="fragile",
    ),
    Style(
        1503, "PEL", "Hearth Bowl", "tableware", 26.0, 4.2, (520, 190, 190, 90),
        "Chalk|Moss|Indigo|Sand|Ink", tags="fragile",
    ),
    Style(
        1504, "PEL", "Long Table Platter", "tableware", 68.0, 0.8, (1650, 460, 240, 60),
        "Chalk|Indigo|Sand", tags="fragile gift",
    ),
    Style(
        1505, "PEL", "Kettlewell Teapot", "tableware", 72.0, 1.0, (1100, 260, 190, 180),
        "Chalk|Celadon|Ink|Rust", tags="fragile gift",
    ),
    Style(
        1506, "PEL", "Reed Vase", "decor", 44.0, 1.7, (900, 240, 150, 150),
        "Chalk|Celadon|Clay", "S M L", "fragile", 18.0, 0.6,
    ),
    Style(
        1507, "PEL", "Terrace Planter", "garden", 22.0, 3.8, (850, 130, 130, 120),
        "Clay|Chalk|Slate", "4IN 6IN 8IN", "fragile", 12.0, 0.9,
    ),
    Style(
        1508, "PEL", "Stoneware Candle", "decor", 34.0, 0.0, (560, 130, 110, 110),
        "Peat|Cedar|Fig|Salt", tags="launch fragile gift",
    ),
    # Home textiles
    Style(
        1601, "MRW", "Highfold Wool Throw", "textiles", 118.0, 3.3, (980, 360, 280, 110),
        "Oat|Moss|Rust|Indigo|Plaid|Ink", tags="gift",
    ),
    Style(
        1602, "MRW", "Highfold Cushion Cover", "textiles", 46.0, 2.7, (320, 300, 280, 40),
        "Oat|Moss|Rust|Indigo|Plaid|Ink",
    ),
    Style(1603, "MRW", "Linen Napkins, set of 4", "textiles", 38.0, 1.9, (240, 250, 180, 40), "Flax|Sage|Clay|Indigo"),
    Style(1604, "MRW", "Coir Door Mat", "textiles", 42.0, 1.2, (2100, 760, 460, 40), "Natural|Border"),
    Style(
        1605, "MRW", "Waffle Towel", "bath", 22.0, 4.1, (260, 280, 200, 60),
        "Chalk|Sage|Clay|Slate", "HAND BATH", "", 20.0, 1.0,
    ),
    Style(1606, "MRW", "Workshop Apron", "textiles", 54.0, 1.3, (430, 320, 240, 40), "Flax|Ink|Olive", tags="gift"),
    Style(
        1607, "MRW", "Winterbourne Quilt", "bedding", 228.0, 0.6, (2900, 520, 440, 240),
        "Oat|Indigo", "Q K", "oversize", 50.0, 0.2,
    ),
    # Light, tools and garden
    Style(
        1701, "DUN", "Wayside Lantern", "lighting", 59.0, 0.0, (430, 190, 120, 120),
        "Moss|Butter|Black|Rust", tags="launch gift",
    ),
    Style(1702, "DUN", "Pathfinder Head Torch", "lighting", 45.0, 2.9, (120, 120, 90, 70), "Black|Sun|Tide"),
    Style(
        1703, "DUN", "Orchard String Lights", "lighting", 32.0, 2.5, (480, 200, 160, 90),
        "", "5M 10M", "fragile", 14.0, 0.7,
    ),
    Style(
        1704, "DUN", "Whittler Pocket Knife", "tools", 64.0, 1.8, (140, 150, 70, 35),
        "Oak|Walnut|Black", tags="gift",
    ),
    Style(1705, "DUN", "Kindling Hatchet", "tools", 78.0, 0.7, (920, 400, 170, 50)),
    Style(1706, "DUN", "Trowel & Fork Set", "garden", 44.0, 1.4, (640, 360, 130, 70), "Ash|Walnut", tags="gift"),
    Style(
        1707, "DUN", "Rill Watering Can", "garden", 52.0, 1.1, (890, 430, 190, 300),
        "Moss|Butter|Slate", tags="oversize",
    ),
    Style(1708, "DUN", "Ashbowl Fire Pit", "garden", 299.0, 0.4, (15800, 640, 640, 340), tags="oversize"),
    Style(
        1709, "DUN", "Flint Power Bank", "electronics", 68.0, 2.0, (310, 160, 90, 40),
        "Black|Moss", "10K 20K", "hazardous", 24.0, 0.5,
    ),
)  # fmt: skip
