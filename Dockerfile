# One image for worker, beat, Flower, console and migrations: the command selects the process.
#   docker build -t klarna-session-worker .
#   docker run --env-file .env klarna-session-worker                          the worker
#   docker run --env-file .env klarna-session-worker celery -A worker beat
#   docker run --env-file .env klarna-session-worker alembic upgrade head
# Names the Debian release: without it the base image would change to the next one unnoticed.
ARG PYTHON_TAG=3.11-slim-bookworm

FROM python:${PYTHON_TAG} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements/build.txt requirements/runtime.txt ./requirements/
# Only wheels, checked against their locked hashes: nothing is compiled, so no stage needs a compiler.
RUN pip install --require-hashes --only-binary :all: -r requirements/build.txt
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install \
        --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md ./
COPY config ./config
COPY migrations ./migrations
COPY worker ./worker
RUN pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/venv/bin/python install --no-deps --no-index dist/*.whl

FROM python:${PYTHON_TAG} AS runtime
RUN groupadd --gid 10001 worker \
    && useradd --no-log-init --uid 10001 --gid worker --no-create-home --home-dir /app \
        --shell /usr/sbin/nologin worker \
    && mkdir /var/lib/flower \
    && chown worker:worker /var/lib/flower
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
# Alembic reads its settings from pyproject.toml in the working directory.
COPY pyproject.toml ./
COPY migrations ./migrations
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PROGRESS_FILE=/tmp/progress
USER 10001:10001
STOPSIGNAL SIGTERM
# The progress of this container's worker or beat alone: an outage of Postgres, the broker or Klarna
# fails no container. `session-worker health` checks the deployment. Flower, console and migrations
# need another check or none (compose.yaml): they write no PROGRESS_FILE.
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 \
    CMD ["session-worker", "health", "--live"]
CMD ["celery", "-A", "worker", "worker"]
