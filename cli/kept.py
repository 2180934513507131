"""Processes of our own that are started again when they die, for as long as we run."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Self

import structlog

from cli.own_process import OwnProcess
from cli.own_server import ServerError
from serving.supervisor import FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S

_LOOK_S = 0.1

log = structlog.get_logger()


class Kept:
    """Keeps one process running while the block does, from a thread of its own.

    Args:
        name: for the log.
        process: not started yet.
    """

    def __init__(self, name: str, process: OwnProcess) -> None:
        self._name = name
        self._process = process
        self._stop = threading.Event()
        self._begun = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.wait()
        if self._failed is not None:
            self._thread.join()
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._process.start()
        except BaseException as error:  # whatever it was, it is raised where the block begins
            self._failed = error
            return
        finally:
            self._begun.set()
        try:
            self._keep()
        finally:
            self._process.stop()

    def _keep(self) -> None:
        began, pause_s = monotonic(), FIRST_PAUSE_S
        while not self._stop.wait(_LOOK_S):
            if self._process.pid is not None:
                continue
            lived_s = monotonic() - began
            pause_s = FIRST_PAUSE_S if lived_s > STEADY_S else min(2 * pause_s, LONGEST_PAUSE_S)
            log.error(
                "process died",
                role=self._name,
                exit_code=self._process.wait(0),
                lived_s=round(lived_s, 1),
                restart_in_s=pause_s,
                see=str(self._process.log),
            )
            if self._stop.wait(pause_s):
                return
            began = monotonic()
            try:
                self._process.start()
            except ServerError as error:
                log.error("process cannot be started", role=self._name, error=str(error))  # noqa: TRY400  the message is made for it
