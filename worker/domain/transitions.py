"""`decide`: what one answer of Klarna means for a payment session. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.domain.account import AccountState
from worker.domain.decision import Decision, Finding
from worker.domain.endings import EMPTY_COMPLETED_INTERVAL, empty_window_end, end
from worker.domain.errors import ObservationError, RateLimitedError, Verdict
from worker.domain.events import Event
from worker.domain.schedule import PollLimits, ideal_interval, next_poll_at, retry_at
from worker.domain.session import (
    Observation,
    Outcome,
    PaymentSession,
    Transition,
    final_outcome,
    settled_outcome,
)

# A session that was never read is `not_found` after this many 404s in a row, over this time.
NOT_FOUND_ANSWERS = 5
NOT_FOUND_WINDOW = timedelta(minutes=15)
# How long after its end a session is still tried while its reads fail.
GIVE_UP_AFTER = timedelta(hours=24)


def decide(
    session: PaymentSession,
    answer: Observation | ObservationError,
    *,
    account: AccountState,
    now: datetime,
    jitter: float,
    limits: PollLimits,
) -> Decision:
    """Return what `answer`, received at `now`, means for `session` (whose outcome is open)."""
    polled = replace(session, poll_count=session.poll_count + 1, last_polled_at=now)
    context = _Context(session, account, now, jitter, limits)
    if isinstance(answer, ObservationError):
        return context.after_error(polled, answer)
    read = replace(
        polled,
        last_read_at=now,
        consecutive_failures=0,
        failing_since=None,
        last_error=None,
        not_found_count=0,
        not_found_since=None,
    )
    return context.after_read(read, answer)


def give_up(session: PaymentSession, *, now: datetime, limits: PollLimits) -> Decision | None:
    """Return the end of a session that could not be read until long after its end, or None."""
    context = _Context(session, AccountState(), now, 0.0, limits)
    if not context.is_over(session):
        return None
    return context.finish_unsettled(session, Finding.GAVE_UP)


@dataclass(frozen=True, slots=True)
class _Context:
    before: PaymentSession
    account: AccountState
    now: datetime
    jitter: float
    limits: PollLimits

    @property
    def deadline(self) -> datetime:
        return self.before.deadline(self.limits.max_lifetime)

    def is_over(self, session: PaymentSession) -> bool:
        """Whether reads failed for GIVE_UP_AFTER since the session's end.

        A later `track`, nudge or first failure starts that time again: while nothing was read,
        nothing failed.
        """
        starts = (self.deadline, session.tracked_at, session.nudged_at, session.failing_since)
        return self.now >= max(moment for moment in starts if moment) + GIVE_UP_AFTER

    # --- healthy reads

    def after_read(self, read: PaymentSession, seen: Observation) -> Decision:
        outcome = settled_outcome(read.kind, seen)
        stale = self._is_stale(seen)
        account = self.account.read(self.now, seen.read_quota)
        if read.is_completed_empty:
            return self._after_empty_completed(read, seen, outcome, account)
        if final_outcome(read.kind, read.status) or (outcome is None and stale):
            return self._continue(read, Finding.STALE, account)
        transition = self._transition(seen)
        after = self._observed(read, seen, transition)
        if after.is_completed_empty and not seen.has_proof:
            return self._await_proof(after, Finding.CHANGED, account, transition)
        if outcome is not None:
            finding = Finding.FINISHED_BY_OLDER_ANSWER if stale else Finding.FINISHED
            return self._finish(
                after, outcome, finding, seen=seen, transition=transition, account=account
            )
        finding = Finding.CHANGED if transition else Finding.UNCHANGED
        if seen.has_proof:
            after = self._with_kept_token(after, seen)
            finding = Finding.PROOF_KEPT if self._is_new_proof(seen) else finding
        return self._continue(after, finding, account, transition)

    def _after_empty_completed(
        self,
        read: PaymentSession,
        seen: Observation,
        outcome: Outcome | None,
        account: AccountState,
    ) -> Decision:
        """No status follows COMPLETED, but proof of payment may."""
        if outcome is Outcome.COMPLETED and seen.has_proof:
            after = self._observed(read, seen, None)
            return self._finish(after, outcome, Finding.FINISHED, seen=seen, account=account)
        finding = Finding.UNCHANGED if seen.status == read.status else Finding.STALE
        return self._await_proof(read, finding, account)

    def _await_proof(
        self,
        read: PaymentSession,
        finding: Finding,
        account: AccountState,
        transition: Transition | None = None,
    ) -> Decision:
        """Read an empty COMPLETED again for a while, whenever the session expires, or end it."""
        window_end = empty_window_end(read)
        if self.now >= window_end:
            return self.finish_unsettled(read, finding, transition=transition, account=account)
        wait = min(EMPTY_COMPLETED_INTERVAL, self.limits.max_interval)
        after = replace(
            read,
            next_poll_at=min(self.now + wait, window_end),
            ideal_interval_seconds=wait.total_seconds(),
        )
        return self._decision(after, finding, transition=transition, account=account)

    def _with_kept_token(self, after: PaymentSession, seen: Observation) -> PaymentSession:
        token = seen.authorization_token
        return replace(
            after, authorization_token=token, holds_token=after.holds_token or token is not None
        )

    def _is_new_proof(self, seen: Observation) -> bool:
        has_new_token = seen.authorization_token is not None and not self.before.holds_token
        return has_new_token or seen.order_id not in {None, self.before.order_id}

    def _is_stale(self, seen: Observation) -> bool:
        """Whether `updated_at` is before that of the recorded status."""
        if seen.updated_at is None or self.before.status_updated_at is None:
            return False
        return seen.updated_at < self.before.status_since

    def _transition(self, seen: Observation) -> Transition | None:
        before = self.before
        moved = seen.updated_at is not None and seen.updated_at != before.status_updated_at
        if seen.status == before.status and not moved:
            return None
        return Transition(
            sequence=before.transition_count + 1,
            from_status=before.status,
            to_status=seen.status,
            occurred_at=min(seen.updated_at or self.now, self.now),
            observed_at=self.now,
            previous_read_at=before.last_read_at,
        )

    def _observed(
        self, read: PaymentSession, seen: Observation, transition: Transition | None
    ) -> PaymentSession:
        after = replace(
            read,
            expires_at=seen.expires_at or read.expires_at,
            order_id=seen.order_id or read.order_id,
            klarna_reference=seen.klarna_reference or read.klarna_reference,
        )
        if transition is None:
            return after
        return replace(
            after,
            status=seen.status,
            status_updated_at=seen.updated_at,
            status_observed_at=self.now,
            transition_count=transition.sequence,
        )

    def _continue(
        self,
        read: PaymentSession,
        finding: Finding,
        account: AccountState,
        transition: Transition | None = None,
    ) -> Decision:
        """Reschedule an open session, or end it if it expired."""
        final_read_at = read.deadline(self.limits.max_lifetime) + self.limits.expiry_grace
        if self.now >= final_read_at:
            return self.finish_unsettled(
                read, Finding.FINISHED, transition=transition, account=account
            )
        status, since = read.status or "", read.status_since
        at = next_poll_at(
            status,
            since=since,
            now=self.now,
            final_read_at=final_read_at,
            jitter=self.jitter,
            limits=self.limits,
            interval_multiplier=self.account.interval_multiplier,
        )
        ideal = ideal_interval(status, since=since, now=self.now, limits=self.limits)
        after = replace(read, next_poll_at=at, ideal_interval_seconds=ideal)
        return self._decision(after, finding, transition=transition, account=account)

    # --- failed reads

    def after_error(self, polled: PaymentSession, error: ObservationError) -> Decision:
        failed = replace(
            polled, last_error=str(error), failing_since=polled.failing_since or self.now
        )
        match error.verdict:
            case Verdict.PAUSE_ACCOUNT:
                return self._wait_for(failed, self.account.refused(self.now))
            case Verdict.SLOW_ACCOUNT:
                retry_after = error.retry_after if isinstance(error, RateLimitedError) else None
                return self._wait_for(failed, self.account.throttled(self.now, retry_after))
            case Verdict.NOT_FOUND:
                return self._after_not_found(failed)
            case Verdict.RETRY:  # pragma: no branch - mypy knows that there is no other
                account = self.account
                if error.of_account:
                    account = account.failed(self.now, session_failures=polled.consecutive_failures)
                return self._retry(
                    replace(failed, not_found_count=0, not_found_since=None), account
                )

    def _wait_for(self, failed: PaymentSession, account: AccountState) -> Decision:
        """The session waits while its account is paused; the failure is not the session's."""
        if self.is_over(failed):
            return self.finish_unsettled(failed, Finding.GAVE_UP, account=account)
        return self._decision(
            replace(failed, next_poll_at=account.paused_until), Finding.FAILED, account=account
        )

    def _after_not_found(self, failed: PaymentSession) -> Decision:
        missing = replace(
            failed,
            not_found_count=failed.not_found_count + 1,
            not_found_since=failed.not_found_since or self.now,
        )
        # A 404 is an answer to valid credentials: it ends a pause, but is not a healthy read.
        account = self.account.answered(self.now)
        ends_at = empty_window_end(missing) if missing.is_completed_empty else self.deadline
        if self.now >= ends_at:
            return self.finish_unsettled(missing, Finding.FINISHED, account=account)
        if self._is_not_found(missing):
            return self._finish(missing, Outcome.NOT_FOUND, Finding.FINISHED, account=account)
        return self._retry(missing, account)

    def _is_not_found(self, missing: PaymentSession) -> bool:
        if missing.guessed_outcome is Outcome.NOT_FOUND and missing.status is None:
            return True
        since, account_read_at = missing.not_found_since, self.account.last_read_at
        return (
            missing.status is None
            and missing.not_found_count >= NOT_FOUND_ANSWERS
            and since is not None
            and self.now - since >= NOT_FOUND_WINDOW
            and account_read_at is not None
            and account_read_at >= since
        )

    def _retry(self, failed: PaymentSession, account: AccountState) -> Decision:
        if self.is_over(failed):
            return self.finish_unsettled(failed, Finding.GAVE_UP, account=account)
        failures = failed.consecutive_failures + 1
        at = retry_at(
            failures,
            now=self.now,
            final_read_at=self.deadline + self.limits.expiry_grace,
            jitter=self.jitter,
            limits=self.limits,
        )
        after = replace(failed, consecutive_failures=failures, next_poll_at=at)
        return self._decision(after, Finding.FAILED, account=account)

    # --- endings

    def finish_unsettled(
        self,
        after: PaymentSession,
        finding: Finding,
        *,
        transition: Transition | None = None,
        account: AccountState | None = None,
    ) -> Decision:
        """End a session that Klarna did not end: expired, but never one with proof of payment."""
        outcome = Outcome.EXPIRED
        if after.is_completed_empty:
            outcome, finding = Outcome.COMPLETED, Finding.COMPLETED_EMPTY
        elif after.has_proof:
            outcome, finding = Outcome.COMPLETED, Finding.COMPLETED_WHILE_OPEN
        return self._finish(after, outcome, finding, transition=transition, account=account)

    def _finish(
        self,
        after: PaymentSession,
        outcome: Outcome,
        finding: Finding,
        *,
        seen: Observation | None = None,
        transition: Transition | None = None,
        account: AccountState | None = None,
    ) -> Decision:
        """End the session as `outcome`; `seen` is the answer that settled it, if one did."""
        done, events = end(
            self.before,
            after,
            outcome,
            seen=seen,
            transition=transition,
            now=self.now,
            limits=self.limits,
        )
        return self._decision(done, finding, transition=transition, events=events, account=account)

    def _decision(
        self,
        after: PaymentSession,
        finding: Finding,
        *,
        transition: Transition | None = None,
        events: tuple[Event, ...] = (),
        account: AccountState | None = None,
    ) -> Decision:
        return Decision(
            session=after,
            account_before=self.account,
            account=account or self.account,
            finding=finding,
            decided_at=self.now,
            transition=transition,
            events=events,
        )
