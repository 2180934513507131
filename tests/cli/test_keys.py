from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import pytest
from typer.testing import CliRunner, Result

from cli.embedded import EmbeddedServer, free_port
from cli.main import app
from serving.access.caller import Role
from serving.access.keys import Key, KeyId, opens, parse_credential
from serving.access.rates import Rate
from serving.redis.keyring import load
from tests.catalog.samples import client_of

DAY_S = 86_400.0


@pytest.fixture(autouse=True)
def _at(clean_valkey: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOML_REDIS_URL", clean_valkey.url)


def keys(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def make(*options: str) -> str:
    done = keys("make", "--name", "shop app", "--role", "writer", "--policy", "tips", *options)
    assert done.exit_code == 0, done.output
    return done.stdout


def kept(server: EmbeddedServer) -> Mapping[KeyId, Key]:
    async def read() -> Mapping[KeyId, Key]:
        async with client_of(server) as client:
            return (await load(client)).keys

    return asyncio.run(read())


def test_a_key_is_made_and_its_credential_alone_goes_to_stdout(clean_valkey: EmbeddedServer) -> None:
    out = make("--policy", "shop", "--rate", "500")
    parsed = parse_credential(out.removesuffix("\n"))
    assert parsed is not None
    (made,) = kept(clean_valkey).values()
    assert made.id == parsed[0]
    assert opens(made, parsed[1])
    assert (made.name, made.role, made.policies, made.rate) == ("shop app", Role.WRITER, frozenset({"tips", "shop"}), Rate(500.0, 500))
    assert made.expires_at == made.created_at + 90 * DAY_S


def test_what_is_said_beside_it_holds_no_secret(clean_valkey: EmbeddedServer) -> None:
    done = keys("make", "--name", "ops", "--role", "admin", "--policy", "*", "--expires", "never", "--rate", "1", "--burst", "9")
    secret = done.stdout.strip().split("_", 2)[2]
    (made,) = kept(clean_valkey).values()
    assert (made.policies, made.expires_at, made.rate) == (None, None, Rate(1.0, 9))
    assert f"key {made.id}: ops (admin of all policies, 1/s (burst 9))" in done.stderr
    listed = keys("list").output
    assert re.match(rf"{made.id}  active   ops \(admin of all policies, 1/s \(burst 9\)\), made \S+ \S+Z, until for ever$", listed.strip())
    for text in (done.stderr, listed):
        assert secret not in text
        assert made.digest not in text


def test_a_revoked_key_is_listed_as_such(clean_valkey: EmbeddedServer) -> None:
    key_id = make().split("_")[1]
    assert "is revoked" in keys("revoke", key_id).stderr
    (made,) = kept(clean_valkey).values()
    assert made.revoked_at is not None
    assert "was revoked before" in keys("revoke", key_id).stderr
    assert kept(clean_valkey)[KeyId(key_id)].revoked_at == made.revoked_at
    assert f"{key_id}  revoked  shop app (writer of tips)" in keys("list").stdout


def test_rotation_makes_a_key_alike_and_lets_the_old_one_end(clean_valkey: EmbeddedServer) -> None:
    old_id = KeyId(make("--rate", "5").split("_")[1])
    old = kept(clean_valkey)[old_id]
    done = keys("rotate", old_id, "--overlap", "2h", "--expires", "10d")
    parsed = parse_credential(done.stdout.strip())
    assert parsed is not None
    now = kept(clean_valkey)
    new, ending = now[parsed[0]], now[old_id]
    assert (new.name, new.role, new.policies, new.rate, new.expires_at) == (
        old.name,
        old.role,
        old.policies,
        old.rate,
        new.created_at + 10 * DAY_S,
    )
    assert (ending.digest, ending.expires_at) == (old.digest, new.created_at + 7200)
    assert opens(new, parsed[1])
    assert not opens(ending, parsed[1])
    keys("rotate", old_id, "--overlap", "30d")
    assert kept(clean_valkey)[old_id].expires_at == ending.expires_at  # never later than it would have been
    keys("revoke", old_id)
    assert "is revoked: make a new one" in keys("rotate", old_id).stderr


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--role", "root"), "must be reader, writer, admin"),
        (("--expires", "soon"), "must be a duration"),
        (("--expires", "0d"), "must be a duration"),
        (("--rate", "-1"), "must be 0, or"),
        (("--rate", "nan"), "must be 0, or"),
        (("--burst", "5"), "goes with --rate"),
        (("--name", "a\nb"), "printable characters"),
        (("--name", ""), "printable characters"),
    ],
)
def test_a_mistake_is_told_and_makes_no_key(clean_valkey: EmbeddedServer, options: tuple[str, ...], why: str) -> None:
    done = keys("make", "--name", "n", "--role", "writer", "--policy", "tips", *options)
    assert done.exit_code == 2
    assert why in re.sub(r"[\s│]+", " ", done.stderr)
    assert done.stdout == ""
    assert kept(clean_valkey) == {}


def test_an_unknown_id_is_not_repeated() -> None:
    for command in ("revoke", "rotate"):
        done = keys(command, "ooml_secret")
        assert (done.exit_code, done.stdout) == (1, "")
        assert "no key has that id" in done.stderr
        assert "secret" not in done.stderr


def test_a_store_that_is_away_is_told_in_a_line() -> None:
    done = keys("list", "--redis-url", f"redis://127.0.0.1:{free_port()}")
    assert done.exit_code == 1
    assert "the store cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
