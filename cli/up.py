"""`ooml up`: everything on this machine. Redis, the feature repository applied and materialised, the policies, the server."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

if TYPE_CHECKING:
    from cli.event_processes import EventLog
    from serving.settings import Settings
    from serving.supervisor import Supervisor

ROOT = Path(__file__).parent.parent
READY_WITHIN_S = 60.0
USUAL_REDIS_PORT = 6379
LOOK_UP_S = 0.5
"""How long a signal may go unnoticed."""


class UpError(Exception):
    """It could not be brought up; the message says what failed and where to read more."""


@dataclass(frozen=True, slots=True)
class UpSettings:
    """What to bring up.

    Args:
        data_dir: holds all that is kept: Redis' data, Parquet files, the feature registry, logs. Made if missing.
        server: settings of the server by name, put over those of the environment.
        feature_repo: Feast repository to apply, materialise and watch; None: no features but those that callers send.
        write_data: writes the Parquet files that the repository reads into the folder it is given; None: the sample, where there is none.
        policies: folders of policies to publish.
        redis_port: of an embedded Redis; 0: a free one.
        events: whether they are kept in a table, by a relay and a sink.
        log: where the processes log to; None: stderr.
    """

    data_dir: Path
    server: Mapping[str, object] = field(default_factory=dict)
    feature_repo: Path | None = ROOT / "feature_repo"
    write_data: Callable[[Path], None] | None = None
    policies: Sequence[Path] = (ROOT / "policy_repo",)
    redis_port: int = 0
    events: bool = True
    log: TextIO | None = None


@dataclass(frozen=True, slots=True)
class Up:
    """A server that serves.

    Args:
        grpc: its address, ``host:port``.
        redis: address of its Redis, ``host:port``.
        redis_url: the same as a URL, credentials included.
        events: where they go; None: nowhere.
        took_s: seconds from nothing to serving.
    """

    grpc: str
    redis: str
    redis_url: str
    events: EventLog | None
    took_s: float
    _server: _Server

    def wait(self) -> int:
        """Wait until the server ends by itself, which it does only when it is beyond help; its exit code."""
        return self._server.wait()


@contextmanager
def up(settings: UpSettings) -> Iterator[Up]:
    """Bring everything up, and take it down when the block is left. Enter it in a thread that outlives the block, outside event loops.

    Raises:
        UpError, SettingsError, ServerError, PortTaken, PolicyFilesError: it could not be brought up; nothing is left running.
    """
    from cli.embedded import redis_url
    from cli.event_processes import event_processes
    from serving import logs
    from serving.settings import SettingsError, check_door, load

    began = time.monotonic()
    data_dir = settings.data_dir.absolute()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UpError(f"cannot keep data in {data_dir}: {error.strerror}") from None
    with ExitStack() as stack:
        url = stack.enter_context(redis_url(data_dir / "redis", settings.redis_port))
        drained = {"event_sink": "drained"} if settings.events else {}
        server_settings = load(**{**settings.server, **drained, "redis_url": url, "feature_repo": settings.feature_repo})
        check_door(server_settings)
        if server_settings.tls is not None:
            raise SettingsError("`ooml up` is for one machine and serves in clear: unset OOML_TLS_*, or run `ooml serve`")
        logs.configure(server_settings, "supervisor", settings.log)
        environment = feast_environment(data_dir, url)
        features = None
        if settings.feature_repo is not None:
            (settings.write_data or _write_sample)(data_dir)
            features = stack.enter_context(_Features(settings.feature_repo, environment, data_dir / "feast.log"))
            features.wait_published()
        asyncio.run(_publish_policies(server_settings, settings.policies))
        events = stack.enter_context(event_processes(data_dir, **server_settings.common())) if settings.events else None
        server = stack.enter_context(_Server(server_settings, environment, settings.log))
        server.wait_listening()
        if features is not None:
            features.wait_materialised()
        _wait_serving(server, time.monotonic() + READY_WITHIN_S)
        yield Up(server.grpc, server_settings.redis_address, url, events, time.monotonic() - began, server)


def command(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: OOML_HOST, else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="gRPC port; 0 picks a free one. Default: OOML_PORT, else 50051.")] = None,
    workers: Annotated[int | None, typer.Option(help="Serving processes. Default: OOML_WORKERS, else 1.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen in clear where others reach it: a proxy speaks TLS for it.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Keeps all data; made if missing.")] = Path("data"),
    redis_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Of the Redis started here. Default: 6379 if it is free, else any.")
    ] = None,
    events: Annotated[
        bool, typer.Option("--events/--no-events", help="Keep every event in a table: starts NATS, a relay and a sink.", show_default=True)
    ] = True,
) -> None:
    """Bring up everything on this machine: Redis, features with sample data, policies, the server, and what keeps its events.

    Prints `ooml ready grpc=HOST:PORT redis=HOST:PORT nats=HOST:PORT table=PATH ...` once it serves; logs go to stderr, those of NATS, the
    relay and the sink to files in the data folder. With OOML_REDIS_URL or OOML_NATS_URL set, those are used and none is started;
    OOML_EVENT_TABLE puts the table elsewhere. Ctrl-C stops it all; the data stays, and the next `ooml up` goes on from it.
    """
    from cli.embedded import ServerError
    from cli.policy_files import PolicyFilesError
    from serving.settings import SettingsError
    from serving.supervisor import PortTaken

    signal.signal(signal.SIGTERM, _interrupt)
    settings = UpSettings(
        data_dir,
        server={"host": host, "port": port, "workers": workers, "insecure": insecure or None},
        redis_port=_free(USUAL_REDIS_PORT) if redis_port is None else redis_port,
        events=events,
    )
    try:
        with up(settings) as server:
            log = f"nats={server.events.nats} table={server.events.table} " if server.events else ""
            print(
                f"ooml ready grpc={server.grpc} redis={server.redis} {log}data={settings.data_dir} took_s={server.took_s:.1f}", flush=True
            )
            code = server.wait()
    except KeyboardInterrupt:
        return
    except (UpError, SettingsError, ServerError, PortTaken, PolicyFilesError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(code)


class _Features:
    """The process that applies and materialises a feature repository; what it says goes to a file."""

    def __init__(self, repo: Path, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "cli.feast_repo", str(repo)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=ROOT,
                env={**os.environ, **environment},
                text=True,
            )

    def __enter__(self) -> _Features:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_published(self) -> None:
        """Return when policies can be applied."""
        from cli.feast_repo import PUBLISHED

        if self._process.stdout is None or self._process.stdout.readline() != f"{PUBLISHED}\n":
            raise self._error()

    def wait_materialised(self) -> None:
        """Return when the data is in the online store."""
        if self._process.wait() != 0:
            raise self._error()

    def _error(self) -> UpError:
        self._process.wait()
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])
        return UpError(f"the feature repository could not be applied and materialised; {self._log} ends:\n{tail}")


class _Server:
    """The server's supervisor, in a thread with a loop of its own."""

    def __init__(self, settings: Settings, environment: Mapping[str, str], log: TextIO | None) -> None:
        self.grpc = ""
        self._settings = settings
        self._environment = environment
        self._stderr = None if log is None else log.fileno()
        self._changed = threading.Condition()
        self._listening = False
        self._ended: int | BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._supervisor: Supervisor | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor")

    def __enter__(self) -> _Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wait_for(lambda: self._loop is not None or self._ended is not None)
        if self._loop is not None and self._supervisor is not None:
            with suppress(RuntimeError):  # the loop is closed: it has ended by itself
                self._loop.call_soon_threadsafe(self._supervisor.stop)
        self._thread.join()

    def wait_listening(self) -> None:
        """Return when every worker listens."""
        self._wait_for(lambda: self._listening or self._ended is not None)
        self.check()

    def wait(self) -> int:
        """Wait until it ends; its exit code."""
        self._wait_for(lambda: self._ended is not None)
        return self._ended if isinstance(self._ended, int) else 1

    def check(self) -> None:
        """Raise if it has ended, and why."""
        if isinstance(self._ended, BaseException):
            raise self._ended
        if self._ended is not None:
            raise UpError(f"the server gave up (exit code {self._ended}); its log says why")

    def _wait_for(self, holds: Callable[[], bool]) -> None:
        # Looking up now and then: a signal that another thread received is handled only once this one runs.
        with self._changed:
            while not self._changed.wait_for(holds, LOOK_UP_S):
                pass

    def _run(self) -> None:
        ended: int | BaseException
        try:
            ended = asyncio.run(self._serve())
        except BaseException as error:  # whatever it was, it is raised where the server was started
            ended = error
        self._tell(ended=ended)

    async def _serve(self) -> int:
        from serving.fleet import fleet

        with fleet(self._settings, lambda: self._tell(listening=True), self._environment, self._stderr) as server:
            self.grpc = server.grpc
            with self._changed:
                self._supervisor = server.supervisor
                self._loop = asyncio.get_running_loop()
                self._changed.notify_all()
            return await server.supervisor.run()

    def _tell(self, *, listening: bool = False, ended: int | BaseException | None = None) -> None:
        with self._changed:
            self._listening = self._listening or listening
            self._ended = ended
            self._changed.notify_all()


async def _publish_policies(settings: Settings, folders: Sequence[Path]) -> None:
    """Publish every policy of the folders, live at once."""
    from cli.policy_files import read_folder
    from cli.publish import Compiled, Intent, prepare, publish
    from serving.redis.connect import connect
    from serving.redis.published import load

    files = [file for folder in folders for file in read_folder(folder)]
    client = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster, timeout_s=settings.redis_timeout_s)
    try:
        intent = Intent(go_live=True, reason="ooml up", accept_feature_change=True, at=time.time())
        await publish(client, prepare(await load(client), files, Compiled(), intent))
    finally:
        await client.aclose()


def _wait_serving(server: _Server, deadline: float) -> None:
    """Return when the server says that it serves."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(server.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline:
            server.check()
            with suppress(grpc.RpcError):
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            time.sleep(0.02)
    raise UpError(f"the server does not serve within {READY_WITHIN_S:g} s; its log says why")


def feast_environment(data_dir: Path, url: str) -> dict[str, str]:
    """What the feature repository, and whoever reads it, needs to find the data, the registry and Redis."""
    from cli.feast_redis import feast_redis

    return {
        "OOML_REDIS_URL": url,
        "OOML_DATA_DIR": str(data_dir),
        "OOML_FEAST_REGISTRY": f"sqlite:///{data_dir}/registry.db",
        "OOML_FEAST_REDIS": feast_redis(url),
    }


def sample_data() -> ModuleType:
    """The feature repository's `sample_data`, which no package holds.

    Raises:
        UpError: it is missing.
    """
    spec = importlib.util.spec_from_file_location("sample_data", ROOT / "feature_repo" / "sample_data.py")
    if spec is None or spec.loader is None:
        raise UpError("feature_repo/sample_data.py is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _write_sample(folder: Path) -> None:
    """The feature repository's sample, as of now; what lies there already stays."""
    if not (folder / "tasks.parquet").exists():
        sample_data().write(folder, datetime.now(UTC))


def _free(port: int) -> int:
    """The port, or 0 if it is taken."""
    from serving.supervisor import PortTaken, hold_port

    try:
        hold_port("127.0.0.1", port).close()
    except PortTaken:
        return 0
    return port


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
