"""`ooml keys`: make, list, rotate and revoke API keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from serving.access.keys import Key, KeyId
    from serving.redis.connect import Client

T = TypeVar("T")

MOST_PER_S, LONGEST_NAME = 1e6, 64
LEAST_PER_S = 0.001

app = typer.Typer(
    help="API keys: who may call a server that asks for credentials.",
    epilog="Servers ask for credentials beyond loopback, or with OOML_AUTH=required. What each role may call: docs/security.md.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
RedisUrl = Annotated[str | None, typer.Option(help="Where keys are kept. Default: OOML_REDIS_URL, else redis://127.0.0.1:6379/0.")]
KeyArgument = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `ooml keys list` shows it: 12 hex digits.")]
Expires = Annotated[str, typer.Option(help="How long it is good, as in 12h or 90d; `never` for a key without an end.")]


@app.command()
def make(
    name: Annotated[str, typer.Option(help="Whose key it is, for people and lists.")],
    role: Annotated[
        str, typer.Option(help="reader (looks), writer (reader, and decides and rewards) or admin (writer, and forgets people).")
    ],
    policy: Annotated[list[str], typer.Option(help="A policy it is good for; again for more. '*' for all, published later ones too.")],
    expires: Expires = "90d",
    rate: Annotated[
        float, typer.Option(help="Requests per second, over all servers together; 0 for no limit. Items of a batch count.")
    ] = 0.0,
    burst: Annotated[
        int | None, typer.Option(min=1, max=1_000_000_000, help="Requests at once, after a rest. Default: a second's worth.")
    ] = None,
    redis_url: RedisUrl = None,
) -> None:
    """Make a key. The credential goes to stdout, this once: only a digest of it is kept. Running servers take it up within two seconds.

    Callers send it as the metadata `authorization: Bearer CREDENTIAL`.

    **Examples**

    `ooml keys make --name shop --role writer --policy tips --rate 500`

    `ooml keys make --name ops --role admin --policy '*' --expires 12h > credential.txt`
    """
    from serving.access.keys import Key, new_secret, scope_of
    from serving.access.rates import Rate

    now = time.time()
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable()):
        raise typer.BadParameter(f"must be 1 to {LONGEST_NAME} printable characters", param_hint="--name")
    if rate and not LEAST_PER_S <= rate <= MOST_PER_S:
        raise typer.BadParameter(f"must be 0, or {LEAST_PER_S} to {MOST_PER_S:g}", param_hint="--rate")
    if burst and not rate:
        raise typer.BadParameter("goes with --rate", param_hint="--burst")
    key_id, credential, digest = new_secret()
    scope = scope_of("*" if "*" in policy else policy)
    key = Key(key_id, name, digest, _role(role), scope, Rate.of(rate, burst), now, _end(expires, now, "--expires"))
    _run(redis_url, lambda client: _put(client, lambda _: [key]))
    typer.echo(f"key {key_id}: {_described(key, now)}. The credential is shown this once:", err=True)
    typer.echo(credential)


@app.command(name="list")
def list_(redis_url: RedisUrl = None) -> None:
    """List the keys, newest first; never their credentials."""
    from serving.redis.keyring import load

    reading = _run(redis_url, load)
    now = time.time()
    if not reading.keys:
        typer.echo("no keys; `ooml keys make --help` tells how to make one", err=True)
    for key in sorted(reading.keys.values(), key=lambda key: -key.created_at):
        typer.echo(f"{key.id}  {key.state(now):7}  {_described(key, now)}")
    for key_id in sorted(reading.unreadable):
        typer.echo(f"{key_id}: its record cannot be read, so it lets nobody in", err=True)


@app.command()
def revoke(key_id: KeyArgument, redis_url: RedisUrl = None) -> None:
    """Revoke a key, for good: within two seconds it is refused everywhere, on open streams too."""
    from dataclasses import replace

    now = time.time()

    def edit(keys: Mapping[KeyId, Key]) -> list[Key]:
        key = _known(keys, key_id)
        return [] if key.revoked_at is not None else [replace(key, revoked_at=now)]

    done = _run(redis_url, lambda client: _put(client, edit))
    typer.echo(f"key {key_id} is revoked" if done else f"key {key_id} was revoked before", err=True)


@app.command()
def rotate(
    key_id: KeyArgument,
    overlap: Annotated[str, typer.Option(help="How long the old credential stays good beside the new one.")] = "1d",
    expires: Expires = "90d",
    redis_url: RedisUrl = None,
) -> None:
    """Make a key like another, and let that one end after an overlap. The new credential goes to stdout, this once."""
    from dataclasses import replace

    from serving.access.keys import new_secret

    now = time.time()
    new_id, credential, digest = new_secret()
    ends, new_ends = _end(overlap, now, "--overlap"), _end(expires, now, "--expires")
    if ends is None:
        raise typer.BadParameter("must have an end, as in 1d", param_hint="--overlap")

    def edit(keys: Mapping[KeyId, Key]) -> list[Key]:
        old = _known(keys, key_id)
        if old.state(now) != "active":
            _fail(f"key {key_id} is {old.state(now)}: make a new one with `ooml keys make`")
        new = replace(old, id=new_id, digest=digest, created_at=now, expires_at=new_ends)
        return [replace(old, expires_at=ends if old.expires_at is None else min(ends, old.expires_at)), new]

    old, new = _run(redis_url, lambda client: _put(client, edit))
    typer.echo(f"key {old.id} ends {_day(old.expires_at)}; key {new.id}: {_described(new, now)}. It is shown this once:", err=True)
    typer.echo(credential)


async def _put(client: Client, edit: Callable[[Mapping[KeyId, Key]], list[Key]]) -> list[Key]:
    from serving.redis.keyring import change

    return await change(client, edit)


def _run(redis_url: str | None, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
    """Do work on the Redis that keeps the keys."""
    from serving.ports import Unavailable
    from serving.redis.connect import connect
    from serving.settings import SettingsError, load

    async def run() -> T:
        client = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster, timeout_s=settings.redis_timeout_s)
        try:
            return await work(client)
        finally:
            await client.aclose()

    try:
        settings = load(redis_url=redis_url)
        return asyncio.run(run())
    except SettingsError as error:
        _fail(str(error))
    except Unavailable as error:
        _fail(f"{error} at {settings.redis_address} ({error.__cause__}). Is it running? --redis-url names another")


def _known(keys: Mapping[KeyId, Key], key_id: str) -> Key:
    from serving.access.keys import KeyId

    key = keys.get(KeyId(key_id))
    if key is None:
        _fail("no key has that id; `ooml keys list` shows them")  # it is not repeated: somebody may have given a credential
    return key


def _role(text: str) -> Any:
    from serving.access.caller import Role

    try:
        return Role(text)
    except ValueError:
        raise typer.BadParameter(f"must be {', '.join(role.value for role in Role)}", param_hint="--role") from None


def _end(text: str, now: float, option: str) -> float | None:
    """When something that lasts so long from now on ends; None: never."""
    from policies.duration import MAX_DURATION_S, duration_seconds

    if text == "never":
        return None
    seconds = duration_seconds(text)
    if seconds is None or not 0 < seconds <= MAX_DURATION_S:
        raise typer.BadParameter("must be a duration, as in 90d, 12h or 30m", param_hint=option)
    return now + seconds


def _described(key: Key, now: float) -> str:
    policies = "all policies" if key.policies is None else ", ".join(sorted(key.policies)) or "no policy"
    rate = f", {key.rate.per_s:g}/s (burst {key.rate.burst})" if key.rate else ""
    end = f"revoked {_day(key.revoked_at)}" if key.revoked_at else f"until {_day(key.expires_at)}"
    return f"{key.name} ({key.role.value} of {policies}{rate}), made {_day(key.created_at)}, {end}"


def _day(seconds: float | None) -> str:
    return "for ever" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}Z"


def _fail(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(1)
