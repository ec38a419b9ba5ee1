"""JSON Web Tokens: only those that the issuer signed for us, and only while they are valid."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.auth.authentication import Authentication
from service.auth.issuer import Issuer, KeysError
from service.auth.json_web_tokens import JsonWebTokens
from service.errors import Unauthenticated

ISSUER = Issuer("https://id.example", "truestock", "keys.json")
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    stated = {"iss": "https://id.example", "aud": "truestock", "sub": "shop", "iat": now, "exp": now + 600}
    return {name: value for name, value in {**stated, **changed}.items() if value is not None}


def signed(key: Any = KEY, algorithm: str = "ES256", kid: str | None = "1", **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm, {"kid": kid} if kid else None)


def public(key: Any, kid: str = "1", **more: str) -> dict[str, Any]:
    kinds: dict[type, Any] = {
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    algorithm = next(algorithm for kind, algorithm in kinds.items() if isinstance(key, kind))
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig", **more}


@pytest.fixture
def tokens(tmp_path: Path) -> JsonWebTokens:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [public(KEY)]}))
    return JsonWebTokens.read(ISSUER, tmp_path)


def test_a_token_of_the_issuer_names_its_subject(tokens: JsonWebTokens) -> None:
    assert tokens.subject(signed()) == "shop"
    assert tokens.subject(signed(kid=None)) == "shop"
    assert tokens.subject(signed(aud=["other", "truestock"])) == "shop"


@pytest.mark.parametrize("key", [rsa.generate_private_key(65_537, 2_048), ed25519.Ed25519PrivateKey.generate()])
def test_keys_of_each_kind_are_accepted(key: Any, tmp_path: Path) -> None:
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "EdDSA"
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [public(KEY), public(key, "2", alg=algorithm)]}))
    tokens = JsonWebTokens.read(ISSUER, tmp_path)

    assert tokens.subject(signed(key, algorithm, "2")) == "shop"
    assert tokens.subject(signed(key, algorithm, "1")) is None


def test_clocks_may_differ_by_half_a_minute(tokens: JsonWebTokens) -> None:
    now = int(time.time())

    assert tokens.subject(signed(exp=now - 15)) == "shop"
    assert tokens.subject(signed(nbf=now + 15)) == "shop"


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(signed(exp=int(time.time()) - 60), id="expired"),
        pytest.param(signed(nbf=int(time.time()) + 3_600), id="not valid yet"),
        pytest.param(signed(exp=None), id="without an end"),
        pytest.param(signed(aud="other"), id="for another audience"),
        pytest.param(signed(aud=None), id="for no audience"),
        pytest.param(signed(iss="https://evil.example"), id="of another issuer"),
        pytest.param(signed(sub=None), id="without a subject"),
        pytest.param(signed(OTHER_KEY), id="signed with another key"),
        pytest.param(signed(kid="2"), id="of a key that is not known"),
        pytest.param(jwt.encode(claims(), "", "none", {"kid": "1"}), id="not signed"),
        pytest.param(signed()[:-4], id="cut short"),
        pytest.param(signed().rpartition(".")[0] + ".", id="without its signature"),
        pytest.param("a.b.c", id="no token"),
        pytest.param("", id="empty"),
    ],
)
def test_no_other_token_names_anybody(tokens: JsonWebTokens, token: str) -> None:
    assert tokens.subject(token) is None


def test_a_token_signed_with_the_public_key_as_a_secret_names_nobody(tokens: JsonWebTokens) -> None:
    """The public key is known to everybody; a library that takes the algorithm from the token would accept it."""
    secret = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def part(value: dict[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    body = part({"alg": "HS256", "typ": "JWT", "kid": "1"}) + b"." + part(claims())
    signature = base64.urlsafe_b64encode(hmac.new(secret, body, hashlib.sha256).digest()).rstrip(b"=")

    assert tokens.subject((body + b"." + signature).decode()) is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is no JSON Web Key Set"),
        ("[]", "is no JSON Web Key Set"),
        ('{"keys": [7]}', "is no JSON Web Key Set"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "1"}]}', "symmetric keys"),
    ],
)
def test_keys_that_cannot_be_used_are_named(content: str | None, problem: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "keys.json").write_text(content)
    with pytest.raises(KeysError, match=problem):
        JsonWebTokens.read(ISSUER, tmp_path)


async def test_a_token_calls_as_the_principal_with_its_subject_until_the_keys_change(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [public(KEY)]}))
    (tmp_path / "access.yaml").write_text(
        "principals: [{name: adapter, roles: [read], subjects: [shop]}]\n"
        "jwt: {issuer: https://id.example, audience: truestock, keys: keys.json}\n"
    )
    authentication = Authentication(tmp_path / "access.yaml")
    metadata = [("authorization", f"Bearer {signed()}")]

    found = authentication.by_metadata(metadata)
    assert found is not None
    assert found.name == "adapter"
    with pytest.raises(Unauthenticated):
        authentication.by_metadata([("authorization", f"Bearer {signed(sub='other')}")])

    (tmp_path / "keys.json").write_text(json.dumps({"keys": [public(OTHER_KEY)]}))
    await authentication.reload()
    with pytest.raises(Unauthenticated):
        authentication.by_metadata(metadata)


async def test_keys_that_disappear_are_said_once_and_the_last_ones_stay_in_force(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [public(KEY)]}))
    (tmp_path / "access.yaml").write_text(
        "principals: [{name: adapter, roles: [read], subjects: [shop]}]\n"
        "jwt: {issuer: https://id.example, audience: truestock, keys: keys.json}\n"
    )
    authentication = Authentication(tmp_path / "access.yaml")
    keys.unlink()

    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await authentication.reload()

    assert [line["log_level"] for line in logs] == ["error"]
    assert authentication.by_metadata([("authorization", f"Bearer {signed()}")]) is not None
