"""What Prometheus sees: calls, errors, durations, decisions, the outbox, restarts. One address for all workers.

Workers write their numbers to files of a folder that the supervisor owns; the supervisor adds them up when it is scraped. A worker that
dies leaves its counts behind, so that sums do not fall. What calls come to is written several times a second and not at each call, which
would spend a fiftieth of a Score on it: a worker that is killed or crashes takes the last tenth of a second along.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Mapping
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus_client when it is imported, so it is set in a worker's environment before the worker starts."""
WRITE_S = 0.1
"""How old what a scrape tells of calls may be."""
_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """A worker's numbers. Only names of published policies may be given as policies, so that labels stay few; "" stands for none."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        labels = ("method", "policy")
        self._duration = Histogram("ooml_call_duration_seconds", "Duration of calls", labels, registry=registry, buckets=_BUCKETS_S)
        self._calls = Counter("ooml_calls", "Calls answered, by status code", (*labels, "code"), registry=registry)
        self._in_flight = Gauge("ooml_calls_in_flight", "Calls being handled", registry=registry, multiprocess_mode="livesum")
        self._refused = Counter("ooml_refused", "Callers, or requests of theirs, turned away", ("why",), registry=registry)
        self._decisions = Counter("ooml_decisions", "Decisions made", ("policy",), registry=registry)
        self._outbox = Gauge(
            "ooml_outbox_depth", "Events in the outbox, estimated from a few shards", registry=registry, multiprocess_mode="livemostrecent"
        )

        self._being_handled = 0
        self._durations_s: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
        self._made: Tally[str] = Tally()

    def began(self) -> None:
        """A call came in; `ended` must follow."""
        self._being_handled += 1

    def ended(self, method: str, policy: str, code: str, duration_s: float) -> None:
        """That call was answered."""
        self._being_handled -= 1
        self._durations_s[method, policy, code].append(duration_s)

    def decided(self, policy: str) -> None:
        """A decision was made: not a repeated answer to the same request."""
        self._made[policy] += 1

    def write(self) -> None:
        """Write what came of calls since the last time."""
        self._in_flight.set(self._being_handled)
        durations_s, self._durations_s = self._durations_s, defaultdict(list)
        for (method, policy, code), each_s in durations_s.items():
            self._calls.labels(method, policy, code).inc(len(each_s))
            observe = self._duration.labels(method, policy).observe
            for duration_s in each_s:
                observe(duration_s)
        made, self._made = self._made, Tally()
        for policy, count in made.items():
            self._decisions.labels(policy).inc(count)

    async def run(self) -> None:
        """Write every `WRITE_S`, for ever."""
        while True:
            self.write()
            await asyncio.sleep(WRITE_S)

    def refused(self, why: str) -> None:
        """A caller was turned away, or one request of theirs; why is one of a few words."""
        self._refused.labels(why).inc()

    def outbox_depth(self, events: float) -> None:
        """How many events the outbox is thought to hold."""
        self._outbox.set(events)


class Exposition:
    """The supervisor's side: a folder for its workers' numbers, and the address where all of them are scraped.

    Raises:
        OSError: the address is taken.
    """

    def __init__(self, host: str, port: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ooml-metrics-", ignore_cleanup_errors=True)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._folder.name)  # type: ignore[no-untyped-call]
        self._restarts = Counter("ooml_process_restarts", "Processes started anew after they died", ("process",), registry=registry)
        self._server: WSGIServer
        self._thread: threading.Thread
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError:
            self._folder.cleanup()
            raise
        self.port: int = self._server.server_port

    @property
    def environment(self) -> Mapping[str, str]:
        """What a worker needs in its environment to be counted."""
        return {_FOLDER: self._folder.name}

    def restarted(self, process: str) -> None:
        """A process is being started again."""
        self._restarts.labels(process).inc()

    def ended(self, pid: int) -> None:
        """A process is gone: what it was in the middle of no longer counts."""
        mark_process_dead(pid, self._folder.name)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Stop answering, and remove the folder."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._folder.cleanup()
