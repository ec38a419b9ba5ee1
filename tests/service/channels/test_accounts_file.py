"""`channels.yaml`: what it may say, and where each mistake in it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.channels.accounts import Account, Accounts, Disposition, SecretMissing, SecretSource
from service.channels.accounts_file import AccountsFileError, read_accounts
from service.channels.platforms import installed_platforms

ACCOUNT = """
token_keys: {env: TOKEN_KEYS}
accounts:
  - name: tiktok-us
    platform: tiktok_shop
    channel: tiktok_shop
    shop: "7495987383262087496"
    public_url: https://hooks.example.com
    secrets:
      app_key: {env: TIKTOK_APP_KEY}
      app_secret: {file: secrets/tiktok}
      previous_app_secret: {env: TIKTOK_OLD_SECRET}
    returns: {location: dc, disposition: sellable}
"""


def read(text: str) -> Accounts:
    return read_accounts("channels.yaml", text.encode(), installed_platforms())


def problems(text: str) -> list[str]:
    with pytest.raises(AccountsFileError) as caught:
        read(text)
    return [f"{problem.line}:{problem.column} {problem.message}" for problem in caught.value.problems]


def test_an_account_says_which_shop_is_which_channel_and_where_its_secrets_are() -> None:
    accounts = read(ACCOUNT)

    assert accounts.token_keys == SecretSource("env", "TOKEN_KEYS")
    account = accounts.by_name["tiktok-us"]
    assert account.webhook_url == "https://hooks.example.com/webhooks/tiktok-us"
    assert account.secrets["app_secret"] == SecretSource("file", "secrets/tiktok")
    assert (account.returns_location, account.returns_disposition) == ("dc", Disposition.SELLABLE)


def test_a_new_secret_is_used_beside_the_one_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tiktok").write_text("new\n")
    monkeypatch.setenv("TIKTOK_OLD_SECRET", "old")

    account = read(ACCOUNT.replace("secrets/tiktok", str(tmp_path / "tiktok"))).by_name["tiktok-us"]

    assert account.secret_versions("app_secret") == ["new", "old"]


def test_a_secret_that_is_not_there_is_named() -> None:
    account = read(ACCOUNT).by_name["tiktok-us"]

    with pytest.raises(SecretMissing, match="environment variable TIKTOK_APP_KEY is empty or not set"):
        account.secret("app_key")


@pytest.mark.parametrize(
    ("was", "written", "problem"),
    [
        ("platform: tiktok_shop", "platform: tiktok", "5:15 'platform' cannot be 'tiktok'"),
        ("channel: tiktok_shop", "channel: TikTok", "6:14 'channel' cannot be 'TikTok'"),
        ("https://hooks", "http://hooks", "8:17 'public_url' is not an https address"),
        ("app_key: {env: TIKTOK_APP_KEY}", "app_key: 6a1b2c3d", "10:16 'app_key' does not say where the secret is"),
        ("{env: TIKTOK_APP_KEY}", "{env: 6a1b-2c3d}", "10:22 'env' is not the name of an environment variable"),
        ("      app_key: {env: TIKTOK_APP_KEY}\n", "", "10:7 'secrets' has no 'app_key'"),
        ("    returns:", "    mode: publish\n    returns:", "13:11 'mode' cannot be 'publish' yet"),
        (
            "    returns:",
            "    api_url: https://example.com\n    returns:",
            "13:14 'api_url' is not an address on this machine",
        ),
        ("sellable", "fine", "13:42 'disposition' cannot be 'fine'"),
        ("token_keys: {env: TOKEN_KEYS}\n", "", "2:1 the accounts file has no 'token_keys'"),
    ],
)
def test_a_mistake_has_its_line_and_column(was: str, written: str, problem: str) -> None:
    assert problems(ACCOUNT.replace(was, written)) == [problem]


def test_a_secret_that_was_written_into_the_file_is_in_no_message() -> None:
    text = ACCOUNT.replace("{env: TIKTOK_APP_KEY}", "6a1b2c3d4e5f")

    with pytest.raises(AccountsFileError) as caught:
        read(text)

    assert "6a1b2c3d4e5f" not in str(caught.value)


def test_two_accounts_cannot_feed_one_channel() -> None:
    second = ACCOUNT.split("accounts:\n")[1].replace("name: tiktok-us", "name: tiktok-uk")

    assert any("account of the channel" in problem for problem in problems(ACCOUNT + second))


def test_the_webhook_address_is_the_configured_one() -> None:
    account = Account("a", "tiktok_shop", "tiktok_shop", "1", "https://hooks.example.com", {})

    assert account.webhook_url == "https://hooks.example.com/webhooks/a"
