"""What moves events while `ooml up` serves: a broker, a relay and a sink."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import SecretStr

from cli.embedded_nats import EmbeddedNats
from cli.kept import Kept
from cli.own_process import OwnProcess
from events.settings import EventSettings
from events.settings import load as load_event_settings
from serving.settings import PREFIX

_OOML = "from cli.main import app; app()"


class EventLog(NamedTuple):
    """Where events go.

    Args:
        nats: address of the broker, ``host:port``, without credentials.
        table: folder or URL of the table.
    """

    nats: str
    table: str


class OomlProcess(OwnProcess):
    """A command of ours as a process of its own; what it says is kept over its restarts.

    Args:
        command: its name.
        log: where its output goes.
        env: variables added to its environment.
    """

    def __init__(self, command: str, log: Path, env: Mapping[str, str]) -> None:
        super().__init__(log, env)
        self._command = command
        self._started_before = False

    def start(self) -> Self:
        """See `OwnProcess`."""
        if self.pid is None:
            self._process = self._spawn([sys.executable, "-c", _OOML, self._command], append=self._started_before)
            self._started_before = True
        return self


@contextmanager
def event_processes(data_dir: Path, **common: object) -> Iterator[EventLog]:
    """Move events while the block runs. A process that dies is started again. Their logs are in the data folder.

    `OOML_NATS_URL` names a broker that runs; else one is started here. `OOML_EVENT_TABLE` says where the table is; else it is in the data
    folder.

    Args:
        data_dir: an absolute path, of a folder.
        common: settings that they share with the server.

    Raises:
        SettingsError, ServerError: nothing is left running.
    """
    settings = load_event_settings(**common)
    if "event_table" not in settings.model_fields_set:
        settings = settings.model_copy(update={"event_table": str(data_dir / "events")})
    # Left in the opposite order: the relay stops first, then the sink, then the broker.
    with ExitStack() as stack:
        if settings.nats_url is None:
            server = EmbeddedNats(data_dir / "nats")
            stack.enter_context(Kept("nats", server))
            settings = settings.model_copy(update={"nats_url": SecretStr(server.url)})
        for command in ("sink", "relay"):
            stack.enter_context(Kept(command, OomlProcess(command, data_dir / f"{command}.log", _environment(settings))))
        yield EventLog(settings.nats_address, settings.event_table)


def _environment(settings: EventSettings) -> dict[str, str]:
    plain = {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in settings}
    return {PREFIX + name.upper(): str(value) for name, value in plain.items() if value is not None}
