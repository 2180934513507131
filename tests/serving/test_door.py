"""Where a server listens, in clear or not, and what it refuses before it does."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cli.embedded import EmbeddedServer, free_port
from serving.settings import SettingsError, check_door, load
from serving.transport.server import SERVICES
from tests.certificates import Authority, Issued, with_passphrase
from tests.serving.server import OOML, environment, health, score, scrape, serving
from tests.serving.waiting import eventually

NOWHERE = "192.0.2.1"
"""An address that no machine has: whoever may listen on it fails to."""


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    return Authority(tmp_path, "authority").issue("server")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_where_only_this_machine_listens_calls_may_come_in_clear(host: str) -> None:
    check_door(load(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "ooml.example"])  # noqa: S104
@pytest.mark.parametrize("mode", ["development", "production", None])
def test_where_others_can_listen_calls_come_encrypted_or_somebody_says_why_not(host: str, mode: str | None, issued: Issued) -> None:
    with pytest.raises(SettingsError, match=r"^OOML_HOST: .* calls would come in clear\. Set OOML_TLS_CERT_FILE and .*--insecure"):
        check_door(load(host=host, mode=mode))
    check_door(load(host=host, mode=mode, insecure=True))
    check_door(load(host=host, mode=mode, tls_cert_file=issued.certificate, tls_key_file=issued.key))


@pytest.mark.parametrize("given", ["tls_cert_file", "tls_key_file", "tls_client_ca_file"])
def test_half_of_the_files_is_a_mistake_and_never_a_server_in_clear(given: str, issued: Issued) -> None:
    with pytest.raises(SettingsError, match=r"^OOML_TLS_CERT_FILE and OOML_TLS_KEY_FILE go together"):
        check_door(load(**{given: issued.certificate}, insecure=True))


def _swap_key(issued: Issued) -> None:
    issued.key.write_bytes(Authority(issued.key.parent, "stranger").issue("server").key.read_bytes())


SPOILS: dict[str, Callable[[Issued], object]] = {
    "{cert} cannot be read: No such file or directory": lambda issued: issued.certificate.unlink(),
    "{key} cannot be read: No such file or directory": lambda issued: issued.key.unlink(),
    "{cert} holds no certificate in PEM, or one that is cut off": lambda issued: issued.certificate.write_text("hunter2"),
    "{key} holds no private key in PEM, or one that is cut off": lambda issued: issued.key.write_text(
        issued.key.read_text()[:100] + "hunter2"
    ),
    "{key} is not the key of the certificate in {cert}": _swap_key,
    "{key} has a passphrase, and nobody is there to type it; take it off with `openssl pkey`": lambda issued: with_passphrase(
        issued.key, "hunter2"
    ),
}


@pytest.mark.parametrize("why", SPOILS)
def test_files_that_cannot_be_used_are_named_at_the_start_with_what_is_wrong_and_nothing_they_hold(why: str, issued: Issued) -> None:
    SPOILS[why](issued)
    with pytest.raises(SettingsError) as refused:
        check_door(load(tls_cert_file=issued.certificate, tls_key_file=issued.key))
    assert str(refused.value) == "OOML_TLS_*_FILE: " + why.format(cert=issued.certificate, key=issued.key)
    assert refused.value.__cause__ is None


def test_an_authority_that_is_none_is_named(issued: Issued) -> None:
    with pytest.raises(SettingsError, match="holds no certificate in PEM"):
        check_door(load(tls_cert_file=issued.certificate, tls_key_file=issued.key, tls_client_ca_file=issued.key))


async def test_the_command_refuses_and_the_flag_lets_it_listen() -> None:
    refused = await _serve("--host", NOWHERE)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"OOML_HOST: {NOWHERE} can be reached from elsewhere")
    allowed = await _serve("--host", NOWHERE, "--insecure")
    assert (allowed.returncode, allowed.stdout) == (1, "")
    assert allowed.stderr.startswith(f"cannot listen on {NOWHERE}:")


async def _serve(*words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run, [*OOML, "serve", "--port", "0", *words], env=environment(), capture_output=True, text=True, timeout=30
    )


@pytest.mark.parametrize(
    ("settings", "readable"),
    [({"mode": "development"}, True), ({"mode": "production"}, False), ({"mode": "production", "reflection": True}, True)],
)
async def test_the_contract_can_be_read_from_a_server_in_development_alone_unless_told(
    settings: dict[str, object], readable: bool, store: EmbeddedServer, tmp_path: Path
) -> None:
    async with serving(store, tmp_path, **settings) as server, server.channel() as channel:
        assert await health(channel) == "SERVING"
        assert await _services(channel) == (["grpc.health.v1.Health", *SERVICES] if readable else "UNIMPLEMENTED")


async def _services(channel: grpc.aio.Channel) -> list[str] | str:
    """What the server says it has, or the status code of the attempt."""
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(cast(Any, channel))
    try:
        (answer,) = [a async for a in reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))]
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return sorted(service.name for service in answer.list_services_response.service)


async def test_metrics_know_policies_and_methods_and_no_person(store: EmbeddedServer, tmp_path: Path) -> None:
    metrics = free_port()
    async with serving(store, tmp_path, metrics_port=metrics) as server:
        async with server.channel() as channel:
            await score(channel, "somebody")
            with pytest.raises(grpc.aio.AioRpcError):
                await score(channel, "somebody", policy="somebody-else")
        both = {'ooml_decisions_total{policy="toy"}', 'ooml_call_duration_seconds_sum{method="Score",policy=""}'}
        await eventually(lambda: both <= scrape(metrics).keys(), 10, "what both calls came to")
        found = scrape(metrics)
        names = {name.partition("{")[0] for name in found}
        labels = {part.partition("=")[0] for name in found for part in name.partition("{")[2].split(",") if part}
        values = {part for name in found for part in name.partition("{")[2].split('"')[1::2]}
    assert labels <= {"method", "policy", "code", "le", "process"}
    assert not [text for text in names | values if "somebody" in text]
    assert "toy" in values
