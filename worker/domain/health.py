"""From when on `health` calls what it sees a fault. Pure.

The bounds outlast a rolling restart and a minute's trouble of one server or one session.
"""

from __future__ import annotations

from datetime import timedelta

# A heartbeat comes every ten seconds, and beat reads the queues as often.
SEEN_WITHIN = timedelta(seconds=45)
STANDS_STILL_AFTER = timedelta(seconds=45)
# What beat saw of a queue holds so long; later nobody knows whether it still stands still.
QUEUE_SEEN_FOR = timedelta(seconds=15)
# A worker or beat touches PROGRESS_FILE every ten seconds at least.
PROGRESS_WITHIN = timedelta(seconds=90)
# Reads of an account have to fail for so long.
READS_FAIL_AFTER = timedelta(seconds=45)
# A session has been read in vain after so many failures in a row; one alone proves nothing.
FAILURES_IN_VAIN = 5
SESSIONS_IN_VAIN = 2
# A session that fails for so long does so by itself, whatever its account does.
SESSION_FAILS_AFTER = timedelta(minutes=10)
