"""The mock server's state: sessions, tokens, accounts, faults, traffic. No HTTP."""

from devkit.sandbox.accounts import (
    DEFAULT_ACCOUNT,
    DEFAULT_PASSWORD,
    DEFAULT_REQUESTS_PER_SECOND,
    DEFAULT_USERNAME,
    Account,
    Accounts,
)
from devkit.sandbox.authorizations import Authorizations
from devkit.sandbox.clock import SandboxClock
from devkit.sandbox.fault_registry import FaultRegistry
from devkit.sandbox.held_responses import HeldResponses
from devkit.sandbox.identifiers import Identifiers
from devkit.sandbox.scripts import SessionScript, StatusChange
from devkit.sandbox.sessions import ScriptedSession, new_session
from devkit.sandbox.shops.systems import ShopSystems
from devkit.sandbox.traffic import DEFAULT_LOG_SIZE, Traffic


class DuplicateSessionError(ValueError):
    """A script names a session id that is already in use."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"a session {session_id!r} exists already")
        self.session_id = session_id


class Sandbox:
    """The whole state, in memory only."""

    def __init__(
        self,
        *,
        accounts: tuple[Account, ...] = (),
        seed: int | None = None,
        log_size: int = DEFAULT_LOG_SIZE,
        requests_per_second: int = DEFAULT_REQUESTS_PER_SECOND,
    ) -> None:
        self._seed = seed
        self.clock = SandboxClock()
        self.accounts = Accounts(accounts or (default_account(requests_per_second),))
        self.traffic = Traffic(log_size)
        self.held = HeldResponses(self.traffic.changes)
        self.reset()

    def reset(self) -> None:
        """Delete sessions, faults, log and clock shift; release held responses."""
        self.held.release()
        self.ids = Identifiers(self._seed)
        self.sessions: dict[str, ScriptedSession] = {}
        self.authorizations = Authorizations()
        self.faults = FaultRegistry()
        self.shops = ShopSystems(self)
        self.new_session_script = SessionScript()
        self.traffic.clear()
        self.clock.offset_seconds = 0.0

    def create(self, script: SessionScript) -> ScriptedSession:
        """Create a session that starts now.

        Raises:
            DuplicateSessionError: Its id is in use.
        """
        now = self.clock.now()
        session = new_session(script, self.ids, now)
        if session.session_id in self.sessions:
            raise DuplicateSessionError(session.session_id)
        self.sessions[session.session_id] = session
        self.authorizations.register(session)
        for fault in script.faults:
            self.faults.add(fault.model_copy(update={"session_id": session.session_id}), now)
        return session

    def change_status(self, session: ScriptedSession, change: StatusChange) -> None:
        """Set a session's status by hand, from now on."""
        session.change_status(change, self.clock.now())
        self.authorizations.register(session)

    def use_token(self, token: str, *, account: str) -> ScriptedSession | int:
        """Place an order with a token: its session, or the status code of the refusal."""
        placed = self.authorizations.place_order(token, account=account, now=self.clock.now())
        if isinstance(placed, ScriptedSession) and placed.script.kind == "kp":
            self.change_status(placed, StatusChange(status="complete"))
        return placed

    def place_order(self, session_id: str, token: str) -> int | str:
        """Place an order as a shop system does: its id, or the status code of the refusal."""
        session = self.sessions.get(session_id)
        if session is None:
            return 404
        placed = self.use_token(token, account=session.script.account)
        if isinstance(placed, int):
            return placed
        return placed.grants.order_id if placed is session else 404

    def find(self, session_id: str, *, kind: str, account: str) -> ScriptedSession | None:
        """Return what a read by this account finds now; None if it finds nothing.

        Klarna docs, hosted payment page: one 404 stands for expired and for not found.
        """
        session = self.sessions.get(session_id)
        if session is None or session.script.kind != kind or session.script.account != account:
            return None
        return None if session.gone_at(self.clock.now()) else session


def default_account(requests_per_second: int = DEFAULT_REQUESTS_PER_SECOND) -> Account:
    """Return the account of a server that is given none."""
    return Account(DEFAULT_ACCOUNT, DEFAULT_USERNAME, DEFAULT_PASSWORD, requests_per_second)
