"""The ASGI application: Klarna's endpoints, and the control API under `/_sandbox`."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount

from devkit.sandbox.control_faults import FaultControl
from devkit.sandbox.control_models import WrongInputError
from devkit.sandbox.control_sessions import SessionControl
from devkit.sandbox.control_shops import ShopControl
from devkit.sandbox.control_state import StateControl
from devkit.sandbox.klarna_api import KlarnaApi
from devkit.sandbox.state import Sandbox


def create_app(sandbox: Sandbox | None = None) -> Starlette:
    """Return the application over `sandbox`, or over a new one."""
    state = sandbox or Sandbox()
    control = [
        *SessionControl(state).routes(),
        *FaultControl(state).routes(),
        *StateControl(state).routes(),
        *ShopControl(state).routes(),
    ]
    return Starlette(
        routes=[Mount("/_sandbox", routes=control), Mount("/", app=KlarnaApi(state))],
        exception_handlers={WrongInputError: _refused},
    )


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    errors = error.errors if isinstance(error, WrongInputError) else []
    listing = [{"field": field, "message": message} for field, message in errors]
    return JSONResponse({"error": str(error), "errors": listing}, 422)
