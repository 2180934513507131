"""TLS on the gRPC port, and certificates renewed under a running server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from cli.embedded import EmbeddedServer
from tests.certificates import Authority, Issued
from tests.serving.server import Server, score, serving
from tests.serving.waiting import eventually

RENEWED = '"TLS files renewed"'
REFUSED = '"new TLS files cannot be used, the old ones go on"'


@dataclass(frozen=True)
class Files:
    """Where a server looks for its certificates."""

    certificate: Path
    key: Path
    client_ca: Path

    @property
    def settings(self) -> dict[str, object]:
        return {"tls_cert_file": self.certificate, "tls_key_file": self.key}

    @property
    def mutual(self) -> dict[str, object]:
        return {**self.settings, "tls_client_ca_file": self.client_ca}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "clients.pem")


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "other")


def secure(server: Server, trusted: Authority, client: Issued | None = None) -> grpc.aio.Channel:
    """A connection of its own, of a client who trusts one authority and shows a certificate or none."""
    shown = (client.key.read_bytes(), client.certificate.read_bytes()) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(trusted.certificate.read_bytes(), *shown)
    return grpc.aio.secure_channel(server.address, credentials, [("grpc.use_local_subchannel_pool", 1)])


async def refused(channel: grpc.aio.Channel) -> None:
    """Fail if a connection comes about."""
    async with channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await score(channel)
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


def shown_by(server: Server) -> str:
    """The certificate that the server shows a new connection."""
    host, _, port = server.address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, int(port)), timeout=5) as plain, context.wrap_socket(plain) as connection:
        der = connection.getpeercert(binary_form=True)
        assert der is not None
        return ssl.DER_cert_to_PEM_cert(der)


async def test_a_client_speaks_to_who_it_trusts_and_to_nobody_in_clear(
    store: EmbeddedServer, tmp_path: Path, files: Files, ours: Authority, other: Authority
) -> None:
    ours.issue("server").put(files.certificate, files.key)
    async with serving(store, tmp_path, **files.settings) as server:
        async with secure(server, ours) as channel:
            assert (await score(channel)).candidate_id in ("x", "y")
        await refused(secure(server, other))
        await refused(server.channel())


async def test_every_worker_takes_up_a_new_certificate_and_open_connections_live_on(
    store: EmbeddedServer, tmp_path: Path, files: Files, ours: Authority, other: Authority
) -> None:
    old, new = ours.issue("old"), other.issue("new")
    old.put(files.certificate, files.key)
    async with serving(store, tmp_path, workers=2, **files.settings) as server, secure(server, ours) as open_before:
        assert (await score(open_before)).candidate_id in ("x", "y")
        assert shown_by(server) == old.certificate.read_text()
        new.put(files.certificate, files.key)

        async def both_workers_have() -> bool:  # whoever answers, a connection made after the renewal sees the new one
            assert await asyncio.to_thread(shown_by, server) == new.certificate.read_text()
            renewed = [line for line in server.log.read_text().splitlines() if RENEWED in line]
            return {f"worker-{slot}" for slot in range(2) if any(f'"worker-{slot}"' in line for line in renewed)} == {
                "worker-0",
                "worker-1",
            }

        await eventually(both_workers_have)
        assert server.log.read_text().count(RENEWED) == 2
        assert (await score(open_before)).candidate_id in ("x", "y")
        async with secure(server, other) as channel:
            assert (await score(channel)).candidate_id in ("x", "y")
        await refused(secure(server, ours))
        assert server.log.read_text().count('"process started"') == 2


async def test_new_files_that_cannot_be_used_leave_the_old_ones_in_use_and_are_told_of_once(
    store: EmbeddedServer, tmp_path: Path, files: Files, ours: Authority
) -> None:
    old, new = ours.issue("old"), ours.issue("new")
    old.put(files.certificate, files.key)
    async with serving(store, tmp_path, **files.settings) as server:
        certificate = new.certificate.read_bytes()
        for broken, why in (
            (certificate, f"{files.key} is not the key of the certificate in {files.certificate}"),
            (certificate[: len(certificate) // 2], f"{files.certificate} holds no certificate in PEM, or one that is cut off"),
            (b"", f"{files.certificate} holds no certificate in PEM, or one that is cut off"),
        ):
            files.certificate.write_bytes(broken)
            for _ in range(3):
                assert shown_by(server) == old.certificate.read_text()
                async with secure(server, ours) as channel:
                    assert (await score(channel)).candidate_id in ("x", "y")
            assert why in server.log.read_text()
        assert server.log.read_text().count(REFUSED) == 2  # a file cut off and an empty one are one trouble
        files.certificate.unlink()
        assert shown_by(server) == old.certificate.read_text()
        assert f"{files.certificate} cannot be read: No such file or directory" in server.log.read_text()
        new.put(files.certificate, files.key)
        assert shown_by(server) == new.certificate.read_text()
        assert server.log.read_text().count(RENEWED) == 1


async def test_only_clients_whose_certificate_leads_to_the_authority_are_let_in(
    store: EmbeddedServer, tmp_path: Path, files: Files, ours: Authority, other: Authority
) -> None:
    ours.issue("server").put(files.certificate, files.key)
    files.client_ca.write_bytes(ours.certificate.read_bytes())
    async with serving(store, tmp_path, **files.mutual) as server:
        async with secure(server, ours, ours.issue("client")) as channel:
            assert (await score(channel)).candidate_id in ("x", "y")
        await refused(secure(server, ours))
        await refused(secure(server, ours, other.issue("client")))


async def test_a_new_client_authority_is_taken_up_by_new_connections(
    store: EmbeddedServer, tmp_path: Path, files: Files, ours: Authority, other: Authority
) -> None:
    ours.issue("server").put(files.certificate, files.key)
    files.client_ca.write_bytes(ours.certificate.read_bytes())
    before, after = ours.issue("client"), other.issue("client")
    async with serving(store, tmp_path, **files.mutual) as server, secure(server, ours, before) as open_before:
        assert (await score(open_before)).candidate_id in ("x", "y")
        files.client_ca.write_bytes(other.certificate.read_bytes())
        async with secure(server, ours, after) as channel:
            assert (await score(channel)).candidate_id in ("x", "y")
        await refused(secure(server, ours, before))
        assert (await score(open_before)).candidate_id in ("x", "y")
        files.client_ca.write_bytes(b"")
        await refused(secure(server, ours))  # an authority that is gone lets nobody in
        await refused(secure(server, ours, before))
        assert f"{files.client_ca} holds no certificate" in server.log.read_text()
