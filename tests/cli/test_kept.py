from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cli.embedded_nats import EmbeddedNats
from cli.event_processes import OomlProcess, event_processes
from cli.kept import Kept
from cli.own_server import ServerError
from serving.settings import SettingsError
from tests.servers import eventually


def test_a_process_that_dies_is_started_again_where_it_was_and_ended_with_the_block(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path)
    with Kept("nats", server):
        first, port = server.pid, server.port
        assert first is not None
        os.kill(first, signal.SIGKILL)
        eventually(lambda: server.pid not in (None, first))
        assert server.port == port
    assert server.pid is None


def test_what_cannot_be_started_at_all_is_told_at_once(tmp_path: Path) -> None:
    with (
        EmbeddedNats(tmp_path) as server,
        pytest.raises(ServerError, match="in use"),
        Kept("nats", EmbeddedNats(tmp_path / "2", port=server.port)),
    ):
        pass


@pytest.mark.slow
def test_one_that_dies_at_every_start_is_tried_again_and_its_log_holds_every_try(tmp_path: Path) -> None:
    process = OomlProcess("relay", tmp_path / "log", {"OOML_REDIS_URL": "no url"})
    with Kept("relay", process):
        eventually(lambda: process.log_tail().count("OOML_REDIS_URL: must look like redis://") == 2)


def test_a_broker_and_a_table_that_are_named_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOML_NATS_URL", "nats://me:hunter2@127.0.0.1:1")  # pragma: allowlist secret
    monkeypatch.setenv("OOML_EVENT_TABLE", str(tmp_path / "elsewhere"))
    with event_processes(tmp_path, redis_url="redis://127.0.0.1:1/0") as events:
        assert events == ("127.0.0.1:1", str(tmp_path / "elsewhere"))
    assert sorted(os.listdir(tmp_path)) == ["relay.log", "sink.log"]


def test_a_broker_that_could_be_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOML_NATS_URL", "127.0.0.1:1")
    with pytest.raises(SettingsError, match="OOML_NATS_URL: must look like nats://"), event_processes(tmp_path):
        pass
