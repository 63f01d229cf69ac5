"""Structured logs on stderr: one JSON object a line, no payloads. Arguments and results are never logged; ids are."""

import logging

import structlog


def formatter() -> logging.Formatter:
    """The formatter that `settings.LOGGING` names: JSON with a UTC timestamp, level, logger and the event's own fields."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
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
