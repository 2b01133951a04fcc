"""Control of the mock server as a whole: log, counters, limits, accounts, clock, reset."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from devkit.sandbox.accounts import Account
from devkit.sandbox.control_models import (
    ACCOUNT,
    CLOCK,
    LIMITER,
    LOG,
    LimiterInput,
    WrongInputError,
    validated,
)
from devkit.sandbox.control_queries import only, wait_until
from devkit.sandbox.state import Sandbox
from devkit.sandbox.timestamps import klarna_timestamp


class StateControl:
    """The endpoints of the control API that concern no single session or fault."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes, relative to `/_sandbox`."""
        return [
            Route("/health", self.health, methods=["GET"]),
            Route("/reset", self.reset, methods=["POST"]),
            Route("/requests", self.list_requests, methods=["GET"]),
            Route("/requests", self.clear_requests, methods=["DELETE"]),
            Route("/log", self.resize_log, methods=["PUT"]),
            Route("/counters", self.counters, methods=["GET"]),
            Route("/limiter", self.set_limiter, methods=["PUT"]),
            Route("/accounts", self.put_account, methods=["PUT"]),
            Route("/accounts", self.list_accounts, methods=["GET"]),
            Route("/clock", self.show_clock, methods=["GET"]),
            Route("/clock", self.advance_clock, methods=["POST"]),
        ]

    async def health(self, _request: Request) -> JSONResponse:
        """Return 200: the server runs."""
        return JSONResponse({"status": "ok"})

    async def reset(self, _request: Request) -> JSONResponse:
        """Delete sessions, faults, log and clock shift; release held responses."""
        self._sandbox.reset()
        return JSONResponse({})

    async def list_requests(self, request: Request) -> JSONResponse:
        """List logged requests; with `at_least` wait up to `timeout` seconds for that many."""
        scope = only(request, "session_id", "account")
        traffic = self._sandbox.traffic
        await wait_until(request, self._sandbox, lambda: len(traffic.matching(**scope)))
        return JSONResponse({"requests": traffic.listing(**scope)})

    async def clear_requests(self, _request: Request) -> JSONResponse:
        """Empty the log and reset the counters."""
        self._sandbox.traffic.clear()
        return JSONResponse({})

    async def resize_log(self, request: Request) -> JSONResponse:
        """Set how many requests the log keeps."""
        self._sandbox.traffic.resize(validated(LOG, await request.body()).size)
        return JSONResponse({})

    async def counters(self, _request: Request) -> JSONResponse:
        """Show the counters."""
        return JSONResponse(self._sandbox.traffic.counters())

    async def set_limiter(self, request: Request) -> JSONResponse:
        """Set the rate limit of one account or of all."""
        wanted = validated(LIMITER, await request.body())
        for account in self._limited(wanted):
            account.requests_per_second = wanted.requests_per_second
        return JSONResponse({})

    async def put_account(self, request: Request) -> JSONResponse:
        """Add an account or replace the one of that name."""
        wanted = validated(ACCOUNT, await request.body())
        self._sandbox.accounts.put(Account(**wanted.model_dump()))
        return JSONResponse({}, 201)

    async def list_accounts(self, _request: Request) -> JSONResponse:
        """List the accounts without their passwords."""
        names = ("name", "username", "requests_per_second")
        accounts = self._sandbox.accounts.all()
        listing = [{name: getattr(account, name) for name in names} for account in accounts]
        return JSONResponse({"accounts": listing})

    async def show_clock(self, _request: Request) -> JSONResponse:
        """Show the mock server's time."""
        return JSONResponse(self._clock())

    async def advance_clock(self, request: Request) -> JSONResponse:
        """Move the mock server's clock."""
        self._sandbox.clock.advance(validated(CLOCK, await request.body()).advance)
        return JSONResponse(self._clock())

    def _clock(self) -> dict[str, object]:
        shown = self._sandbox.clock
        return {"now": klarna_timestamp(shown.now()), "offset_seconds": shown.offset_seconds}

    def _limited(self, wanted: LimiterInput) -> list[Account]:
        if wanted.account is None:
            return self._sandbox.accounts.all()
        account = self._sandbox.accounts.by_name(wanted.account)
        if account is None:
            raise WrongInputError([("account", f"no account {wanted.account!r}")])
        return [account]
