"""What a supervised process and its supervisor say to each other, over the child's own stdin and stdout.

stdin: one line that tells the child what to do, then nothing, held open for as long as the supervisor lives. stdout: `READY`, and no
more: what is printed later joins the log on stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import Self

from serving.settings import Settings

READY = b"ready\n"

REFUSED = 78
"""Exit code of a process that would only fail in the same way if it were started again (EX_CONFIG of sysexits.h)."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a process of the server is told at its start.

    Args:
        settings: of the server.
        listen: address of a worker.
        slot: 0 … workers - 1, the worker's place; another process takes it when this one dies.
        stream: number of the random stream that this process alone draws from.
    """

    settings: Settings
    listen: str = ""
    slot: int = 0
    stream: int = 0

    def to_line(self) -> bytes:
        """For the pipe to the child, with secrets in clear."""
        return json.dumps([self.settings.in_clear(), self.listen, self.slot, self.stream]).encode()

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """What `to_line` wrote."""
        settings, *rest = json.loads(line)
        return cls(Settings.from_clear(settings), *rest)


def told() -> bytes:
    """The supervisor's one line."""
    return sys.stdin.buffer.readline()


def say_ready() -> None:
    """Tell the supervisor that the process does its work now."""
    sys.stdout.flush()
    os.write(1, READY)
    os.dup2(2, 1)


def outlive_parent_by(seconds: float) -> None:
    """Stop this process when its supervisor is gone, whatever it died of: first politely (SIGTERM), then by force.

    A thread waits for the end of stdin, so that neither a busy event loop nor a missed signal keeps an orphan on the port.
    """

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(seconds)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()
