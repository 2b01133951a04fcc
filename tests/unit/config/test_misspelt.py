"""Misspelt settings: which variables are named, and what they are taken for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.misspelt import is_setting, misspelt

# Of shells, of Kubernetes' services, of Celery, of collectors, of hosting platforms.
OTHERS = (
    *("PATH", "HOME", "LANG"),
    *("TERM", "TMPDIR", "HOSTNAME"),
    *("PORT", "DYNO", "WEB_CONCURRENCY"),
    *("HTTP_PROXY", "HTTPS_PROXY"),
    *("NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    *("PYTHONPATH", "PYTHON_DOTENV_DISABLED", "VIRTUAL_ENV"),
    *("PGHOST", "PGPASSWORD", "PGSSLMODE"),
    *("POSTGRES_PASSWORD", "POSTGRES_URL", "GRAFANA_PASSWORD"),
    *("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CELERY_CONFIG_MODULE"),
    *("CELERY_EVENT_QUEUE_TTL",),
    *("CELERY_EVENT_QUEUE_PREFIX", "CELERY_EVENT_QUEUE_EXPIRES", "C_FORCE_ROOT"),
    *("REMAP_SIGTERM",),
    *("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER"),
    *("OTEL_METRICS_EXPORTER",),
    *("FLOWER_PORT", "FLOWER_ADDRESS", "FLOWER_AUTH"),
    *("FLOWER_DB", "FLOWER_UNAUTHENTICATED_API"),
    *("REDIS_TLS_URL", "REDISCLOUD_URL", "REDISTOGO_URL"),
    *("CLOUDAMQP_URL", "DATABASE_CONNECTION_POOL_URL"),
    *("DATABASE_PRIVATE_URL", "HEROKU_POSTGRESQL_GOLD_URL", "TEST_DATABASE_URL"),
    *("TEST_REDIS_URL",),
    *("CONSOLE_SERVICE_HOST", "CONSOLE_SERVICE_PORT", "CONSOLE_PORT_8098_TCP_ADDR"),
    *("KLARNA_WORKER_SERVICE_HOST", "KLARNA_WORKER_SERVICE_PORT_METRICS", "WEBHOOK_PORT_80_TCP"),
    *("KUBERNETES_SERVICE_HOST", "EVENT_LOOP", "EVENT_BUS_URL"),
    *("CONSOLE", "METRICS_PATH"),
    *("DJANGO_SECRET_KEY", "DJANGO_SETTINGS_MODULE", "SENTRY_DSN"),
    *("AWS_REGION", "DEBUG"),
)
EXAMPLE = (Path(__file__).parents[3] / ".env.example").read_text()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("EVENT_SINK", "EVENT_SINKS"),
        ("POLL_REQUEST_PER_SESSION", "POLL_REQUESTS_PER_SESSION"),
        ("KLARNA_ACCOUNTS__NORDIC_USERNAME", "KLARNA_ACCOUNTS__NORDIC__USERNAME"),
        ("KLARNA_ACCOUNTS_NORDIC__USERNAME", "KLARNA_ACCOUNTS__NORDIC__USERNAME"),
        ("KLARNA_ACCOUNTS_NORDIC_BASE_URL", "KLARNA_ACCOUNTS__NORDIC__BASE_URL"),
        ("KLARNA_ACCOUNTS__NORDIC__PASSWROD", "KLARNA_ACCOUNTS__NORDIC__PASSWORD"),
        ("WEBHOOK_ENDPOINTS__ERP_URL", "WEBHOOK_ENDPOINTS__ERP__URL"),
        ("WEBHOOK_SECRET", "WEBHOOK_SECRETS"),
        ("KLARNA_PASSWORT_FILE", "KLARNA_PASSWORD_FILE"),
        ("DATABSE_URL", "DATABASE_URL"),
        ("METRIC_PORT", "METRICS_PORT"),
        ("RETENTION_DAY", "RETENTION_DAYS"),
        ("klarna_user", "KLARNA_USERNAME"),
    ],
)
def test_a_misspelt_name_is_reported_with_what_was_meant(name: str, meant: str):
    (found,) = misspelt({name: "canary"})

    assert (found.name, found.meant) == (name.upper(), meant)
    assert str(found) == f"{name.upper()} is no setting and is ignored: did you mean {meant}?"


def test_what_has_our_prefix_and_is_like_nothing_is_reported_without_a_guess():
    (found,) = misspelt({"PAYWAY_ZZZZZZZZZZZZZZZZZZZZZ": "1"})

    assert str(found) == "PAYWAY_ZZZZZZZZZZZZZZZZZZZZZ is no setting and is ignored"


def test_every_setting_of_the_example_is_one():
    names = re.findall(r"^#?([A-Z][A-Z0-9_]*)=", EXAMPLE, re.MULTILINE)

    assert list(misspelt(dict.fromkeys(names, "x"))) == []
    assert is_setting("KLARNA_ACCOUNTS__A__B__PASSWORD_FILE")
    assert is_setting("WEBHOOK_ENDPOINTS__ERP__SECRETS_FILE")
    assert not is_setting("KLARNA_ACCOUNTS__A__USERNAME_FILE")


def test_other_tools_variables_are_not_reported():
    assert [str(found) for found in misspelt(dict.fromkeys(OTHERS, "x"))] == []
    assert list(misspelt({"WEBHOOK_PORT": "tcp://10.0.0.1:80"})) == []


def test_a_close_name_without_our_prefix_is_another_programs_where_ours_is_set():
    assert list(misspelt({"DATABASE_URI": "x", "DATABASE_URL": "x"})) == []
    assert list(misspelt({"DATABASE_URI": "x", "DATABASE_URL_FILE": "x"})) == []
    assert [found.meant for found in misspelt({"DATABASE_URI": "x"})] == ["DATABASE_URL"]
