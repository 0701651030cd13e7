"""Logging set-up: structlog, through which the standard library's log records go too."""

import logging
import re
import sys
from typing import Any, Final, Literal

import structlog

_TOKEN: Final = re.compile(r"\b(tnt|usr|opr)_([a-z2-7]{16})_[a-z2-7]{20,}")
_PASSWORD: Final = re.compile(r"(://[^:/@\s]*:)[^@\s]+@")


def redact(text: str) -> str:
    """Return ``text`` without the secrets of tokens and the passwords in addresses."""
    return _PASSWORD.sub(r"\1***@", _TOKEN.sub(r"\1_\2_***", text))


def _redact(_: Any, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = redact(value)
    return event


def configure(form: Literal["json", "console"], level: str) -> None:
    """Set up a process's logging to standard error, with one line for each event.

    Args:
        form: ``json`` for machines, ``console`` for people.
        level: the least severe level to log.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
        _redact,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Tenantry itself logs lost connections and migrations, so these would say the same again.
    for noisy in ("aiormq", "aio_pika", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
