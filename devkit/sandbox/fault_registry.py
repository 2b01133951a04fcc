"""Which faults are active, and to which requests they apply; applies none of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from devkit.sandbox.faults import AnyFault


@dataclass(slots=True)
class ActiveFault:
    """A fault; `seen` counts requests in its scope and window, `hits` those it applied to."""

    fault_id: str
    fault: AnyFault
    starts_at: float
    ends_at: float | None
    seen: int = 0
    hits: int = 0

    @property
    def spent(self) -> bool:
        """Return whether it has applied to as many requests as it may."""
        return self.fault.times is not None and self.hits >= self.fault.times

    def applies_to(self, method: str, now: float) -> bool:
        """Count a request in scope; return whether the fault applies to it."""
        if self.spent or method not in self.fault.methods or now < self.starts_at:
            return False
        if self.ends_at is not None and now >= self.ends_at:
            return False
        self.seen += 1
        if self.seen <= self.fault.skip:
            return False
        self.hits += 1
        return True


class FaultRegistry:
    """Faults by scope, in the order they were added; several may apply to one request."""

    def __init__(self) -> None:
        self._by_id: dict[str, ActiveFault] = {}
        self._by_session: dict[str, list[ActiveFault]] = {}
        self._by_account: dict[str, list[ActiveFault]] = {}
        self._everywhere: list[ActiveFault] = []
        self._added = 0

    def add(self, fault: AnyFault, now: float) -> ActiveFault:
        """Add a fault; its window counts from `now`."""
        self._added += 1
        starts_at = now + fault.starts_in
        ends_at = None if fault.seconds is None else starts_at + fault.seconds
        active = ActiveFault(f"fault-{self._added}", fault, starts_at, ends_at)
        self._by_id[active.fault_id] = active
        self._add_to_scope(active)
        return active

    def matching(
        self, *, method: str, session_id: str, account: str | None, now: float
    ) -> list[AnyFault]:
        """Return the faults that apply to this request; count it for each fault in scope."""
        if not self._by_id:
            return []
        scoped = self._in_scope(session_id, account)
        return [
            active.fault
            for active in scoped
            if active.fault.account in {None, account} and active.applies_to(method, now)
        ]

    def clear(
        self,
        *,
        fault_id: str | None = None,
        session_id: str | None = None,
        account: str | None = None,
    ) -> int:
        """Remove the faults that match everything given (all, without any); return how many."""
        wanted = {"session_id": session_id, "account": account}
        leaving = [
            active
            for active in self._by_id.values()
            if fault_id in {None, active.fault_id}
            and all(value in {None, getattr(active.fault, name)} for name, value in wanted.items())
        ]
        for active in leaving:
            del self._by_id[active.fault_id]
        self._rebuild()
        return len(leaving)

    def listing(self) -> list[dict[str, Any]]:
        """Return every fault not cleared, spent ones too, with its counts."""
        return [
            {"fault_id": a.fault_id, "seen": a.seen, "hits": a.hits, "spent": a.spent}
            | a.fault.model_dump(mode="json")
            for a in self._by_id.values()
        ]

    def _in_scope(self, session_id: str, account: str | None) -> Iterator[ActiveFault]:
        yield from self._by_session.get(session_id, ())
        if account is not None:
            yield from self._by_account.get(account, ())
        yield from self._everywhere

    def _add_to_scope(self, active: ActiveFault) -> None:
        fault = active.fault
        if fault.session_id is not None:
            self._by_session.setdefault(fault.session_id, []).append(active)
        elif fault.account is not None:
            self._by_account.setdefault(fault.account, []).append(active)
        else:
            self._everywhere.append(active)

    def _rebuild(self) -> None:
        self._by_session, self._by_account, self._everywhere = {}, {}, []
        for active in self._by_id.values():
            self._add_to_scope(active)
