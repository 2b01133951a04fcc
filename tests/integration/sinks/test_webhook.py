"""One webhook endpoint over real HTTP: its requests, and the results of its answers."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import pytest

from tests.hostile.listening import Listener, answer, say
from tests.support.webhook_receiver import WebhookReceiver, a_secret, webhook_receiver
from worker.adapters import clock
from worker.adapters.sinks.webhook import WebhookEndpoint, WebhookSink
from worker.domain.deliveries import Refusal
from worker.domain.events import Event, EventType, with_token
from worker.services.errors import DeliveryError

pytestmark = pytest.mark.anyio

SECRET = a_secret()
EVENT = with_token(
    Event(
        type=EventType.AUTHORIZED,
        session_id="s1",
        sequence=1,
        time=clock.now(),
        data={"session_id": "s1", "reference": "Größe 1"},
    ).envelope(),
    "canary-token",
)

MakeSink = Callable[..., WebhookSink]


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as opened:
        yield opened


@pytest.fixture
async def make_sink() -> AsyncIterator[MakeSink]:
    made: list[WebhookSink] = []

    def make(url: str, *, secrets: tuple[str, ...] = (SECRET,), **options: object) -> WebhookSink:
        endpoint = WebhookEndpoint(sink="webhook", url=url, secrets=secrets)
        defaults = {"allow_private": True, "context": ssl.create_default_context()}
        sink = WebhookSink(endpoint, **(defaults | options), now=clock.now)
        made.append(sink)
        return sink

    yield make
    for sink in made:
        await sink.aclose()


async def refused(sink: WebhookSink) -> DeliveryError:
    with pytest.raises(DeliveryError) as raised:
        await sink.deliver(EVENT)
    assert "canary" not in str(raised.value)
    assert "hook" not in str(raised.value)
    return raised.value


# --- what is sent


async def test_the_reference_verifier_and_the_cloudevents_sdk_read_what_is_sent(
    receiver: WebhookReceiver, make_sink: MakeSink
):
    await make_sink(receiver.url).deliver(EVENT)

    (request,) = receiver.received
    assert request.verified(SECRET) == EVENT
    event = request.cloud_event()
    assert (event.get_type(), event.get_subject()) == ("payment_session.authorized", "s1")
    assert event.get_data() == EVENT["data"]
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert request.headers["webhook-id"] == EVENT["id"]
    assert request.headers["user-agent"].startswith("klarna-session-worker/")


@pytest.mark.parametrize(
    "target",
    [
        "/hook/a%2Cb%7E?to=%2Fx&ids=[1]",
        "/hook/%41%2fb;c=d/?q=a+b%20c&empty=&again=1&again=2&x",
        "//twice//a/?",
        "/?a=b",
    ],
)
async def test_the_url_goes_out_as_configured(make_sink: MakeSink, target: str):
    """A receiver may sign or route by the target: not one of its bytes is quoted again."""
    with Listener(say(answer(b""))) as listener:
        await make_sink(listener.origin + target).deliver(EVENT)

        (request,) = listener.heard()
    assert request.startswith(f"POST {target} HTTP/1.1\r\n".encode())


async def test_every_current_secret_signs_so_that_none_is_missed_while_they_change(
    receiver: WebhookReceiver, make_sink: MakeSink
):
    new = a_secret()

    await make_sink(receiver.url, secrets=(new, SECRET)).deliver(EVENT)

    (request,) = receiver.received
    assert request.verified(SECRET) == request.verified(new) == EVENT
    assert request.headers["webhook-signature"].count("v1,") == 2


async def test_a_cookie_of_the_receivers_is_not_sent_back(
    receiver: WebhookReceiver, make_sink: MakeSink
):
    receiver.headers = {"Set-Cookie": "mine=1"}
    sink = make_sink(receiver.url)

    await sink.deliver(EVENT)
    await sink.deliver(EVENT)

    assert [request.headers.get("cookie") for request in receiver.received] == [None, None]


# --- what answers come to


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
async def test_any_2xx_takes_it(receiver: WebhookReceiver, make_sink: MakeSink, code: int):
    receiver.answer = code

    await make_sink(receiver.url).deliver(EVENT)

    assert len(receiver.received) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_is_not_followed(
    receiver: WebhookReceiver, make_sink: MakeSink, code: int
):
    with webhook_receiver() as elsewhere:
        receiver.answer, receiver.headers = code, {"Location": elsewhere.url}

        error = await refused(make_sink(receiver.url))

        assert str(error) == f"HTTP {code}: redirects are not followed"
        assert elsewhere.received == []


@pytest.mark.parametrize(
    ("code", "headers", "refusal", "asked"),
    [
        (400, {}, Refusal.RETRY, None),
        (500, {}, Refusal.RETRY, None),
        (500, {"Retry-After": "30"}, Refusal.RETRY, 30),
        (429, {}, Refusal.RETRY, None),
        (429, {"Retry-After": "30"}, Refusal.PAUSE, 30),
        (503, {"Retry-After": "30"}, Refusal.PAUSE, 30),
        (503, {"Retry-After": "soon"}, Refusal.RETRY, None),
        (410, {"Retry-After": "30"}, Refusal.GONE, None),
    ],
)
async def test_what_else_is_answered_says_what_to_do(
    receiver: WebhookReceiver,
    make_sink: MakeSink,
    code: int,
    headers: dict[str, str],
    refusal: Refusal,
    asked: int | None,
):
    receiver.answer, receiver.headers = code, headers

    error = await refused(make_sink(receiver.url))

    assert str(error).startswith(f"HTTP {code}")
    assert error.refusal is refusal
    assert error.asked == (None if asked is None else timedelta(seconds=asked))


async def test_an_answer_that_does_not_come_is_not_waited_for(
    receiver: WebhookReceiver, make_sink: MakeSink
):
    receiver.answering.clear()

    error = await refused(make_sink(receiver.url, timeout=timedelta(seconds=0.2)))

    assert str(error) == "no answer within 0.2 s"


async def test_an_endless_body_is_not_read(make_sink: MakeSink):
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10

    with Listener(say(endless)) as listener:
        await make_sink(listener.origin, timeout=timedelta(seconds=5)).deliver(EVENT)


@pytest.mark.parametrize("nonsense", [b"", b"220 smtp ready\r\n\r\n", b"HTTP/1.1 999999 \r\n\r\n"])
async def test_an_answer_that_is_none_is_a_failure(make_sink: MakeSink, nonsense: bytes):
    with Listener(say(nonsense)) as listener:
        await refused(make_sink(listener.origin))


async def test_what_a_receiver_answers_is_not_repeated(make_sink: MakeSink):
    echo = answer(json.dumps(EVENT).encode(), code=400)

    with Listener(say(echo)) as listener:
        assert str(await refused(make_sink(listener.origin))) == "HTTP 400"


async def test_nobody_listening_is_a_failure_that_says_so(make_sink: MakeSink):
    error = await refused(make_sink("http://127.0.0.1:1/hook"))

    assert str(error) == "connection failed: ClientConnectorError"


# --- where it goes


@pytest.mark.parametrize(
    ("host", "listens_on"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - refused, not listened on
        ("[::1]", "::1"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
    ],
)
async def test_a_name_or_address_of_this_network_is_not_connected_to(
    make_sink: MakeSink, host: str, listens_on: str
):
    with Listener(say(answer(b"")), host=listens_on) as listener:
        url = f"http://{host}:{listener.port}/hook"
        error = await refused(make_sink(url, allow_private=False))

        assert str(error) == "its address is not a public one: WEBHOOK_ALLOW_PRIVATE"
        assert listener.heard() == []


async def test_the_address_is_checked_at_every_connection_not_when_its_name_was_looked_up(
    make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
):
    """A name may resolve to a private address after it was checked."""
    found: list[str] = []

    def public_at_first(address: str) -> bool:
        found.append(address)
        return len(found) == 1

    monkeypatch.setattr("worker.adapters.sinks.webhook.is_public", public_at_first)
    with Listener(say(answer(b"", "Connection: close"))) as listener:
        sink = make_sink(f"http://localhost:{listener.port}/hook", allow_private=False)
        await sink.deliver(EVENT)
        assert str(await refused(sink)).startswith("its address is not a public one")

        assert len(listener.heard()) == 1
    assert set(found) <= {"127.0.0.1", "::1"}
