"""Times in Klarna's format; no clock is read here."""

from datetime import UTC, datetime


def klarna_timestamp(epoch_seconds: float) -> str:
    """Return ISO 8601 in UTC with milliseconds, such as `2019-05-13T14:54:04.675Z`.

    Source: the examples of Klarna docs, hosted payment page: read session.
    """
    moment = datetime.fromtimestamp(epoch_seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_seconds(timestamp: str) -> float:
    """Return the seconds since the epoch of an ISO 8601 time.

    Raises:
        ValueError: The text is no ISO 8601 time or has no time zone.
    """
    moment = datetime.fromisoformat(timestamp)
    if moment.tzinfo is None:
        raise ValueError("a time zone is required, such as 2019-05-13T14:54:04.675Z")
    return moment.timestamp()
