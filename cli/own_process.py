"""A process of our own on this machine: started and stopped by us, gone when we are gone, its output in a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

# The process is started through this, which then becomes it (same pid): on Linux the kernel kills it when we die, whatever we die of.
# Done after exec and not in a preexec_fn, which may deadlock in a process with threads. What a server learned is on disk already.
_SHIM = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class OwnProcess(ABC):
    """One process, that can be stopped or killed and started again. Start it from a thread that lives as long as it should: the kernel
    ends it with that thread.

    Args:
        log: where its output goes.
        env: variables added to its environment.
    """

    def __init__(self, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log.absolute()
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def start(self) -> Self:
        """Start it; does nothing when it already runs."""

    @property
    def pid(self) -> int | None:
        """Process id while it runs, else None."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def stop(self, timeout_s: float = 10.0) -> None:
        """End it: SIGTERM, then SIGKILL after `timeout_s`. Safe to repeat."""
        if self._process is None:
            return
        if self._process.poll() is None and timeout_s > 0:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL) and wait until it is gone."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code (negative: the signal), as soon as it has ended; None when it has not within the time."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                return self._process.wait(timeout_s)
        return None

    def log_tail(self, lines: int = 8) -> str:
        """What it said last."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _spawn(self, command: Sequence[str], *, append: bool = False, pass_fds: Iterable[int] = ()) -> subprocess.Popen[bytes]:
        with self.log.open("ab" if append else "wb") as log:
            return subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                pass_fds=tuple(pass_fds),
                start_new_session=True,  # Ctrl-C is for us: we drain first, then stop it
            )
