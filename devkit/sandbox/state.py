"""All the stand-in remembers: sessions, tokens, accounts, faults, traffic; speaks no HTTP."""

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
from devkit.sandbox.fault_registry import FaultBook
from devkit.sandbox.held_responses import HeldReplies
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
    """The stand-in's whole state, in memory only."""

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
        self.held = HeldReplies(self.traffic.changes)
        self.forget()

    def forget(self) -> None:
        """Drop sessions, faults, log and clock shift, release what is held; keep the accounts."""
        self.held.release()
        self.ids = Identifiers(self._seed)
        self.sessions: dict[str, ScriptedSession] = {}
        self.authorizations = Authorizations()
        self.faults = FaultBook()
        self.shops = ShopSystems(self)
        self.new_session_script = SessionScript()
        self.traffic.clear()
        self.clock.offset_seconds = 0.0

    def create(self, script: SessionScript) -> ScriptedSession:
        """Begin a session's life now.

        Raises:
            DuplicateSessionError: Its id is taken.
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

    def find(self, session_id: str, *, kind: str, account: str) -> ScriptedSession | None:
        """Return what a read of this account finds now: None for unknown, foreign and gone ones.

        Klarna docs, hosted payment page: one 404 stands for expired and for not found.
        """
        session = self.sessions.get(session_id)
        if session is None or session.script.kind != kind or session.script.account != account:
            return None
        return None if session.gone_at(self.clock.now()) else session


def default_account(requests_per_second: int = DEFAULT_REQUESTS_PER_SECOND) -> Account:
    """Return the account there is when none is given."""
    return Account(DEFAULT_ACCOUNT, DEFAULT_USERNAME, DEFAULT_PASSWORD, requests_per_second)
