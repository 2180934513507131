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
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from serving.access.caller import Role
from serving.access.rates import Meters, Rate
from serving.access.tokens import LEEWAY_S, BadJwks, JwksFile, Tokens, read_jwks
from serving.memory.allowances import MemoryAllowances
from tests.access.build import AUDIENCE, ISSUER, Signer, signer, write_jwks

RSA, EC, ED = signer("RS256", "rsa"), signer("ES256", "ec"), signer("EdDSA", "ed")


def tokens(path: Path, *signers: Signer, role_claim: str = "role", rate: Rate | None = None) -> Tokens:
    file = JwksFile(write_jwks(path / "jwks.json", *signers))
    return Tokens(file, issuer=ISSUER, audience=AUDIENCE, role_claim=role_claim, rate=rate, meters=Meters(MemoryAllowances()))


@pytest.mark.parametrize("issuer", [RSA, EC, ED], ids=lambda s: s.algorithm)
def test_a_token_of_the_issuer_says_who_calls(tmp_path: Path, issuer: Signer) -> None:
    exp = int(time.time()) + 60
    caller = tokens(tmp_path, RSA, EC, ED).caller(issuer.token(exp=exp, policies=["a", "b"], aud=["else", AUDIENCE]))
    assert caller is not None
    assert (caller.id, caller.role, caller.policies, caller.expires_at) == ("jwt:alice", Role.WRITER, frozenset("ab"), exp + LEEWAY_S)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"exp": "soon"},
        {"exp": float("inf")},
        {"nbf": 4e9},
        {"iss": None},
        {"iss": "https://other.example"},
        {"aud": None},
        {"aud": "other"},
        {"sub": None},
        {"sub": "a" * 257},
        {"sub": "a\nb"},
        {"role": None},
        {"role": "root"},
        {"role": ["admin"]},
        {"policies": None},
        {"policies": "tips"},
        {"policies": [1]},
        {"policies": {"tips": 1}},
    ],
    ids=str,
)
def test_a_token_that_lacks_anything_is_nobodys(tmp_path: Path, claims: dict[str, Any]) -> None:
    assert tokens(tmp_path, EC).caller(EC.token(**claims)) is None


def test_clocks_may_differ_a_little_and_no_more(tmp_path: Path) -> None:
    door, now = tokens(tmp_path, EC), time.time()
    assert door.caller(EC.token(exp=now - LEEWAY_S + 5)) is not None
    assert door.caller(EC.token(exp=now - LEEWAY_S - 1)) is None


def test_the_claim_of_the_role_has_the_name_it_was_given(tmp_path: Path) -> None:
    door = tokens(tmp_path, EC, role_claim="https://ooml.example/role")
    claims: dict[str, Any] = {"role": "admin", "https://ooml.example/role": "reader"}
    caller = door.caller(EC.token(**claims))
    assert caller is not None
    assert caller.role is Role.READER


def test_tokens_of_a_subject_share_its_rate(tmp_path: Path) -> None:
    door = tokens(tmp_path, EC, rate=Rate(5, 5))
    one, two, other = door.caller(EC.token()), door.caller(EC.token(jti="2")), door.caller(EC.token(sub="bob"))
    assert one is not None and two is not None and other is not None  # noqa: PT018
    assert one.meter is two.meter
    assert one.meter is not other.meter


def _forged(header: dict[str, Any], secret: bytes | None) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "eve", "exp": time.time() + 60, "role": "admin", "policies": "*"}
    signed = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims))
    signature = b"" if secret is None else hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_a_token_without_a_signature_is_nobodys(tmp_path: Path) -> None:
    for alg in ("none", "None", "NONE", "", None):
        assert tokens(tmp_path, RSA).caller(_forged({"alg": alg, "kid": "rsa"}, None)) is None


def test_a_public_key_is_never_taken_for_a_shared_secret(tmp_path: Path) -> None:
    public = RSA.private.public_key()
    texts = [public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), public.public_bytes(Encoding.DER, PublicFormat.PKCS1)]
    for secret in (*texts, texts[0].strip(), json.dumps(RSA.public).encode(), b""):
        assert tokens(tmp_path, RSA).caller(_forged({"alg": "HS256", "kid": "rsa", "typ": "JWT"}, secret)) is None


def test_a_signature_counts_only_with_the_key_it_names_and_that_keys_algorithm(tmp_path: Path) -> None:
    door = tokens(tmp_path, RSA, EC)
    assert door.caller(RSA.token()) is not None
    for token in (
        RSA.token("RS512"),
        RSA.token("PS256"),
        RSA.token(headers={"kid": "ec"}),
        RSA.token(headers={"kid": "gone"}),
        ED.token(headers={"kid": "rsa"}),
        signer("RS256", "other").token(headers={"kid": "rsa", "jwk": signer("RS256", "other").public, "jku": "https://eve.example"}),
        jwt.encode({"sub": "x"}, RSA.private, "RS256"),
        f"{RSA.token(jti='one').rpartition('.')[0]}.{RSA.token(jti='another').rpartition('.')[2]}",
        "a.b.c",
        "..",
        "",
    ):
        assert door.caller(token) is None


async def test_keys_are_rotated_by_writing_the_file_anew(tmp_path: Path) -> None:
    file = JwksFile(write_jwks(tmp_path / "j", EC))
    before = file.keys
    await file.refresh()
    assert file.keys is before
    write_jwks(tmp_path / "j", EC, ED)
    await file.refresh()
    assert set(file.keys) == {"ec", "ed"}
    write_jwks(tmp_path / "j", ED)
    await file.refresh()
    assert set(file.keys) == {"ed"}


async def test_a_file_that_is_of_no_use_leaves_the_keys_as_they_were(tmp_path: Path) -> None:
    file = JwksFile(write_jwks(tmp_path / "j", EC))
    (tmp_path / "j").write_text("{")
    for _ in range(2):
        with pytest.raises(BadJwks, match="must look like"):
            await file.refresh()
    (tmp_path / "j").unlink()
    with pytest.raises(BadJwks, match="cannot be read: No such file"):
        await file.refresh()
    assert set(file.keys) == {"ec"}


SHORT: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(generate_private_key(65_537, 1024).public_key()))  # noqa: S505  that is the point


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([], "holds no key"),
        ([{"kty": "oct", "kid": "s", "k": "aHVudGVyMg"}], "only public keys"),
        ([{**EC.public, "d": "hunter2"}], "only public keys"),
        ([{k: v for k, v in EC.public.items() if k != "kid"}], "needs a kid"),
        ([{**RSA.public, "alg": "HS256"}], "must be for RS256"),
        ([{**RSA.public, "alg": "RS512"}], "must be for RS256"),
        ([{**EC.public, "crv": "P-384"}], "must be for RS256"),
        ([{**SHORT, "kid": "short"}], "at least 2048 bits"),
        ([{**EC.public, "x": "hunter2"}], "must look like"),
        (["hunter2"], "must look like"),
    ],
)
def test_a_file_of_anything_but_public_keys_is_refused_and_not_quoted(tmp_path: Path, entries: list[Any], why: str) -> None:
    (tmp_path / "j").write_text(json.dumps({"keys": entries}))
    with pytest.raises(BadJwks, match=why) as refused:
        read_jwks(tmp_path / "j")
    assert "hunter2" not in str(refused.value)
