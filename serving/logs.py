"""Log lines of every process: one JSON object a line, or text for a person at a terminal. On stderr; stdout is for answers."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from serving.settings import CommonSettings


def configure(settings: CommonSettings, process: str, stream: TextIO | None = None) -> None:
    """Set up logging of this process; once, first thing.

    Args:
        process: its name, in every line.
        stream: where lines go; None: stderr.
    """
    stream = stream or sys.stderr
    text = settings.log_format == "text" or (settings.log_format == "auto" and not settings.production and stream.isatty())

    def name_process(logger: Any, method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    level: int = getattr(logging, settings.log_level.upper())
    shared: list[Processor] = [
        name_process,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Plain tracebacks: the richer ones print local variables, and so people's data and secrets.
    render: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    _adopt_standard_logging(shared, render, stream)


def _adopt_standard_logging(shared: list[Processor], render: list[Processor], stream: TextIO) -> None:
    """Let libraries that use `logging` write the same lines; their chatter below a warning is dropped."""

    def name(logger: Any, _: str, event: EventDict) -> EventDict:
        event["logger"] = event["_record"].name
        return event

    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[name, structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render]
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
