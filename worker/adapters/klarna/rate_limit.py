"""Parses Klarna's rate limit from the headers `X-Ratelimit-…`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from worker.domain.session import NOTHING_SAID, ReadQuota

# `5, 5;w=1`: the limit, then one or more policies with their window in seconds.
_POLICY = re.compile(r"\s*(\d{1,9})\s*;\s*w\s*=\s*(\d{1,9})\s*")
_COUNT = re.compile(r"\s*(\d{1,9})\s*")
# Values outside are ignored as implausible.
_LOWEST, _HIGHEST = 0.1, 100_000.0


def read_quota(headers: Mapping[str, str]) -> ReadQuota:
    """Return the limit in reads a second, and the remaining reads, if they are readable."""
    limit = _limit(headers.get("X-Ratelimit-Limit", ""))
    if limit is None:
        return NOTHING_SAID  # the remaining reads mean nothing without a limit
    remaining = _COUNT.fullmatch(headers.get("X-Ratelimit-Remaining", ""))
    return ReadQuota(limit=limit, remaining=int(remaining[1]) if remaining else None)


def _limit(text: str) -> float | None:
    parts = text[:200].split(",")
    policies = [found for part in parts if (found := _POLICY.fullmatch(part))]
    rates = [int(found[1]) / int(found[2]) for found in policies if int(found[2])]
    if not rates and (alone := _COUNT.fullmatch(parts[0])):
        rates = [float(alone[1])]
    rate = min(rates, default=0.0)
    return rate if _LOWEST <= rate <= _HIGHEST else None
