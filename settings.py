"""Settings: the only place where the environment is read (CONTRACT §7).

A setting is an environment variable; `data_dir`, `host` and `port` are flags too, and a flag wins. An empty variable is
an unset one. Whatever cannot be used raises SettingsError: one sentence that names the variable and what to change, and
never repeats a secret. Temporal's own variables are read by its SDK (`temporalio.envconfig`), not by us.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from temporalio.envconfig import ClientConfig, ClientConnectConfig

import settings_forms as forms
from session.context import ContextPolicy
from session.fallbacks import MOST_FALLBACKS
from session.mcp import HttpServer, StdioServer, confidential
from session.policy import (
    AdmissionPolicy,
    CommandPolicy,
    EmbeddingPolicy,
    Limits,
    SandboxMode,
    SearchPolicy,
    SearchProvider,
    ToolPolicy,
    WebPolicy,
)
from settings_forms import ApiKey, SettingsError

__all__ = ["DEFAULT_MODEL", "ApiKey", "Settings", "SettingsError", "TemporalTarget", "temporal_target"]

DEFAULT_MODEL = "claude-sonnet-5-5"
DEFAULT_NAMESPACE = "default"
MCP_SECRET_LENGTH = 8
"""From this length on, a value of an MCP server's `env` or `headers` is masked wherever it appears."""


@dataclass(frozen=True)
class TemporalTarget:
    """A Temporal that is given, so that nothing embedded is started. `connect_config` is for `Client.connect(**…)`."""

    address: str
    namespace: str = DEFAULT_NAMESPACE
    connect_config: ClientConnectConfig = field(default_factory=ClientConnectConfig, repr=False)


def temporal_target() -> TemporalTarget | None:
    """The Temporal named by TEMPORAL_ADDRESS or a profile of Temporal's configuration file; None when neither does."""
    given = {name: value for name, value in os.environ.items() if value}
    try:
        config = ClientConfig.load_client_connect_config(override_env_vars=given)
    except RuntimeError:
        # What the SDK says may quote the file's line, and that line may hold a key.
        raise SettingsError(
            "Temporal's own settings cannot be read: correct TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE or the file."
        ) from None
    address = config.get("target_host")
    if not address:
        return None
    namespace = config.get("namespace", DEFAULT_NAMESPACE)
    return TemporalTarget(address, namespace, config)


def _mcp_servers(given: object) -> object:
    return forms.mcp_servers(given, os.environ)


class Settings(BaseSettings):
    """All settings of one process. `Settings(**flags)` reads the environment; flags that are None count as not given.

    Raises SettingsError.
    """

    model_config = SettingsConfigDict(
        frozen=True, case_sensitive=True, env_ignore_empty=True, populate_by_name=True, extra="forbid"
    )

    anthropic_api_key: SecretStr | None = Field(None, validation_alias="ANTHROPIC_API_KEY")
    anthropic_base_url: Annotated[str | None, AfterValidator(forms.http_url)] = Field(
        None, validation_alias="ANTHROPIC_BASE_URL"
    )
    model: str = Field(DEFAULT_MODEL, validation_alias="PERDURE_MODEL", min_length=1)
    fallback_models: Annotated[tuple[str, ...], NoDecode, BeforeValidator(forms.words)] = Field(
        (), validation_alias="PERDURE_FALLBACK_MODELS", max_length=MOST_FALLBACKS
    )
    data_dir: Annotated[Path, AfterValidator(forms.folder)] = Field(
        default_factory=lambda: Path.home() / ".perdure", validation_alias="PERDURE_DATA_DIR"
    )
    host: str = Field("127.0.0.1", validation_alias="PERDURE_HOST", min_length=1)
    port: int = Field(3000, validation_alias="PERDURE_PORT", ge=0, le=65535)
    database_url: Annotated[str, AfterValidator(forms.database_url)] = Field(
        default_factory=lambda given: f"sqlite:///{given['data_dir'] / 'perdure.db'}",
        validation_alias="PERDURE_DATABASE_URL",
        repr=False,
    )
    bus_url: Annotated[str | None, AfterValidator(forms.bus_url)] = Field(
        None, validation_alias="PERDURE_BUS_URL", repr=False
    )
    workspace_root: Annotated[Path, AfterValidator(forms.folder)] = Field(
        default_factory=lambda given: given["data_dir"] / "workspaces", validation_alias="PERDURE_WORKSPACE"
    )
    memory_folder: Annotated[Path, AfterValidator(forms.folder)] = Field(
        default_factory=lambda given: given["data_dir"] / "memory", validation_alias="PERDURE_MEMORY"
    )
    presets_folder: Annotated[Path, AfterValidator(forms.folder)] = Field(
        default_factory=lambda given: given["data_dir"] / "presets", validation_alias="PERDURE_PRESETS"
    )
    api_keys: Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(forms.api_keys)] = Field(
        (), validation_alias="PERDURE_API_KEYS"
    )
    worker_port: int | None = Field(None, validation_alias="PERDURE_WORKER_PORT", ge=0, le=65535)
    temporal_metrics: str | None = Field(None, validation_alias="PERDURE_TEMPORAL_METRICS", pattern=r"^\S+:\d{1,5}$")
    retention_days: float | None = Field(None, validation_alias="PERDURE_RETENTION_DAYS", gt=0, le=36_500)
    audit_retention_days: float | None = Field(None, validation_alias="PERDURE_AUDIT_RETENTION_DAYS", gt=0, le=36_500)
    max_sessions: int | None = Field(None, validation_alias="PERDURE_MAX_SESSIONS", ge=1)
    max_sessions_per_key: int | None = Field(None, validation_alias="PERDURE_MAX_SESSIONS_PER_KEY", ge=1)
    max_queued: int | None = Field(None, validation_alias="PERDURE_MAX_QUEUED", ge=0)
    max_waiting_per_conversation: int = Field(100, validation_alias="PERDURE_MAX_WAITING_PER_CONVERSATION", ge=0)
    compact_at: float = Field(0.7, validation_alias="PERDURE_COMPACT_AT", ge=0.1, le=1)
    context_window: int | None = Field(None, validation_alias="PERDURE_CONTEXT_WINDOW", ge=1000)
    exec_sandbox: SandboxMode = Field("auto", validation_alias="PERDURE_EXEC_SANDBOX")
    exec_network: bool = Field(False, validation_alias="PERDURE_EXEC_NETWORK")
    exec_memory_mb: int = Field(2048, validation_alias="PERDURE_EXEC_MEMORY_MB", ge=64)
    exec_processes: int = Field(256, validation_alias="PERDURE_EXEC_PROCESSES", ge=8)
    exec_file_mb: int = Field(1024, validation_alias="PERDURE_EXEC_FILE_MB", ge=1)
    web_allow: Annotated[tuple[str, ...], NoDecode, BeforeValidator(forms.words)] = Field(
        (), validation_alias="PERDURE_WEB_ALLOW"
    )
    search_provider: SearchProvider | None = Field(None, validation_alias="PERDURE_SEARCH_PROVIDER")
    search_key: SecretStr | None = Field(None, validation_alias="PERDURE_SEARCH_KEY")
    search_url: Annotated[str | None, AfterValidator(forms.http_url)] = Field(
        None, validation_alias="PERDURE_SEARCH_URL"
    )
    embeddings_url: Annotated[str | None, AfterValidator(forms.http_url)] = Field(
        None, validation_alias="PERDURE_EMBEDDINGS_URL", repr=False
    )
    embeddings_model: str | None = Field(None, validation_alias="PERDURE_EMBEDDINGS_MODEL", max_length=200)
    embeddings_key: SecretStr | None = Field(None, validation_alias="PERDURE_EMBEDDINGS_KEY")
    mcp_servers: Annotated[dict[str, StdioServer | HttpServer], NoDecode, BeforeValidator(_mcp_servers)] = Field(
        default_factory=dict, validation_alias="PERDURE_MCP_SERVERS"
    )
    deployment: str = Field("perdure", validation_alias="PERDURE_DEPLOYMENT", pattern=forms.DEPLOYMENT_NAME)
    build_id: str | None = Field(None, validation_alias="PERDURE_BUILD_ID", pattern=forms.BUILD_ID)
    pace_calls: bool = Field(True, validation_alias="PERDURE_PACE_CALLS")
    model_slots: int = Field(500, validation_alias="PERDURE_MODEL_SLOTS", ge=1)
    tool_slots: int = Field(64, validation_alias="PERDURE_TOOL_SLOTS", ge=1)
    grace_seconds: float = Field(20, validation_alias="PERDURE_GRACE_SECONDS", ge=0, le=180)
    drain_seconds: float = Field(0, validation_alias="PERDURE_DRAIN_SECONDS", ge=0, le=60)
    temporal: TemporalTarget | None = Field(default_factory=temporal_target, validation_alias="PERDURE_TEMPORAL_TARGET")

    def __init__(self, **flags: Any) -> None:
        try:
            super().__init__(**{name: value for name, value in flags.items() if value is not None})
        except ValidationError as error:
            raise SettingsError(forms.sentence(error)) from None
        if self.data_dir.is_relative_to(self.workspace_root):
            raise SettingsError(
                f"PERDURE_WORKSPACE cannot be used: sessions' tools would reach the data dir, {self.data_dir}, in it; "
                "choose another folder for one of the two."
            )

    @property
    def admission_policy(self) -> AdmissionPolicy:
        """How many sessions may run at once, and how many may wait."""
        return AdmissionPolicy(
            self.max_sessions, self.max_sessions_per_key, self.max_queued, self.max_waiting_per_conversation
        )

    @property
    def context_policy(self) -> ContextPolicy:
        """How long a prompt may become before it is compacted."""
        return ContextPolicy(self.compact_at, self.context_window)

    @property
    def tool_policy(self) -> ToolPolicy:
        """What tools may do here. Raises SettingsError."""
        limits = Limits(
            memory=self.exec_memory_mb << 20, processes=self.exec_processes, file_size=self.exec_file_mb << 20
        )
        search = None
        if self.search_provider is not None:
            if self.search_provider == "searxng" and not self.search_url:
                raise SettingsError("PERDURE_SEARCH_PROVIDER is searxng: name your instance in PERDURE_SEARCH_URL.")
            if self.search_provider != "searxng" and not self.search_key:
                raise SettingsError(f"PERDURE_SEARCH_PROVIDER is {self.search_provider}: set PERDURE_SEARCH_KEY.")
            search = SearchPolicy(self.search_provider, forms.plain(self.search_key), self.search_url or "")
        return ToolPolicy(
            commands=CommandPolicy(self.exec_sandbox, self.exec_network, limits, hidden=tuple(self._hidden())),
            web=WebPolicy(self.web_allow),
            search=search,
        )

    @property
    def embedding_policy(self) -> EmbeddingPolicy | None:
        """Who gives vectors of what is remembered, if anybody. Raises SettingsError."""
        if self.embeddings_url is None:
            return None
        if self.embeddings_model is None:
            raise SettingsError("PERDURE_EMBEDDINGS_URL is set: name the model in PERDURE_EMBEDDINGS_MODEL.")
        address = urlsplit(self.embeddings_url)
        path = address.path.rstrip("/").removesuffix("/embeddings") + "/embeddings"
        return EmbeddingPolicy(
            urlunsplit(address._replace(path=path)), self.embeddings_model, forms.plain(self.embeddings_key)
        )

    def _hidden(self) -> list[str]:
        """What is the worker's own: kept from commands."""
        hidden = [str(self.data_dir), str(self.workspace_root)]
        scheme, _, path = self.database_url.partition(":///")
        file = f"/{path.partition('?')[0].lstrip('/')}"
        return hidden + [file + end for end in ("", "-wal", "-shm", "-journal") if scheme == "sqlite"]

    @property
    def sqlalchemy_url(self) -> str:
        """`database_url` with the driver that Perdure works with."""
        scheme, rest = self.database_url.split("://", 1)
        if scheme == "sqlite":
            return f"sqlite://{rest}"
        parts = urlsplit(f"postgresql+asyncpg://{rest}")
        # libpq's name for it is what people have in their URLs; asyncpg takes the same values as `ssl`.
        query = [("ssl" if name == "sslmode" else name, value) for name, value in parse_qsl(parts.query)]
        return urlunsplit(parts._replace(query=urlencode(query)))

    @property
    def database_address(self) -> str:
        """`database_url` as it may be shown: without user, password and options."""
        return _address(self.database_url)

    @property
    def bus_address(self) -> str:
        """`bus_url` as it may be shown, or what there is instead."""
        return _address(self.bus_url) if self.bus_url else "in-process"

    def secret_values(self) -> tuple[str, ...]:
        """Every secret in plain text, for masking what is shown; longest first, so that no part of one is left."""
        target = self.temporal.connect_config if self.temporal else ClientConnectConfig()
        found = [
            forms.plain(self.anthropic_api_key),
            forms.plain(self.search_key),
            forms.plain(self.embeddings_key),
            *(forms.plain(key.secret) for key in self.api_keys),
        ]
        found.append(str(target.get("api_key") or ""))
        # Short values and paths of what exists are everyday words of results; masking them would spoil these.
        given = confidential(self.mcp_servers)
        found += [value for value in given if len(value) >= MCP_SECRET_LENGTH and not os.path.exists(value)]
        for url in (self.database_url, self.bus_url, self.embeddings_url):
            password = (urlsplit(url).password if url else None) or ""
            found += [password, unquote(password)]
        return tuple(sorted({secret for secret in found if secret}, key=len, reverse=True))


def _address(url: str) -> str:
    scheme, rest = url.split("://", 1)
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
