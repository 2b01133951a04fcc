"""Where a process serves its metrics and sends its traces; neither unless a setting says so."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings

from config.values import ENVIRONMENT, nothing_if_blank

Port = Annotated[Annotated[int, Field(ge=1, le=65_535)] | None, BeforeValidator(nothing_if_blank)]


def _collector(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s@]+", value):
        raise ValueError("must look like http://collector:4318, without user info")
    return value


class TelemetrySettings(BaseSettings):
    """Every process on one host needs a port of its own: beat may have another than the worker."""

    model_config = ENVIRONMENT

    metrics_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    metrics_port: Port = None
    beat_metrics_port: Port = None
    # The SDK reads it by itself, and its other variables; here it switches traces on.
    otel_exporter_otlp_endpoint: Annotated[
        Annotated[str, AfterValidator(_collector)] | None, BeforeValidator(nothing_if_blank)
    ] = None

    @property
    def metrics_port_of_beat(self) -> int | None:
        """The port that beat serves its metrics at."""
        return self.beat_metrics_port or self.metrics_port
