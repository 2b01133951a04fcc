"""Where a process serves its metrics and sends its traces; neither unless a setting says so."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings

from config.values import ENVIRONMENT, nothing_if_blank

Port = Annotated[Annotated[int, Field(ge=1, le=65_535)] | None, BeforeValidator(nothing_if_blank)]


class TelemetrySettings(BaseSettings):
    """Every process on one host needs a port of its own: beat may have another than the worker."""

    model_config = ENVIRONMENT

    metrics_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    metrics_port: Port = None
    beat_metrics_port: Port = None

    @property
    def metrics_port_of_beat(self) -> int | None:
        """The port that beat serves its metrics at."""
        return self.beat_metrics_port or self.metrics_port
