"""A process's way to Temporal: which server, over which connection, and where the SDK's own threads speak."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from temporalio.client import Client
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import KeepAliveConfig, RPCError

from cli.embedded import EmbeddedTemporal, find_embedded
from settings import Settings

KEEP_ALIVE = KeepAliveConfig(interval_millis=10_500, timeout_millis=4_000)
"""A connection to Temporal that the network lost in silence is noticed within 15 s (with the SDK's own settings, 45 s).
Temporal ends connections that ask more often than every 10 s."""


class StartError(Exception):
    """The process cannot start; the message says what to change."""


async def connect(
    settings: Settings, embedded: EmbeddedTemporal | None, *, lazy: bool = False, measured: bool = False
) -> Client:
    """A client of the configured Temporal, of the one given, or of the one that runs on the data dir.

    `lazy`: it connects with its first call (a worker's cannot). `measured`: PERDURE_TEMPORAL_METRICS serves the SDK's
    metrics. Raises StartError.
    """
    if settings.temporal is not None:
        target: dict[str, Any] = dict(settings.temporal.connect_config)
    elif embedded is not None:
        target = {"target_host": embedded.address}
    else:
        found = await find_embedded(settings.data_dir)
        if found is None:
            raise StartError(
                f"No Temporal: set TEMPORAL_ADDRESS, or run `perdure serve --data-dir {settings.data_dir}` beside this."
            )
        target = {"target_host": found.address}
    target["runtime"] = _runtime(settings.temporal_metrics if measured else None)
    try:
        return await Client.connect(**target, lazy=lazy, keep_alive_config=KEEP_ALIVE)
    except (RPCError, RuntimeError) as error:
        raise StartError(f"Temporal at {target.get('target_host')} does not answer: {error}") from error


@cache
def _runtime(metrics: str | None) -> Runtime:
    """The SDK's own threads; `metrics` is where they serve their figures. What they say goes where our log lines go:
    by themselves they write to standard output, without masking. Raises StartError."""
    said = LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
        forwarding=LogForwardingConfig(logger=logging.getLogger("temporalio")),
    )
    served = PrometheusConfig(bind_address=metrics) if metrics is not None else None
    try:
        return Runtime(telemetry=TelemetryConfig(logging=said, metrics=served))
    except (RuntimeError, ValueError) as error:
        raise StartError(f"PERDURE_TEMPORAL_METRICS: {metrics} cannot be used; choose another address.") from error
