"""Whatever fails, at the most talkative log level, nothing that is written holds a secret."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import redis

from cli.embedded import EmbeddedServer, free_port
from cli.up import ROOT, feast_environment, sample_data
from serving.settings import SettingsError, load
from tests.certificates import Authority, with_passphrase
from tests.serving.server import OOML, environment, health, serving
from tests.serving.waiting import eventually

SECRET = "hunter2-is/no@password"  # noqa: S105
QUOTED = quote(SECRET, safe="")
SHAPES = (SECRET, QUOTED, SECRET.encode().hex(), "hunter2")


def told(text: str) -> list[str]:
    """Shapes of the secret that a text holds."""
    return [shape for shape in SHAPES if shape in text]


@pytest.fixture
def locked(store: EmbeddedServer) -> EmbeddedServer:
    """A Redis that wants another password."""
    with redis.Redis(port=store.port) as admin:
        admin.execute_command("ACL SETUSER", "ooml", "on", ">another")
        admin.execute_command("ACL SETUSER", "powerless", "on", f">{SECRET}", "~*", "-@all")
        admin.execute_command("ACL SETUSER", "able", "on", f">{SECRET}", "~*", "+@all")
    return store


async def _ended(command: Sequence[str], **settings: object) -> str:
    """All that a command wrote, which fails."""
    given = environment(log_level="debug", access_log="debug", **settings)
    ran = await asyncio.to_thread(subprocess.run, command, env=given, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode != 0
    return ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://ooml:{secret}@127.0.0.1:{port}/0", "invalid username-password pair"),
        ("redis://powerless:{secret}@127.0.0.1:{port}/0", "has no permissions to run"),
        ("redis://:{secret}@127.0.0.1:{closed}/0", "the store cannot be reached"),
        ("rediss://:{secret}@127.0.0.1:{port}/0", "the store did not answer in time"),
        ("redis://able:{secret}@127.0.0.1:{port}/999", "the store has no database of the number"),
        ("redis://:{secret}@nowhere.invalid:1/0", "the store cannot be reached"),
        ("rediss://:{secret}@127.0.0.1:{port}/0?ssl_ca_certs=/nowhere.pem", "the store cannot be reached"),
    ],
)
async def test_whatever_is_wrong_with_redis_no_line_holds_its_password(url: str, why: str, locked: EmbeddedServer, tmp_path: Path) -> None:
    url = url.format(secret=QUOTED, port=locked.port, closed=free_port())
    settings = {"redis_url": url, "redis_timeout_s": 1, "log_level": "debug", "access_log": "debug"}
    async with serving(locked, tmp_path, **settings) as server, server.channel() as channel:
        await eventually(lambda: why in server.log.read_text(), what=why)
        assert await health(channel) == "NOT_SERVING"
        for process in [psutil.Process(server.process.pid), *server.workers]:
            assert told(" ".join(process.cmdline())) == []
        await server.stop()
    assert told(server.log.read_text()) == []
    applied = await _ended([*OOML, "apply", str(ROOT / "examples" / "people")], redis_url=url, redis_timeout_s=1)
    assert applied.strip()
    assert told(applied) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://:{secret}@h:1",
        "redis://:{secret}@h:notaport",
        "redis://:{secret}@h:1/x",
        "redis://:{secret}@[::1",
        "redis://:{secret}@h:1?password={secret}",
        "rediss://:{secret}@h:1?ssl_cert_reqs={secret}",
        ":{secret}@h",
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="OOML_REDIS_URL: must look like redis://") as refused:
        load(redis_url=url.format(secret=QUOTED))
    assert told("".join(traceback.format_exception(refused.value))) == []


@pytest.mark.parametrize("command", ["serve", "apply policy_repo", "up --data-dir {folder}"])
async def test_every_command_refuses_such_a_url_in_one_line(command: str, tmp_path: Path) -> None:
    written = await _ended([*OOML, *command.format(folder=tmp_path).split()], redis_url=f"redis://:{QUOTED}@h:notaport")
    assert "OOML_REDIS_URL: must look like redis://" in written
    assert "Traceback" not in written
    assert told(written) == []


@pytest.mark.slow
async def test_feast_does_not_tell_the_password_it_is_refused_with(locked: EmbeddedServer, tmp_path: Path) -> None:
    sample_data().write(tmp_path, users=1)
    given = {name.removeprefix("OOML_").lower(): value for name, value in feast_environment(tmp_path, locked.url).items()}
    wrong = feast_environment(tmp_path, f"redis://ooml:{QUOTED}@127.0.0.1:{locked.port}/0")["OOML_FEAST_REDIS"]
    written = await _ended([sys.executable, "-m", "cli.feast_repo", str(ROOT / "feature_repo")], **{**given, "feast_redis": wrong})
    assert "invalid username-password pair" in written
    assert told(written) == []
    assert wrong.partition("password=")[2] not in written


@pytest.mark.parametrize("spoiled", ["key", "certificate", "passphrase", "key as authority"])
async def test_no_file_of_tls_is_quoted_whatever_is_wrong_with_it(spoiled: str, store: EmbeddedServer, tmp_path: Path) -> None:
    issued = Authority(tmp_path, "authority").issue("server")
    settings = {"tls_cert_file": issued.certificate, "tls_key_file": issued.key, "redis_url": store.url}
    lines = issued.key.read_text().splitlines()
    key = lines[1]
    if spoiled == "key":
        issued.key.write_text("\n".join([lines[0], key, SECRET]))
    elif spoiled == "certificate":
        issued.certificate.write_text(issued.key.read_text())
    elif spoiled == "passphrase":
        with_passphrase(issued.key, SECRET)
    else:
        settings["tls_client_ca_file"] = issued.key
    written = await _ended([*OOML, "serve"], **settings)
    assert written.startswith("OOML_TLS_*_FILE: ")
    assert len(written.splitlines()) == 1
    assert told(written) == []
    assert key not in written
