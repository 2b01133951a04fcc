"""What failed deliveries come to, for themselves and for their sink."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.adapters.shop_systems.commerce_layer import CommerceLayerSink
from worker.adapters.shop_systems.payway import PaywaySink
from worker.adapters.sinks.celery_task import CeleryTaskSink
from worker.adapters.sinks.redis_stream import RedisStreamSink
from worker.adapters.sinks.webhook import WebhookSink
from worker.domain.deliveries import (
    INTERNAL,
    LONGEST_ASKED_WAIT,
    LONGEST_AUTHORIZATION_WAIT,
    ORDER,
    WEBHOOK,
    Failure,
    Refusal,
    RetryDecision,
    RetrySchedule,
    Route,
    delivery_backoff,
    retry_decision,
)
from worker.domain.events import EventType

NEW = timedelta(0)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def a_failure(**overrides: object) -> Failure:
    return Failure(**({"attempts": 1, "age": NEW} | overrides))


def test_a_route_without_types_takes_every_type():
    assert all(Route(sink="webhook").takes(each) for each in EventType)


def test_a_route_with_types_takes_those_alone():
    route = Route(sink="webhook", types=frozenset({EventType.AUTHORIZED}))

    assert [each for each in EventType if route.takes(each)] == [EventType.AUTHORIZED]


def test_who_places_orders_is_reported_of_its_own_payments_only():
    own = {
        sink: Route(sink=sink).requires_mapping for sink in ("commerce_layer", "payway", "webhook")
    }

    assert own == {"commerce_layer": True, "payway": True, "webhook": False}


def test_an_order_is_tried_every_half_minute_for_the_hour_that_its_token_lives():
    """The last try comes at the end of the hour, then no more."""
    waits = [
        retry_decision(a_failure(attempts=n, age=n * HOUR / 240), ORDER, jitter=1) for n in (1, 40)
    ]
    late = retry_decision(a_failure(attempts=200, age=0.999 * HOUR), ORDER, jitter=1)

    assert waits == [
        RetryDecision(wait=timedelta(seconds=1)),
        RetryDecision(wait=timedelta(seconds=30)),
    ]
    assert late.wait is not None
    assert late.wait < timedelta(seconds=4)
    assert retry_decision(a_failure(attempts=201, age=HOUR), ORDER, jitter=1).wait is None


@pytest.mark.parametrize(
    ("attempts", "jitter", "seconds"),
    [(0, 1, 1), (1, 0, 0.5), (1, 1, 1), (4, 0, 4), (4, 0.5, 6), (50, 0, 150), (50, 1, 300)],
)
def test_a_failed_delivery_waits_half_to_all_of_its_backoff(
    attempts: int, jitter: float, seconds: float
):
    wait = delivery_backoff(attempts, INTERNAL, jitter=jitter)

    assert wait == timedelta(seconds=seconds)


def test_our_own_servers_are_tried_for_ever():
    decision = retry_decision(a_failure(attempts=10**6, age=1000 * DAY), INTERNAL, jitter=1)

    assert decision == RetryDecision(wait=timedelta(minutes=5))


def test_a_webhook_is_tried_ten_times_within_the_hour_that_a_token_lives():
    age, tries = NEW, 0
    while age < HOUR:
        tries += 1
        age += retry_decision(a_failure(attempts=tries, age=age), WEBHOOK, jitter=0.5).wait

    assert tries == 10


@settings(max_examples=100, deadline=None, database=None)
@given(st.floats(0, 1, exclude_max=True))
def test_a_webhooks_last_try_comes_after_three_days_and_then_it_is_dead(jitter: float):
    age, tries = NEW, 1
    while (
        decision := retry_decision(a_failure(attempts=tries, age=age), WEBHOOK, jitter=jitter)
    ).wait:
        age += decision.wait
        tries += 1

    assert decision == RetryDecision(wait=None)
    assert age == 3 * DAY
    assert 15 <= tries <= 40


def test_a_wait_that_is_asked_for_is_kept_but_never_shortens_the_backoff():
    asked = retry_decision(a_failure(asked=timedelta(minutes=2)), WEBHOOK, jitter=0)
    shorter = retry_decision(
        a_failure(attempts=20, age=DAY, asked=timedelta(minutes=2)), WEBHOOK, jitter=1
    )

    assert asked == RetryDecision(wait=timedelta(minutes=2))
    assert shorter == RetryDecision(wait=timedelta(hours=8))


def test_a_wait_that_is_asked_for_is_bounded():
    decision = retry_decision(a_failure(asked=DAY), WEBHOOK, jitter=0)

    assert decision.wait == LONGEST_ASKED_WAIT


def test_a_pause_that_is_asked_for_holds_the_whole_sink():
    pause = timedelta(seconds=90)

    decision = retry_decision(a_failure(refusal=Refusal.PAUSE, asked=pause), WEBHOOK, jitter=0)

    assert decision == RetryDecision(wait=pause, pause_sink=pause)


@pytest.mark.parametrize("schedule", [WEBHOOK, INTERNAL, ORDER])
@pytest.mark.parametrize("refusal", [Refusal.RETRY, Refusal.PAUSE])
@pytest.mark.parametrize("asked", [None, HOUR, DAY])
def test_an_authorization_waits_a_minute_at_most_while_its_token_is_valid(
    schedule: RetrySchedule, refusal: Refusal, asked: timedelta | None
):
    failure = a_failure(
        attempts=30, age=HOUR / 2, refusal=refusal, asked=asked, token_left=timedelta(seconds=1)
    )

    decision = retry_decision(failure, schedule, jitter=0.999)

    assert NEW < decision.wait <= LONGEST_AUTHORIZATION_WAIT == timedelta(minutes=1)
    paused = refusal is Refusal.PAUSE and asked
    assert decision.pause_sink == (LONGEST_AUTHORIZATION_WAIT if paused else None)


@pytest.mark.parametrize("token_left", [None, NEW, timedelta(seconds=-1)])
def test_without_a_valid_token_a_pause_may_last_an_hour(token_left: timedelta | None):
    failure = a_failure(refusal=Refusal.PAUSE, asked=HOUR, token_left=token_left)

    assert retry_decision(failure, WEBHOOK, jitter=0) == RetryDecision(wait=HOUR, pause_sink=HOUR)


@pytest.mark.parametrize("jitter", [0, 0.5, 0.999])
def test_sixty_attempts_in_a_tokens_hour_do_not_lead_to_the_longest_wait(jitter: float):
    """The next attempts come as if fewer had been made; so far back clocks may not shorten them."""
    late = retry_decision(a_failure(attempts=60, age=HOUR), WEBHOOK, jitter=jitter)
    back = retry_decision(a_failure(attempts=60, age=-DAY), WEBHOOK, jitter=jitter)

    assert late.wait == 2 * HOUR + WEBHOOK.first_wait
    assert back.wait == WEBHOOK.first_wait


@pytest.mark.parametrize("schedule", [WEBHOOK, INTERNAL, ORDER])
@pytest.mark.parametrize("jitter", [0, 0.5, 0.999])
def test_waits_that_double_are_not_shortened(schedule: RetrySchedule, jitter: float):
    age = NEW
    for attempts in range(1, 12):
        wait = retry_decision(a_failure(attempts=attempts, age=age), schedule, jitter=jitter).wait
        assert wait == delivery_backoff(attempts, schedule, jitter=jitter)
        age += wait


def test_a_pause_of_no_said_length_holds_nothing_else():
    decision = retry_decision(a_failure(refusal=Refusal.PAUSE), WEBHOOK, jitter=0)

    assert decision == RetryDecision(wait=timedelta(seconds=2.5))


def test_a_sink_that_is_gone_is_disabled_and_the_delivery_waits_for_it():
    decision = retry_decision(a_failure(refusal=Refusal.GONE, age=9 * DAY), WEBHOOK, jitter=0)

    assert decision == RetryDecision(wait=NEW, disable_sink=True)


def test_an_event_that_is_refused_for_good_is_dead_at_once():
    assert retry_decision(
        a_failure(refusal=Refusal.PERMANENT), INTERNAL, jitter=0
    ) == RetryDecision(wait=None)


def test_the_relay_task_waits_for_our_own_servers_alone():
    """Beat, which builds no sink, goes by the name; the relay by the sink."""
    for sink in (RedisStreamSink, CeleryTaskSink, CommerceLayerSink, PaywaySink, WebhookSink):
        name = getattr(sink, "name", "webhook")
        assert Route(sink=name).internal is (sink.in_flight is None)
