"""What Klarna's answers say of its rate limit, in the headers `X-Ratelimit-…`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from worker.domain.session import NOTHING_SAID, ReadQuota

# `5, 5;w=1`: the limit, then as a policy with its window in seconds, of which there may be several.
_POLICY = re.compile(r"\s*(\d{1,9})\s*;\s*w\s*=\s*(\d{1,9})\s*")
_COUNT = re.compile(r"\s*(\d{1,9})\s*")
# Outside of these it is no limit that anybody was given.
_LOWEST, _HIGHEST = 0.1, 100_000.0


def read_quota(headers: Mapping[str, str]) -> ReadQuota:
    """Return what is said and can be read, in reads a second; never raises."""
    limit = _limit(headers.get("X-Ratelimit-Limit", ""))
    if limit is None:
        return NOTHING_SAID  # what is left of no limit says nothing either
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
