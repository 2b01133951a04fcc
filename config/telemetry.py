"""Where a process serves metrics and sends traces; without these settings it does neither."""

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
    """Each process on a host needs its own port, so beat has a variable of its own."""

    model_config = ENVIRONMENT

    metrics_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    metrics_port: Port = None
    beat_metrics_port: Port = None
    # The SDK reads this and its other variables itself; here it switches tracing on.
    otel_exporter_otlp_endpoint: Annotated[
        Annotated[str, AfterValidator(_collector)] | None, BeforeValidator(nothing_if_blank)
    ] = None

    @property
    def metrics_port_of_beat(self) -> int | None:
        """Beat's port for metrics."""
        return self.beat_metrics_port or self.metrics_port
