"""Ctrl-C and SIGTERM: the first one ends what runs, wherever that is; later ones do not disturb the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """From now on, the first SIGINT or SIGTERM raises KeyboardInterrupt in the main thread; make it there, once."""

    def __init__(self) -> None:
        self._came = False
        self._cancel: Callable[[], object] | None = None
        for number in _SIGNALS:
            signal.signal(number, self._handle)

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run what `main` makes in a loop of its own; interrupted, cancel it and wait for its end.

        Raises:
            KeyboardInterrupt: it was interrupted, and has ended.
        """
        import uvloop

        async def cancellable() -> T:
            loop, task = asyncio.get_running_loop(), asyncio.create_task(main())
            self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
            return await task

        try:
            return uvloop.run(cancellable())
        finally:
            self._cancel = None
            if self._came:
                raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        self._came = True
        if self._cancel is None:
            raise KeyboardInterrupt
        with suppress(RuntimeError):  # the loop has just been closed: `run` is about to look
            # Not raised here: in the midst of a loop's callback, gRPC's compiled code does not survive it.
            self._cancel()
