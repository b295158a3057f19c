"""Settings: what the environment says, and what it may not say."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from session.context import ContextPolicy
from session.mcp import StdioServer
from settings import ApiKey, Settings, SettingsError


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the tester's own settings, and no Temporal profile of theirs."""
    for name in list(os.environ):
        if name.startswith(("PERDURE_", "ANTHROPIC_", "TEMPORAL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_without_any_setting_everything_lives_in_the_data_dir(tmp_path: Path) -> None:
    settings = Settings()
    assert settings.data_dir == tmp_path / ".perdure"
    assert settings.database_url == f"sqlite:///{tmp_path}/.perdure/perdure.db"
    assert settings.sqlalchemy_url == f"sqlite:///{tmp_path}/.perdure/perdure.db"
    assert settings.workspace_root == tmp_path / ".perdure" / "workspaces"
    assert settings.memory_folder == tmp_path / ".perdure" / "memory"
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 3000, "claude-sonnet-5-5")
    assert settings.anthropic_api_key is None and settings.api_keys == () and settings.bus_url is None
    assert settings.temporal is None


def test_a_flag_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERDURE_DATA_DIR", str(tmp_path / "variable"))
    monkeypatch.setenv("PERDURE_PORT", "4000")
    assert Settings(data_dir=tmp_path / "flag", port=None).data_dir == tmp_path / "flag"
    assert Settings(data_dir=None, port=None).data_dir == tmp_path / "variable"
    assert Settings(port=5000).port == 5000 and Settings(port=None).port == 4000


def test_a_relative_folder_is_made_absolute_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(data_dir=".perdure/demo").data_dir == tmp_path / ".perdure" / "demo"
    assert Settings(data_dir="~/x").data_dir == tmp_path / "x"
    monkeypatch.setenv("PERDURE_WORKSPACE", "work")
    assert Settings().workspace_root == tmp_path / "work"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "PERDURE_MODEL", "PERDURE_DATABASE_URL", "PERDURE_PORT"):
        monkeypatch.setenv(name, "")
    for name in ("PERDURE_API_KEYS", "PERDURE_BUS_URL", "TEMPORAL_ADDRESS", "TEMPORAL_TLS", "TEMPORAL_API_KEY"):
        monkeypatch.setenv(name, "")
    assert Settings() == Settings(port=3000)
    assert Settings().anthropic_api_key is None and Settings().temporal is None


@pytest.mark.parametrize(
    ("given", "driven"),
    [
        ("sqlite:////srv/p.db", "sqlite:////srv/p.db"),
        ("sqlite:///p.db", "sqlite:///p.db"),
        ("postgresql://u:p%40ss@db:5432/perdure", "postgresql+asyncpg://u:p%40ss@db:5432/perdure"),
        ("postgres://db/perdure", "postgresql+asyncpg://db/perdure"),
        ("postgresql://db/perdure?sslmode=require", "postgresql+asyncpg://db/perdure?ssl=require"),
    ],
)
def test_the_driver_is_perdures_choice(monkeypatch: pytest.MonkeyPatch, given: str, driven: str) -> None:
    monkeypatch.setenv("PERDURE_DATABASE_URL", given)
    assert Settings().database_url == given
    assert Settings().sqlalchemy_url == driven


def test_the_stores_address_can_be_shown_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_DATABASE_URL", "postgresql://u:sesame@db:5432/perdure?password=sesame")
    assert Settings().database_address == "postgresql://db:5432/perdure"
    assert Settings(database_url="sqlite:////srv/p.db").database_address == "sqlite:////srv/p.db"


def test_keys_have_names_and_bare_ones_are_named_after_their_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_API_KEYS", "alice:one, two ,ci.bot:has:colon,")
    alice, bare, bot = Settings().api_keys
    assert isinstance(alice, ApiKey)
    assert (alice.name, alice.secret.get_secret_value()) == ("alice", "one")
    assert (bare.name, bare.secret.get_secret_value()) == ("key-3fc4ccfe", "two")
    assert (bot.name, bot.secret.get_secret_value()) == ("ci.bot", "has:colon")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PERDURE_API_KEYS", "alice:"),
        ("PERDURE_API_KEYS", ":sesame-sesame"),
        ("PERDURE_API_KEYS", "sesame with blanks"),
        ("PERDURE_API_KEYS", "a:sesame-sesame,b:sesame-sesame"),
        ("PERDURE_API_KEYS", "a:sesame-sesame,a:sesame-another"),
        ("PERDURE_DATABASE_URL", "mysql://u:sesame-sesame@db/perdure"),
        ("PERDURE_DATABASE_URL", "postgresql+psycopg://u:sesame-sesame@db/perdure"),
        ("PERDURE_DATABASE_URL", "sqlite://"),
        ("PERDURE_DATABASE_URL", "sqlite:///:memory:"),
        ("PERDURE_DATABASE_URL", "sesame-sesame"),
        ("PERDURE_BUS_URL", "kafka://u:sesame-sesame@bus"),
        ("PERDURE_PORT", "sesame-sesame"),
        ("PERDURE_PORT", "70000"),
        ("PERDURE_BUILD_ID", "sesame:sesame"),
        ("PERDURE_DEPLOYMENT", "sesame.sesame"),
        ("PERDURE_GRACE_SECONDS", "sesame-sesame"),
        ("ANTHROPIC_BASE_URL", "sesame-sesame"),
        ("TEMPORAL_PROFILE", "sesame-sesame"),
    ],
)
def test_a_bad_value_is_named_and_never_repeated(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        Settings()
    said = str(caught.value)
    assert name in said and said.endswith(".") and "\n" not in said
    assert "sesame" not in said
    assert caught.value.__cause__ is None, "a cause would print the value with its traceback"


def test_a_flag_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingsError, match="colour"):
        Settings(colour="red")


def test_a_given_temporal_is_read_by_its_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    target = Settings().temporal
    assert target is not None
    assert (target.address, target.namespace) == ("temporal.example:7233", "default")
    assert target.connect_config == {"target_host": "temporal.example:7233"}
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "agents")
    monkeypatch.setenv("TEMPORAL_API_KEY", "sesame-temporal")
    target = Settings().temporal
    assert target is not None and target.namespace == "agents"
    assert target.connect_config["api_key"] == "sesame-temporal" and target.connect_config["tls"]


def test_a_temporal_named_in_its_configuration_file_counts_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text('[profile.default]\naddress = "from.file:7233"\n')
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    target = Settings().temporal
    assert target is not None and target.address == "from.file:7233"
    file.write_text('[profile.default]\napi_key = "sesame')
    with pytest.raises(SettingsError) as caught:
        Settings()
    assert "TEMPORAL_CONFIG_FILE" in str(caught.value) and "sesame" not in str(caught.value)


def test_secrets_are_listed_for_masking_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sesame-anthropic")
    monkeypatch.setenv("PERDURE_API_KEYS", "alice:sesame-alice,sesame-bare")
    monkeypatch.setenv("PERDURE_DATABASE_URL", "postgresql://u:sesame%2Fdb@db/perdure")
    monkeypatch.setenv("PERDURE_BUS_URL", "redis://:sesame-bus@bus:6379")
    monkeypatch.setenv("PERDURE_EMBEDDINGS_URL", "https://u:sesame-url@embed.example/v1")
    monkeypatch.setenv("PERDURE_EMBEDDINGS_KEY", "sesame-embed")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    monkeypatch.setenv("TEMPORAL_API_KEY", "sesame-temporal")
    settings = Settings()
    assert set(settings.secret_values()) == {
        "sesame-anthropic",
        "sesame-alice",
        "sesame-bare",
        "sesame%2Fdb",
        "sesame/db",
        "sesame-bus",
        "sesame-url",
        "sesame-embed",
        "sesame-temporal",
    }
    lengths = [len(secret) for secret in settings.secret_values()]
    assert lengths == sorted(lengths, reverse=True)
    assert "sesame" not in f"{settings!r} {settings}"


def test_an_embedding_endpoint_has_an_address_and_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().embedding_policy is None
    monkeypatch.setenv("PERDURE_EMBEDDINGS_URL", "https://embed.example/v1/")
    with pytest.raises(SettingsError, match="PERDURE_EMBEDDINGS_MODEL"):
        _ = Settings().embedding_policy
    monkeypatch.setenv("PERDURE_EMBEDDINGS_MODEL", "small")
    policy = Settings().embedding_policy
    assert policy is not None
    assert (policy.url, policy.model, policy.key) == ("https://embed.example/v1/embeddings", "small", "")
    for given in ("https://embed.example/v1/embeddings?version=2", "https://embed.example/v1?version=2"):
        monkeypatch.setenv("PERDURE_EMBEDDINGS_URL", given)
        again = Settings().embedding_policy
        assert again is not None and again.url == "https://embed.example/v1/embeddings?version=2"


def test_settings_do_not_change_while_a_process_runs() -> None:
    settings = Settings()
    with pytest.raises(Exception, match="frozen"):
        settings.port = 1  # type: ignore[misc]


MCP = (
    '{"mcpServers": {"files": {"command": "serve", "args": ["--root", "${ROOT:-/srv}"], "env": {"TOKEN": "${TOKEN}"}}}}'
)


def test_mcp_servers_are_json_or_a_file_of_it_and_take_variables_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOKEN", "tok-123456")
    (tmp_path / "mcp.json").write_text(MCP)
    for given in (MCP, str(tmp_path / "mcp.json"), "~/mcp.json"):
        monkeypatch.setenv("PERDURE_MCP_SERVERS", given)
        settings = Settings()
        server = settings.mcp_servers["files"]
        assert isinstance(server, StdioServer)
        assert (server.command, server.args) == ("serve", ("--root", "/srv"))
        assert server.env["TOKEN"].get_secret_value() == "tok-123456"
        assert "tok-123456" in settings.secret_values() and "tok-123456" not in repr(settings)
    assert Settings(mcp_servers={}).mcp_servers == {}


def test_values_given_to_mcp_servers_are_secrets_unless_they_are_short_or_paths(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    servers = {
        "there": {
            "url": "https://user:pass-word@host/mcp?key=query-key&page=1",
            "headers": {"Authorization": "Bearer abcdefgh"},
        },
        "here": {"command": "x", "env": {"LEVEL": "debug", "PLACE": str(tmp_path)}},
    }
    monkeypatch.setenv("PERDURE_MCP_SERVERS", json.dumps({"mcpServers": servers}))
    assert set(Settings().secret_values()) == {"pass-word", "query-key", "Bearer abcdefgh", "abcdefgh"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"mcpServers": {"a": {"command": "x", "env": {"T": "${GONE}"}}}}', "mcpServers.a.env.T speaks of ${GONE}"),
        ('{"mcpServers": {"a": {"args": ["s3cret"]}}}', "mcpServers.a.command is missing"),
        ('{"mcpServers": {"a": {"command": "s3cret", "url": "http://x"}}}', "mcpServers.a.url is no field"),
        ('{"mcpServers": {"a": {"url": "s3cret"}}}', "mcpServers.a.url is no address"),
        ('{"mcpServers": {"a": {"url": "http://x", "type": "sse"}}}', "mcpServers.a.type is wrong"),
        ('{"mcpServers": {"a": {"command": "x", "args": "s3cret"}}}', "mcpServers.a.args must be a list"),
        ('{"mcpServers": {"a": {"command": "x", "timeout": 0}}}', "mcpServers.a.timeout is wrong"),
        ('{"mcpServers": {"a__b": {"command": "x"}}}', "mcpServers.a__b is no name for a server"),
        ('{"mcpServers": {"a": "s3cret"}}', "mcpServers.a must be an object"),
        ('{"servers": {"a": "s3cret"}}', "mcpServers is missing"),
        ('{"mcpServers": s3cret', "it is not JSON (line 1, column 16"),
        ("/nowhere/s3cret.json", "No such file"),
    ],
)
def test_mcp_servers_that_cannot_be_used_are_refused_naming_the_field_and_no_value(
    monkeypatch: pytest.MonkeyPatch, given: str, said: str
) -> None:
    monkeypatch.setenv("PERDURE_MCP_SERVERS", given)
    with pytest.raises(SettingsError) as caught:
        Settings()
    assert str(caught.value).startswith("PERDURE_MCP_SERVERS cannot be")
    assert said in str(caught.value) and "s3cret" not in str(caught.value)


def test_an_mcp_server_that_is_disabled_is_as_good_as_unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_MCP_SERVERS", '{"mcpServers": {"a": {"command": "x", "disabled": true}}}')
    assert Settings().mcp_servers == {}


def test_a_workspace_root_that_holds_the_data_dir_is_refused(tmp_path: Path) -> None:
    for inside in (tmp_path, tmp_path / "data"):
        with pytest.raises(SettingsError, match="PERDURE_WORKSPACE"):
            Settings(data_dir=inside, workspace_root=tmp_path)
    assert Settings(data_dir=tmp_path / "data", workspace_root=tmp_path / "work").workspace_root == tmp_path / "work"


def test_how_long_a_prompt_may_become_is_a_share_of_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().context_policy == ContextPolicy(0.7, None)
    monkeypatch.setenv("PERDURE_COMPACT_AT", "0.5")
    monkeypatch.setenv("PERDURE_CONTEXT_WINDOW", "50000")
    assert Settings().context_policy == ContextPolicy(0.5, 50_000)
    monkeypatch.setenv("PERDURE_COMPACT_AT", "2")
    with pytest.raises(SettingsError, match="PERDURE_COMPACT_AT"):
        Settings()
