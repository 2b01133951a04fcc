"""Flower as an operator runs it, behind its login, and all that it shows."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from devkit.processes import celery_command
from tests.support.eventually import eventually
from tests.support.processes import Program
from tests.support.text_locations import Location

_SORTED = {"order[0][column]": "0", "columns[0][data]": "name", "order[0][dir]": "asc"}


class Flower:
    """A running Flower; `worker` is the name of the worker that it has seen."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def wait_until_it_answers(self) -> None:
        """Wait until it serves."""
        eventually(self._answers, within=30, because="Flower answers")

    def wait_until_it_sees_a_worker(self) -> str:
        """Wait until it knows a worker by its events and by asking it; returns its name."""
        self.wait_until_it_answers()
        return eventually(self._worker, within=30, because="Flower sees a worker")

    def text(self, path: str, **parameters: str | int) -> str:
        """What it shows there."""
        return self._client.get(path, params=parameters).raise_for_status().text

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self._client.base_url).rstrip("/")

    def send(self, task: str, *args: object, **kwargs: object) -> str:
        """Send a task by its API, as a shop in any language does; returns the task's id."""
        body = {"args": args, "kwargs": kwargs}
        sent = self._client.post(f"/api/task/send-task/{task}", json=body).raise_for_status()
        return sent.json()["task-id"]

    def try_to_send(self, task: str, *args: object, login: tuple[str, str] | None) -> int:
        """Send a task with another login, or none; returns the status code."""
        url = f"{self.url}/api/task/send-task/{task}"
        return httpx.post(url, json={"args": args}, auth=login, trust_env=False).status_code

    def info(self, task_id: str) -> dict[str, object] | None:
        """What its API knows of a task, None as long as it knows nothing."""
        answer = self._client.get(f"/api/task/info/{task_id}")
        return answer.json() if answer.is_success else None

    def active(self, worker: str) -> str:
        """The worker's page with what it is doing just now."""
        self.text("/api/workers", refresh=1, workername=worker)
        return self.text(f"/worker/{worker}")

    def locations(self, worker: str) -> Iterator[Location]:
        """Every page, and every answer of its API that reads."""
        yield "Flower's workers", self.text("/workers")
        yield "Flower's worker page", self.active(worker)
        yield "Flower's API: workers", self.text("/api/workers", refresh=1)
        yield "Flower's broker page", self.text("/broker")
        yield "Flower's metrics", self.text("/metrics")
        yield "Flower's API: queues", self.text("/api/queues/length")
        yield "Flower's API: types", self.text("/api/task/types")
        yield "Flower's tasks", self.text("/tasks")
        rows = self.text("/tasks/datatable", draw=1, start=0, length=1000, **_SORTED)
        yield "Flower's tasks, rows", rows
        tasks = self._client.get("/api/tasks", params={"limit": 1000}).raise_for_status()
        yield "Flower's API: tasks", tasks.text
        for task_id in tasks.json():
            yield f"Flower's task page {task_id}", self.text(f"/task/{task_id}")
            yield f"Flower's API: task {task_id}", self.text(f"/api/task/info/{task_id}")

    def _answers(self) -> bool:
        try:
            return self._client.get("/healthcheck").is_success
        except httpx.TransportError:
            return False

    def _worker(self) -> str | None:
        known = self._client.get("/api/workers", params={"refresh": 1})
        return next(iter(known.json()), None) if known.is_success else None


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def start_flower(environment: Mapping[str, str], port: int, log_file: Path) -> Iterator[None]:
    """Run Flower; its debug log goes to `log_file`."""
    options = ("--address=127.0.0.1", f"--port={port}", "--logging=debug")
    with Program(
        celery_command("worker", "flower", *options), log_file=log_file, env=dict(environment)
    ):
        yield


@contextmanager
def flower(
    environment: Mapping[str, str], log_file: Path, *, port: int | None = None
) -> Iterator[Flower]:
    """Run Flower, and log in with FLOWER_BASIC_AUTH, if there is one."""
    port = port or free_port()
    user, _, password = environment.get("FLOWER_BASIC_AUTH", "").partition(":")
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{port}", auth=(user, password), trust_env=False, timeout=30
    )
    with start_flower(environment, port, log_file), client:
        yield Flower(client)
