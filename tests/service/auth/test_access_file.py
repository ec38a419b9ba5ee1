"""Access files: what they say, and the problems that they can have."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.auth.access_file import AccessFileError, read_access
from service.auth.authentication import Authentication
from service.auth.file_content import LARGEST_FILE
from service.auth.principals import Role
from service.auth.tokens import Token, Tokens, digest_of, new_token

DIGEST = "ab" * 32
PRINCIPAL = "principals:\n  - name: shop\n    roles: [read]\n"


def test_a_principal_is_found_by_token_certificate_and_subject() -> None:
    token = new_token()
    access = read_access(
        "access.yaml",
        f"{PRINCIPAL}    tokens:\n"
        f"      - {{sha256: {digest_of(token).hex()}, created: 2026-11-27, expires: 9999-12-31}}\n"
        "    channels: [shopify]\n    locations: [dc, store-1]\n"
        "    certificates: [shop.example]\n    subjects: ['auth0|7']\n    on_behalf_of: true\n"
        "jwt: {issuer: https://id.example, audience: truestock, keys: keys.json}\n".encode(),
    )

    found = access.tokens.principal(token)
    assert found is not None
    assert (found.name, set(found.roles), found.on_behalf_of) == ("shop", {Role.READ}, True)
    assert (sorted(found.channel_ids or ()), sorted(found.location_ids or ())) == (["shopify"], ["dc", "store-1"])
    assert access.by_certificate == {"shop.example": found}
    assert access.by_subject == {"auth0|7": found}
    assert access.issuer is not None
    assert access.issuer.keys == "keys.json"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: the file is empty"),
        ("principals: []\n", "1:13: 'principals' is an empty list"),
        ("principal: []\n", "1:1: the access file has no key 'principal'"),
        (PRINCIPAL.replace("[read]", "[reed]"), "3:13: a role cannot be 'reed'"),
        (PRINCIPAL.replace("[read]", "read"), "3:12: 'roles' must be a list"),
        (PRINCIPAL.replace("shop", "Shop 1"), "2:11: 'name' cannot be 'Shop 1'"),
        (PRINCIPAL + "  - name: shop\n    roles: [read]\n", "4:11: a principal named 'shop' already exists"),
        (PRINCIPAL + "    tokens: [{sha256: tst_secret}]\n", "4:23: 'sha256' is no SHA-256 digest"),
        (PRINCIPAL + f"    tokens: [{{sha256: {DIGEST}}}, {{sha256: {DIGEST}}}]\n", "a token with the digest"),
        (PRINCIPAL + f"    tokens: [{{sha256: {DIGEST}, expires: 2026-02-30}}]\n", "'expires' must be a date"),
        (PRINCIPAL + "    certificates: [a, a]\n", "an entry of 'certificates' 'an entry of"),
        (PRINCIPAL + "    on_behalf_of: yes\n", "'on_behalf_of' must be true or false"),
        (PRINCIPAL + "    channels: []\n", "'channels' is an empty list"),
        (PRINCIPAL + "    channels: shopify\n", "'channels' must be a list"),
        (PRINCIPAL + "jwt: {issuer: a}\n", "'jwt' has no 'audience'"),
    ],
)
def test_problems_are_named_with_their_place(text: str, problem: str) -> None:
    with pytest.raises(AccessFileError) as refused:
        read_access("access.yaml", text.encode())

    assert problem in str(refused.value)


def test_a_secret_in_the_file_is_not_repeated_in_its_problem() -> None:
    with pytest.raises(AccessFileError) as refused:
        read_access("access.yaml", (PRINCIPAL + "    tokens: [{sha256: tst_secret}]\n").encode())

    assert "tst_secret" not in str(refused.value)


def test_a_token_whose_digest_only_begins_like_a_known_one_is_nobodys() -> None:
    token = new_token()
    known = digest_of(token)
    access = read_access("access.yaml", PRINCIPAL.encode())
    tokens = Tokens([Token(known[:8] + bytes(24), access.principals[0])])

    assert tokens.principal(token) is None


def test_new_tokens_differ_and_can_be_recognized() -> None:
    tokens = {new_token() for _ in range(100)}

    assert len(tokens) == 100
    assert all(token.startswith("tst_") and len(token) == 47 for token in tokens)


def test_a_file_that_is_too_large_is_not_read_in_part(tmp_path: Path) -> None:
    """The principals after the first mebibyte would be missing without a word."""
    file = tmp_path / "access.yaml"
    file.write_text(PRINCIPAL + "# " + "x" * LARGEST_FILE)

    with pytest.raises(OSError, match="too large"):
        Authentication(file)


async def test_calls_are_answered_while_a_changed_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "access.yaml"
    file.write_text(PRINCIPAL)
    authentication = Authentication(file)
    file.write_text("principals:\n" + "".join(f"  - {{name: shop-{n}, roles: [read]}}\n" for n in range(300)))

    reading, turns = asyncio.create_task(authentication.reload()), 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns > 10
    assert authentication.access is not None
    assert len(authentication.access.principals) == 300
