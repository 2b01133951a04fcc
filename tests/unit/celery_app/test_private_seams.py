"""The two methods of Celery and kombu that we override although they are not public.

Everything else of theirs that we use is public API. When one of these tests fails after an upgrade:
read the method and its callers again, change our override where that is needed, then write the new
version and digest here.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import celery
import kombu
import pytest
from celery.worker import loops
from celery.worker.consumer import Consumer
from kombu.transport import redis, virtual


@dataclass(frozen=True)
class Seam:
    """Code of a library that one of our classes depends on."""

    ours: str
    library: str
    version: str
    function: Callable[..., object]
    signature: str
    digest: str


SEAMS = [
    Seam(
        ours="worker/celery_app/consumer.py overrides it to check messages first",
        library="celery",
        version="5.7",
        function=Consumer.create_task_handler,
        signature="(self, promise=<class 'vine.promises.promise'>)",
        digest="548d78039466560c",
    ),
    Seam(
        ours="worker/celery_app/consumer.py relies on it to use `create_task_handler`",
        library="celery",
        version="5.7",
        function=loops.asynloop,
        signature="(obj, connection, consumer, blueprint, hub, qos, heartbeat, clock, hbrate=2.0)",
        digest="772bc7cdfab23b88",
    ),
    Seam(
        ours="worker/celery_app/redis_transport.py overrides it to keep one client",
        library="kombu",
        version="5.7",
        function=redis.Channel._create_client,  # noqa: SLF001 - it is the seam
        signature="(self, asynchronous=False)",
        digest="b7d6e78154d3478e",
    ),
    Seam(
        ours="worker/celery_app/redis_transport.py relies on it to make a new pool",
        library="kombu",
        version="5.7",
        function=redis.Channel._disconnect_pools,  # noqa: SLF001 - it is what renews the pool
        signature="(self)",
        digest="bd0c8c67e4f44805",
    ),
    Seam(
        ours="worker/celery_app/redis_transport.py relies on it: no reply of BRPOP is no message",
        library="kombu",
        version="5.7",
        function=redis.Channel._brpop_read,  # noqa: SLF001 - it reads the reply
        signature="(self, **options)",
        digest="61a2bfc9294c1c8c",
    ),
    Seam(
        ours="worker/celery_app/redis_transport.py relies on it: no reply is no broadcast",
        library="kombu",
        version="5.7",
        function=redis.Channel._receive_one,  # noqa: SLF001 - it reads the reply
        signature="(self, c)",
        digest="41c829901aacda82",
    ),
    Seam(
        ours="worker/celery_app/redis_messages.py gives it what it needs",
        library="kombu",
        version="5.7",
        function=redis.Channel._do_restore_message,  # noqa: SLF001 - it puts messages back
        signature="(self, payload, exchange, routing_key, pipe, leftmost=False)",
        digest="70f28a5b5ebc7649",
    ),
    Seam(
        ours="worker/celery_app/redis_messages.py gives it what it needs",
        library="kombu",
        version="5.7",
        function=virtual.Message.__init__,
        signature="(self, payload, channel=None, **kwargs)",
        digest="ff6e49619a1c6a4f",
    ),
]
INSTALLED = {"celery": celery.VERSION, "kombu": kombu.VERSION}


def source_of(function: Callable[..., object]) -> str:
    return textwrap.dedent(inspect.getsource(function))


def digest_of(source: str) -> str:
    """Return a digest of the code; comments and layout do not change it."""
    return hashlib.sha256(ast.unparse(ast.parse(source)).encode()).hexdigest()[:16]


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.function.__qualname__)
def test_a_private_method_is_as_it_was_when_we_overrode_it(seam: Seam):
    name = f"{seam.library}: {seam.function.__qualname__}"
    installed = ".".join(map(str, INSTALLED[seam.library][:2]))
    advice = f"{seam.ours}. Read it again, then state what is there now."

    assert installed == seam.version, (
        f"{name} was read in {seam.version}, not {installed}; {advice}"
    )
    assert str(inspect.signature(seam.function)) == seam.signature, f"{name}: {advice}"
    assert digest_of(source_of(seam.function)) == seam.digest, f"{name} has other code; {advice}"


def test_a_digest_depends_on_code_alone():
    assert digest_of("value = 1") == digest_of("value  =  1  # a comment")
    assert digest_of("value = 1") != digest_of("value = 2")
