"""Control of faults and of held responses."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from devkit.sandbox.control_models import FAULT, RELEASE, WrongInputError, validated
from devkit.sandbox.control_queries import only, wait_until
from devkit.sandbox.shops import systems as shops
from devkit.sandbox.state import Sandbox

_SCOPE = ("session_id", "account")


class FaultControl:
    """The `/faults` and `/held` endpoints of the control API."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes, relative to `/_sandbox`."""
        return [
            Route("/faults", self.add, methods=["POST"]),
            Route("/faults", self.list, methods=["GET"]),
            Route("/faults", self.clear, methods=["DELETE"]),
            Route("/held", self.list_held, methods=["GET"]),
            Route("/held/release", self.release, methods=["POST"]),
        ]

    async def add(self, request: Request) -> JSONResponse:
        """Add a fault; from now on it applies to the requests in its scope."""
        fault = validated(FAULT, await request.body())
        account = fault.account
        unknown = account is not None and self._sandbox.accounts.by_name(account) is None
        if unknown and account not in shops.NAMES:
            raise WrongInputError([("account", f"no account {account!r}")])
        active = self._sandbox.faults.add(fault, self._sandbox.clock.now())
        return JSONResponse({"fault_id": active.fault_id}, 201)

    async def list(self, _request: Request) -> JSONResponse:
        """List the faults that were not cleared, with their hits."""
        return JSONResponse({"faults": self._sandbox.faults.listing()})

    async def clear(self, request: Request) -> JSONResponse:
        """Remove the faults named by `fault_id`, `session_id` or `account`; all without any."""
        cleared = self._sandbox.faults.clear(**only(request, "fault_id", *_SCOPE))
        return JSONResponse({"cleared": cleared})

    async def list_held(self, request: Request) -> JSONResponse:
        """List held responses; with `at_least` wait up to `timeout` seconds for that many."""
        scope = only(request, *_SCOPE)
        held = self._sandbox.held
        await wait_until(request, self._sandbox, lambda: len(held.listing(**scope)))
        listing = held.listing(**scope)
        return JSONResponse({"count": len(listing), "held": listing})

    async def release(self, request: Request) -> JSONResponse:
        """Release held responses."""
        wanted = validated(RELEASE, await request.body())
        return JSONResponse({"released": self._sandbox.held.release(**wanted.model_dump())})
