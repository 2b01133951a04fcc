"""Every log event of the worker: one name has one meaning and one level. A test reads the code.

Names that end in `_crashed` are faults of this program; outages have names of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

from worker.contract.log_events.delivery import DELIVERY
from worker.contract.log_events.intake import INTAKE
from worker.contract.log_events.model import LogEvent
from worker.contract.log_events.polling import POLLING
from worker.contract.log_events.processes import PROCESSES

__all__ = ["LOG_EVENTS", "LogEvent", "log_event_table"]

LOG_EVENTS: tuple[LogEvent, ...] = (*POLLING, *DELIVERY, *INTAKE, *PROCESSES)
_TITLES = (
    ("Payment sessions and accounts", POLLING),
    ("Events, orders and tokens", DELIVERY),
    ("Messages of shops, heartbeats, queues", INTAKE),
    ("Processes", PROCESSES),
)


def log_event_table() -> str:
    """Return the registry as Markdown tables; `!` marks the lines to alert on."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    for title, events in _TITLES:
        yield from ("", f"**{title}**", "")
        yield from ("| event | level | fields | meaning | what to do |", "|---|---|---|---|---|")
        for event in events:
            fields = ", ".join(f"`{field}`" for field in event.fields)
            level = f"{event.level} !" if event.alert else event.level
            yield f"| `{event.name}` | {level} | {fields} | {event.meaning} | {event.action} |"
