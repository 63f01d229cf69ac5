"""Structured logs on stderr: one JSON object a line, no payloads. Arguments and results are never logged; ids are."""

import logging

import structlog

from audit import origin


def _came(_logger: object, _name: str, line: structlog.types.EventDict) -> structlog.types.EventDict:
    """The request a line is about, by the id that the log's entries and the answer's `X-Request-ID` carry."""
    found = origin.current()
    if found is not None and found.request:
        line.setdefault("request", found.request)
    return line


def formatter() -> logging.Formatter:
    """The formatter that `settings.LOGGING` names: JSON with a UTC timestamp, level, logger and the event's own fields."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        _came,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
    )
