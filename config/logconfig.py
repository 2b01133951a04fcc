"""Logging: structlog over the standard library; JSON in production, readable in a terminal."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor

# They log two lines a task, which cost more than our own and say less.
_QUIETED = (
    *("celery.worker.strategy", "celery.app.trace", "httpx", "httpcore", "alembic"),
    # It logs each task's message as the shop wrote it, which no level may show.
    "celery.pool",
)
_OF_MANY_LINES = {"exception", "stack"}


def configure(level: int | str | None = None) -> None:
    """Set up the root logger, once a process; `level` defaults to INFO."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level or logging.INFO)
    # Celery's default level is WARNING; ours log at INFO at least.
    logging.getLogger("worker").setLevel(min(root.level, logging.INFO))
    for name in _QUIETED:
        logging.getLogger(name).setLevel(logging.WARNING)


def _rendering() -> list[Processor]:
    # No locals in tracebacks: they would hold tokens.
    if sys.stderr.isatty():
        return [
            structlog.processors.format_exc_info,
            _escape_control_characters,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    formatter = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(formatter),
        structlog.processors.JSONRenderer(default=str),
    ]


def _escape_control_characters(_: object, __: str, event: EventDict) -> EventDict:
    """Escape control characters, so that foreign text cannot steer a terminal or fake a line."""
    return {
        name: _escaped(value, kept="\n" if name in _OF_MANY_LINES else "")
        if isinstance(value, str)
        else value
        for name, value in event.items()
    }


def _escaped(value: str, *, kept: str) -> str:
    return "".join(
        character
        if character.isprintable() or character in kept
        else character.encode("unicode_escape").decode()
        for character in value
    )
