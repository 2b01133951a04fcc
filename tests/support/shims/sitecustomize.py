"""Another machine's clock and name server, for a process that finds this folder in PYTHONPATH.

`SHIM_CLOCK_AHEAD` moves wall time by so many seconds. While the file `SHIM_NAMES_FAIL` exists,
`klarna.test` has no address; else it is this machine.
"""

# ruff: noqa: TID251 - it is the clock

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

_AHEAD = float(os.environ.get("SHIM_CLOCK_AHEAD", "0"))
_NAMES_FAIL = os.environ.get("SHIM_NAMES_FAIL")
_time, _time_ns, _gmtime, _localtime = time.time, time.time_ns, time.gmtime, time.localtime
_getaddrinfo = socket.getaddrinfo

if _AHEAD:
    time.time = lambda: _time() + _AHEAD
    time.time_ns = lambda: _time_ns() + int(_AHEAD * 1e9)
    time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)
    time.localtime = lambda seconds=None: _localtime(time.time() if seconds is None else seconds)


def _resolve(host: object, *args: object, **kwargs: object) -> object:
    if host != "klarna.test":
        return _getaddrinfo(host, *args, **kwargs)
    if Path(_NAMES_FAIL).exists():
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return _getaddrinfo("127.0.0.1", *args, **kwargs)


if _NAMES_FAIL:
    socket.getaddrinfo = _resolve
