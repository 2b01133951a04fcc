"""Query parameters of the control API, and waiting for a count to be reached."""

from collections.abc import Callable

from starlette.requests import Request

from devkit.sandbox.clock import monotonic
from devkit.sandbox.control_models import WrongInputError
from devkit.sandbox.state import Sandbox

MAX_WAIT_SECONDS = 120.0


def only(request: Request, *names: str) -> dict[str, str]:
    """Return the named parameters that were given.

    Raises:
        WrongInputError: Another parameter was given.
    """
    known = {*names, "at_least", "timeout"} if request.method == "GET" else {*names}
    unknown = set(request.query_params) - known
    if unknown:
        raise WrongInputError([(name, "unknown parameter") for name in sorted(unknown)])
    return {name: value for name, value in request.query_params.items() if name in names}


async def wait_until(request: Request, sandbox: Sandbox, count: Callable[[], int]) -> None:
    """Return once `count()` is `at_least` the asked number, or after `timeout` seconds.

    Raises:
        WrongInputError: A parameter is no number.
    """
    at_least = int(_number(request, "at_least", 0))
    ends = monotonic() + min(_number(request, "timeout", 10.0), MAX_WAIT_SECONDS)
    while count() < at_least and (left := ends - monotonic()) > 0:
        await sandbox.traffic.changes.next(left)


def _number(request: Request, name: str, default: float) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        return float(text)
    except ValueError:
        raise WrongInputError([(name, "must be a number")]) from None
