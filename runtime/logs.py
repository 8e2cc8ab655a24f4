"""Log lines: readable in development, JSON in production, tagged by process, with secrets struck out.

Nothing logs a secret on purpose (law 1). What is struck out here is a net below that rule, not a licence.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from runtime.settings import Settings

STRUCK = "[redacted]"

_SECRET_NAME = re.compile(
    r"(?i)token|secret|password|passwd|authorization|cookie|verifier|credential$|^(auth_?)?code$"
    r"|api_?key|private_?key|encryption_?key|^key$"
)
# Names that hold one of those words and yet are no secret: ids, ends of life, counts, addresses.
_PLAIN_NAME = re.compile(
    r"(?i)_(id|ids|url|endpoint|type|expires_at|expires_in|lifetime|count|status|version|fingerprint|file)$"
)
_SECRET_IN_TEXT = re.compile(
    r"""(?ix) ( \b (?:access_token|refresh_token|id_token|client_secret|code_verifier|api_key|password)
                ["']? \s* [=:] \s* ["']?
              | [?&] (?:code|state) = )
        [^\s"'&,;<>)}\]]+"""
)
_WORD = re.compile(r"(?i)bearer|basic")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")

# At INFO and DEBUG these print URLs with their query strings, whole statements, or what nobody asks for.
_TALKATIVE = ("httpx", "httpcore", "aiosqlite", "asyncio", "alembic", "uvicorn")


def configure_logs(settings: Settings, process: str) -> None:
    """Send structlog's and the standard library's lines alike to stderr, each tagged with the `process`."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not settings.development)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
    ]
    rendered = _json(process) if as_json else _console()
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    # Past the standard library, whose records would cost a read of a credential as much as its select.
    structlog.configure(
        processors=[*shared, *rendered],
        logger_factory=_Stderr,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


class _Stderr:
    """Writes lines as `logging.StreamHandler` does: one that cannot be written ends no request."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def info(self, line: str) -> None:
        """Any level: those that are too low have been left out before."""
        with suppress(OSError, ValueError, AttributeError):  # full, closed, or none at all
            sys.stderr.write(f"{line}\n")

    debug = warning = error = critical = exception = info


def _json(process: str) -> list[Processor]:
    def tag(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {"process": process, **event}

    return [tag, structlog.processors.JSONRenderer(_as_json)]


def _as_text(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - whatever it is: a line about something else must not end a request
        return f"<{type(value).__name__}: {type(error).__name__}>"


_encoder = json.JSONEncoder(default=_as_text)


def _as_json(event: EventDict, **_asked: Any) -> str:
    """With one encoder for all lines: `json.dumps` makes one for each."""
    return _encoder.encode(event)


def _console() -> list[Processor]:
    # The supervisor prints the tag before each line. Plain tracebacks: rich ones would show local variables.
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=32,
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Strike out values by their name, and secrets written into sentences as `name=value`."""
    return {name: _safe(name, value) for name, value in event.items()}


@lru_cache
def _is_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _PLAIN_NAME.search(name)


def _safe(name: str, value: Any) -> Any:
    if _is_secret(name):
        return STRUCK
    if isinstance(value, str):
        # Where there is none of these, no pattern can match; to try takes longer.
        named = _SECRET_IN_TEXT.sub(rf"\1{STRUCK}", value) if "=" in value or ":" in value else value
        return _BEARER.sub(rf"\1 {STRUCK}", named) if _WORD.search(named) else named
    if isinstance(value, Mapping):
        return {key: _safe(str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_safe("", inner) for inner in value]
    return value
