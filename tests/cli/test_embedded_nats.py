from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from cli.embedded_nats import EmbeddedNats, bundled_nats_server
from cli.own_server import ServerError, free_port


def test_a_started_server_keeps_on_disk_what_it_acknowledges(tmp_path: Path) -> None:
    port = free_port()
    with (
        EmbeddedNats(tmp_path, program=bundled_nats_server(), configuration=f'http: "127.0.0.1:{port}"\n'),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/jsz") as answer,
    ):
        config = json.load(answer)["config"]
    assert config["sync_always"] is True
    assert config["store_dir"] == f"{tmp_path}/jetstream"


def test_a_killed_server_restarts_on_its_port(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path) as server:
        port = server.port
        server.kill()
        assert server.pid is None
        assert server.start().port == port


def test_a_port_where_another_one_listens_is_an_error_that_shows_the_servers_log(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path / "one") as server, pytest.raises(ServerError, match="in use"):
        EmbeddedNats(tmp_path / "other", port=server.port).start(5)


def test_a_data_directory_serves_one_server_at_a_time(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path) as server, pytest.raises(ServerError, match="another server uses"):
        EmbeddedNats(server.data_dir).start(0.2)
