"""Klarna's rate limit in the headers of answers, and implausible values, which are ignored."""

from __future__ import annotations

import pytest
from httpx import Headers

from worker.adapters.klarna.rate_limit import read_quota
from worker.domain.session import NOTHING_SAID, ReadQuota


@pytest.mark.parametrize(
    ("limit", "rate"),
    [
        pytest.param("200", 200, id="a-number"),
        pytest.param("5, 5;w=1", 5, id="as-recorded"),
        pytest.param("10, 10;w=1, 300;w=60", 5, id="two-windows-the-tighter-one"),
        pytest.param("1, 1;w=10", 0.1, id="less-than-one-a-second"),
        pytest.param(" 7 , x;w=1, 9;w=0", 7, id="what-of-it-can-be-read"),
    ],
)
def test_a_limit_is_read_in_reads_a_second(limit: str, rate: float):
    headers = Headers({"X-Ratelimit-Limit": limit, "X-Ratelimit-Remaining": "3"})

    assert read_quota(headers) == ReadQuota(limit=rate, remaining=3)


@pytest.mark.parametrize(
    "limit", ["", "0", "-1", "1e9", "abc", "nan", "9999999999", "1, 1;w=99", "0, 0;w=1", ";w=;,"]
)
def test_what_is_no_limit_says_nothing_whatever_is_left_of_it(limit: str):
    """Without a limit, `0` remaining must not cut the budget."""
    headers = Headers({"X-Ratelimit-Limit": limit, "X-Ratelimit-Remaining": "0"})

    assert read_quota(headers) == NOTHING_SAID


@pytest.mark.parametrize("remaining", ["", "-5", "x", "9" * 400])
def test_what_is_left_may_be_unreadable(remaining: str):
    headers = Headers({"X-Ratelimit-Limit": "5", "X-Ratelimit-Remaining": remaining})

    assert read_quota(headers) == ReadQuota(limit=5)


def test_without_the_header_nothing_is_said():
    assert read_quota(Headers({"X-Ratelimit-Remaining": "0"})) == NOTHING_SAID
