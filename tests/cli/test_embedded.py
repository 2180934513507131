from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis

from cli.embedded import EmbeddedServer, ServerError, _answer_to_ping, allocator, bundled_server, free_port, redis_url
from tests.servers import Cluster, eventually


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_started_server_answers_and_keeps_every_write(valkey: EmbeddedServer) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        assert client.ping()
        assert client.config_get("appendonly", "appendfsync", "maxmemory-policy", "save") == {
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "save": "",
        }


def _libraries(server: EmbeddedServer) -> str:
    return Path(f"/proc/{server.pid}/maps").read_text()


def test_the_bundled_server_gets_its_memory_from_jemalloc(tmp_path: Path) -> None:
    if allocator() is None:
        pytest.skip("jemalloc (Debian: libjemalloc2) is not installed")
    with EmbeddedServer(tmp_path, program=bundled_server()) as server, redis.Redis.from_url(server.url) as client:
        assert "/libjemalloc.so" in _libraries(server)
        assert client.ping()


def test_what_is_loaded_before_the_bundled_server_for_other_reasons_still_is(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, program=bundled_server(), env={"LD_PRELOAD": "libutil.so.1"}) as server:
        assert "/libutil.so.1" in _libraries(server)
        assert ("/libjemalloc.so" in _libraries(server)) == (allocator() is not None)


def test_without_jemalloc_the_bundled_server_runs_on_what_the_c_library_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.embedded.allocator", lambda: None)
    with EmbeddedServer(tmp_path, program=bundled_server()) as server, redis.Redis.from_url(server.url) as client:
        assert "/libjemalloc.so" not in _libraries(server)
        assert client.ping()


def test_a_server_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    program, told = tmp_path / "valkey-server", tmp_path / "told"
    program.write_text(f'#!/bin/sh\nprintenv LD_PRELOAD >{told}\nexec {bundled_server()} "$@"\n')
    program.chmod(0o755)
    with EmbeddedServer(tmp_path / "data", program=program):
        assert told.read_text().strip() == os.environ.get("LD_PRELOAD", "")


def test_a_killed_server_restarts_on_its_port_with_its_data(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, program=bundled_server()) as server:
        port = server.port
        with redis.Redis.from_url(server.url) as client:
            client.set("k", "kept")
        server.kill()
        assert server.pid is None
        server.start()
        assert server.port == port
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            assert client.get("k") == "kept"


def test_a_server_that_reads_much_at_its_start_is_waited_for(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, program=bundled_server()) as server, redis.Redis.from_url(server.url) as client:
        client.mset({f"k{i}": i for i in range(100)})
        client.bgrewriteaof()
        eventually(lambda: client.info("persistence")["aof_last_rewrite_time_sec"] >= 0)
    slow = EmbeddedServer(tmp_path, program=bundled_server(), settings={"key-load-delay": "10000"})
    try:
        with redis.Redis.from_url(slow.start(timeout_s=0.9).url) as client:
            assert client.dbsize() == 100
    finally:
        slow.stop()


def test_stop_ends_the_process_and_may_be_repeated(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path).start()
    pid = server.pid
    assert pid is not None
    server.stop()
    server.stop()
    assert server.pid is None
    assert _gone(pid)


def test_a_server_interrupted_while_it_comes_up_is_gone_when_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedServer(tmp_path)
    pids: list[int | None] = []

    def interrupted(deadline: float) -> bool:
        pids.append(server.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "_answers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        server.start()
    assert pids[0] is not None
    assert _gone(pids[0])


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import os, sys, pathlib; from cli.embedded import EmbeddedServer\n"
        "server = EmbeddedServer(pathlib.Path(sys.argv[1])).start()\n"
        "print(server.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    parent = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=30, cwd=Path.cwd(), check=False
    )
    assert parent.returncode == -9
    pid = int(parent.stdout)
    eventually(lambda: _gone(pid))


def test_a_taken_port_is_an_error_that_shows_the_servers_log(tmp_path: Path, valkey: EmbeddedServer) -> None:
    with pytest.raises(ServerError, match="in use"):
        EmbeddedServer(tmp_path, port=valkey.port).start(5)


def test_a_wrong_setting_is_an_error_that_shows_what_the_server_said(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="no-such-setting"):
        EmbeddedServer(tmp_path, settings={"no-such-setting": "1"}).start(5)


def test_a_data_directory_serves_one_server_at_a_time(valkey: EmbeddedServer) -> None:
    with pytest.raises(ServerError, match="another server uses"):
        EmbeddedServer(valkey.data_dir).start(0.2)


def test_a_given_url_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_url(tmp_path, url="redis://elsewhere:1/0") as url:
        assert url == "redis://elsewhere:1/0"
    monkeypatch.setenv("OOML_REDIS_URL", "redis://environment:1/0")
    with redis_url(tmp_path) as url:
        assert url == "redis://environment:1/0"
    assert os.listdir(tmp_path) == []


def test_without_a_url_a_server_runs_while_the_block_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OOML_REDIS_URL", raising=False)
    port = free_port()
    with redis_url(tmp_path, port) as url:
        assert url == f"redis://127.0.0.1:{port}/0"
        client = redis.Redis.from_url(url)
        assert client.ping()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    client.close()


def test_the_cluster_takes_keys_of_every_slot(redis_cluster: Cluster) -> None:
    with redis.RedisCluster(host=redis_cluster.host, port=redis_cluster.port) as client:
        for i in range(50):
            client.set(f"k{i}", i)
        assert [int(client.get(f"k{i}")) for i in range(50)] == list(range(50))
        assert len(client.get_primaries()) == 3


def test_a_server_that_takes_seconds_to_answer_serves(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, program=bundled_server()) as server:
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        goes_on = threading.Timer(1.5, os.kill, (pid, signal.SIGCONT))
        goes_on.start()
        assert _answer_to_ping(pid, server.host, server.port).startswith(b"+PONG")
        goes_on.join()
