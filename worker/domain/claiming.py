"""How a claim orders due sessions, and when one that cannot be read is given up.

The decisions are made in SQL, which is formatted with these constants.
"""

from __future__ import annotations

from datetime import timedelta

from worker.domain.account import LONGEST_PAUSE
from worker.domain.schedule import LONGEST_INTERVAL
from worker.domain.session import AUTHORIZATION_LIFETIME
from worker.domain.transitions import GIVE_UP_AFTER

# An account that is probed has one request under way.
PROBES_IN_FLIGHT = 1
# A claim takes half of the tasks that are left. The fewer are left, the more sessions each carries,
# so a budget that is granted in small parts does not use up all tasks with one session each.
SHARE_OF_FREE_TASKS = 0.5
# Up to so many sessions have a task each. Beyond that, a task carries four times as many sessions
# as there are tasks: a task costs as much as several polls.
TASKS_OF_ONE_SESSION = 4
SESSIONS_PER_TASK_RATIO = 4

# The value of a read grows with its lateness ratio: how many times its ideal interval the session
# has waited. Shorter ideal intervals count as this one.
LEAST_IDEAL_INTERVAL_SECONDS = 1
# A session that expires within this time counts double.
EXPIRES_SOON = timedelta(minutes=2)
EXPIRES_SOON_WEIGHT = 2

# After an outage the most urgent come first. A session last read between these two ages may hold a
# token that nobody has seen and that is about to end; one that expires this soon may still be paid.
URGENT_SINCE_READ = (LONGEST_INTERVAL, AUTHORIZATION_LIFETIME)
URGENT_BEFORE_EXPIRY = timedelta(minutes=20)

# Sessions of a refused account are given up unread this long after their end: an hour after
# a session whose reads fail is given up by its own poll.
GIVE_UP_UNREAD_AFTER = GIVE_UP_AFTER + timedelta(hours=1)
# The account counts as refused if its latest pause ended no longer ago than this.
REFUSED_RECENTLY = 2 * LONGEST_PAUSE
GIVE_UP_LEASE = timedelta(seconds=60)
