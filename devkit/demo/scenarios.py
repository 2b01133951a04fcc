"""The payment sessions of the demo, and how each must end. Data only.

Seconds count from a session's creation. The first three have the ids, tokens and order ids of
the examples in Klarna's own documents; their dates are moved to today.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

AUTHORIZED = ("authorized",)
ORDER_PLACED = ("order_placed",)
EU = "eu"
US = "us"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One payment session: its script at the mock Klarna server, how it is tracked, its result.

    `tracked` says how the shop enqueues it: by its id alone, with every argument, or with Klarna's
    response to the creation. `callback_at` and `deleted_at` are when the shop nudges it, or
    deletes it at Klarna.
    """

    title: str
    outcome: str
    events: tuple[str, ...]
    script: dict[str, Any]
    tracked: Literal["id", "arguments", "create response"] = "id"
    callback_at: float | None = None
    deleted_at: float | None = None
    faults: tuple[dict[str, Any], ...] = field(default=())


def _pays(title: str, *steps: tuple[float, str], **more: Any) -> Scenario:  # noqa: ANN401
    """A customer who pays; the shop gets a token."""
    script = {"steps": [list(step) for step in steps], **more.pop("script", {})}
    given: dict[str, Any] = {"outcome": "completed", "events": AUTHORIZED, **more}
    return Scenario(title=title, script=script, **given)


def _through(title: str, *faults: dict[str, Any], account: str = "default") -> Scenario:
    """A paid session whose reads fail for a while, from the second on."""
    faulty = tuple({"skip": 1, "times": 1, **fault} for fault in faults)
    return _pays(
        title,
        (3.0, "IN_PROGRESS"),
        (7.0, "COMPLETED"),
        faults=faulty,
        script={"account": account},
    )


SCENARIOS = (
    _pays(
        "Klarna's example: waiting, in progress, completed",
        (3.0, "IN_PROGRESS"),
        (7.0, "COMPLETED"),
        tracked="arguments",
        script={
            "session_id": "39a1c773-bafd-754d-af1f-b30c592f1267",
            "authorization_token": "a1a8f727-2756-6058-bd3c-40069be0994b",
            "expires_in": 47 * 3600.0,
        },
    ),
    _pays(
        "Klarna's example: order placed",
        (2.0, "IN_PROGRESS"),
        (6.0, "COMPLETED"),
        tracked="create response",
        events=ORDER_PLACED,
        script={
            "session_id": "9cbc9884-1fdb-45a8-9694-9340340d0436",
            "place_order_mode": "PLACE_ORDER",
            "order_id": "a1a8f727-2756-6058-bd3c-40069be0994b",
            "klarna_reference": "X438HG0Q",
        },
    ),
    _pays(
        "Klarna's example: order captured",
        (2.0, "IN_PROGRESS"),
        (8.0, "COMPLETED"),
        events=ORDER_PLACED,
        script={
            "session_id": "a15b228c-02ad-11e9-8eb2-f2801f1b9fd1",
            "place_order_mode": "CAPTURE_ORDER",
            "order_id": "93d644a2-43f3-11e9-b210-d663bd873d93",
            "klarna_reference": "ffc25786",
        },
    ),
    _pays("Pays", (2.0, "IN_PROGRESS"), (6.0, "COMPLETED")),
    _pays("Pays between two reads", (4.0, "COMPLETED")),
    _pays(
        "Is declined, tries again, pays",
        (2.0, "IN_PROGRESS"),
        (5.0, "FAILED"),
        (8.0, "IN_PROGRESS"),
        (11.0, "COMPLETED"),
    ),
    _pays(
        "Goes back, returns, pays",
        (2.0, "IN_PROGRESS"),
        (5.0, "BACK"),
        (8.0, "IN_PROGRESS"),
        (11.0, "COMPLETED"),
    ),
    _pays("Meets an error, pays", (2.0, "IN_PROGRESS"), (5.0, "ERROR"), (9.0, "COMPLETED")),
    _pays("Has its identity checked, pays", (2.0, "MANUAL_ID_CHECK"), (7.0, "COMPLETED")),
    _pays("Has an unknown status, pays", (2.0, "ON_HOLD"), (6.0, "COMPLETED")),
    _pays(
        "Pays long after opening; the callback nudges",
        (0.0, "IN_PROGRESS"),
        (609.0, "COMPLETED"),
        callback_at=9.5,
        script={"started_ago": 600.0},
    ),
    _pays(
        "Paid 50 minutes ago, callback lost, no order yet: expiring",
        (0.0, "IN_PROGRESS"),
        (600.0, "COMPLETED"),
        events=(*AUTHORIZED, "authorization_expiring"),
        script={"started_ago": 600.0 + 50 * 60},
    ),
    _pays(
        "Paid more than an hour ago, callback lost: lapsed",
        (0.0, "IN_PROGRESS"),
        (600.0, "COMPLETED"),
        events=(*AUTHORIZED, "authorization_lapsed"),
        script={"started_ago": 600.0 + 62 * 60},
    ),
    _pays(
        "Token and order at once",
        (5.0, "COMPLETED"),
        events=(*AUTHORIZED, *ORDER_PLACED),
        script={"carries": "both"},
    ),
    _pays(
        "Completed with neither; the token comes later",
        script={
            "steps": [
                {"after": 5.0, "status": "COMPLETED", "carries": "neither"},
                {"after": 7.5, "status": "COMPLETED", "carries": "token"},
            ]
        },
    ),
    Scenario(
        title="Cancels",
        outcome="cancelled",
        events=("cancelled",),
        script={"steps": [[2.0, "IN_PROGRESS"], [6.0, "CANCELLED"]]},
    ),
    Scenario(
        title="Is disabled by the shop",
        outcome="disabled",
        events=("disabled",),
        script={"steps": [[2.0, "IN_PROGRESS"]]},
        deleted_at=6.0,
    ),
    Scenario(
        title="Never opens the page",
        outcome="expired",
        events=("expired",),
        script={"expires_in": 8.0},
    ),
    Scenario(
        title="Is declined and leaves; 404 after expiry",
        outcome="expired",
        events=("expired",),
        script={
            "steps": [[2.0, "IN_PROGRESS"], [4.0, "FAILED"]],
            "expires_in": 9.0,
            "after_expiry": "not_found",
        },
    ),
    _pays("KP session: authorized", (5.0, "authorized"), script={"kind": "kp"}),
    _pays(
        "KP session: complete",
        (5.0, "complete"),
        events=("completed",),
        script={"kind": "kp", "carries": "neither"},
    ),
    Scenario(
        title="KP session: expires",
        outcome="expired",
        events=("expired",),
        script={"kind": "kp", "expires_in": 8.0},
    ),
    _through("500 from Klarna", {"kind": "status", "code": 500, "times": 2}),
    _through("Timeout", {"kind": "delay", "delay_seconds": 5.0}),
    _through("Connection reset", {"kind": "reset"}),
    _through("Half a JSON document", {"kind": "truncated"}),
    _through("Response of another session", {"kind": "wrong_session_id"}),
    _through("An outdated response", {"kind": "stale"}),
    _through("A redirect to another host", {"kind": "redirect", "location": "http://127.0.0.1:9/"}),
    _through("429, empty: the account slows down", {"kind": "status", "code": 429}, account=EU),
    _through("401 as HTML: the account pauses", {"kind": "status", "code": 401}, account=US),
)
