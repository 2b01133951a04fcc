"""Run the mock Klarna server and print its address."""

import argparse
import socket
import sys

from devkit.sandbox.accounts import DEFAULT_REQUESTS_PER_SECOND
from devkit.sandbox.serving import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    Options,
    exit_with_parent,
    serve,
    serve_on,
)
from devkit.sandbox.traffic import DEFAULT_LOG_SIZE


def main() -> int:
    """Serve until interrupted; return the exit code."""
    arguments = _parser().parse_args()
    options = _options(arguments)
    try:
        if arguments.listener_fd is None:
            serve(arguments.host, arguments.port, options=options, listening=_announce)
        else:
            exit_with_parent()
            serve_on(socket.socket(fileno=arguments.listener_fd), options)
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        sys.stderr.write(f"cannot listen on {arguments.host}:{arguments.port}: {error}\n")
        return 1
    return 0


def _announce(origin: str) -> None:
    sys.stdout.write(f"{origin}\n")
    sys.stdout.flush()


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        seed=arguments.seed,
        log_size=arguments.log_size,
        requests_per_second=arguments.rate_limit,
        certfile=arguments.certfile,
        keyfile=arguments.keyfile,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devkit.sandbox", description=__doc__)
    parser.add_argument("--host", default=DEFAULT_HOST)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--seed", type=int, help="makes generated ids the same every time")
    parser.add_argument("--log-size", type=int, default=DEFAULT_LOG_SIZE)
    parser.add_argument("--rate-limit", type=int, default=DEFAULT_REQUESTS_PER_SECOND)
    parser.add_argument("--certfile")
    parser.add_argument("--keyfile")
    parser.add_argument("--listener-fd", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
