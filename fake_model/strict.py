"""What the Messages API refuses, at the top level of a request: fields, models, thinking, sampling, tools, cache marks.

Sources: the API reference and the pages on thinking, effort, prompt caching and API versions at platform.claude.com.
API version 2026-10-21 (which the SDK sends from 2.0 on) has no sampling parameters for any model; 2023-06-01 takes them
where the model does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fake_model import fields
from fake_model.abilities import ALL_EFFORTS, Abilities, abilities
from fake_model.blocks import check_system
from fake_model.fields import JsonObject, refuse
from fake_model.prompt import Prompt, read_prompt
from fake_model.refusal import Refused
from fake_model.transcript import check_messages, check_thinking

VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
MAX_BREAKPOINTS = 4
_SAMPLING = ("temperature", "top_p", "top_k")
_COUNTED = (
    *("messages", "model", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control", "speed"),
)
_FIELDS = (
    *_COUNTED,
    *("max_tokens", "metadata", "stop_sequences", "stream", "service_tier", "container", "inference_geo"),
    *("diagnostics", "user_profile_id"),
)
_TOOL_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
_TOOL = (
    *("name", "description", "input_schema", "type", "cache_control", "strict", "defer_loading", "allowed_callers"),
    *("eager_input_streaming", "input_examples"),
)
_NO_THINKING_TYPE = (
    '"thinking.type.{0}" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" to '
    "control thinking behavior."
)


def check_headers(headers: Mapping[str, str]) -> tuple[str, str]:
    """The key and the API version. The SDK sends its key as a bearer token from 2.0 on, others as x-api-key."""
    key = headers.get("x-api-key", "")
    authorization = headers.get("authorization", "")
    if not key and authorization.lower().startswith("bearer "):
        key = authorization[7:].strip()
    if not key:
        raise Refused("x-api-key header is required", 401)
    if "invalid" in key:
        raise Refused("invalid x-api-key", 401)
    version = headers.get("anthropic-version", "")
    if not version:
        raise Refused("anthropic-version: header is required")
    if version not in VERSIONS:
        raise Refused(f'anthropic-version: "{version}" is not a valid version')
    return key, version


def check_request(body: JsonObject, version: str, *, counting: bool = False) -> tuple[Prompt, bool]:
    """The prompt of a good request, and whether its reply may begin with thinking.

    Raises:
        Refused: with the message of the first thing that is wrong.
    """
    sampled = () if version >= "2026-10-21" or counting else _SAMPLING
    fields.no_extras("", body, (*(_COUNTED if counting else _FIELDS), *sampled))
    rules = _check_model(fields.a_string("", body, "model"))
    if not counting:
        _check_max_tokens(body, rules)
    _check_plain_fields(body)
    if body.get("system") is not None:
        check_system(body["system"])
    _check_tools(body.get("tools"))
    _check_effort(body.get("output_config"), rules)
    thinks = _check_thinking_field(body, rules)
    _check_tool_choice(body, rules)
    _check_sampling(body, rules)
    check_messages(body, rules)
    fields.a_cache_control("", body)
    prompt = read_prompt(body)
    if len(prompt.marks) > MAX_BREAKPOINTS:
        raise Refused(
            f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {len(prompt.marks)}."
        )
    check_thinking(body, rules, prompt, thinks)
    return prompt, thinks


def _check_model(model: str) -> Abilities:
    rules = abilities(model)
    if rules is None:
        raise Refused(f"model: {model}", 404)
    return rules


def _check_max_tokens(body: JsonObject, rules: Abilities) -> None:
    asked = fields.an_integer("max_tokens", fields.required("", body, "max_tokens"), 1)
    if asked > rules.max_tokens:
        told = f"{asked} > {rules.max_tokens}, which is the maximum allowed number of output tokens for {body['model']}"
        raise refuse("max_tokens", told)


def _check_plain_fields(body: JsonObject) -> None:
    if not isinstance(body.get("stream", False), bool):
        raise refuse("stream", "Input should be a valid boolean")
    metadata = body.get("metadata")
    if metadata is not None:
        fields.no_extras("metadata", fields.an_object("metadata", metadata), ("user_id",))
        if not isinstance(metadata.get("user_id"), str | None):
            raise refuse("metadata.user_id", "Input should be a valid string")
    for index, sequence in enumerate(fields.a_list("stop_sequences", body.get("stop_sequences") or [])):
        if not isinstance(sequence, str) or not sequence.strip():
            raise refuse(f"stop_sequences.{index}", "each stop sequence must contain non-whitespace")
    if body.get("service_tier") is not None:
        fields.one_of("service_tier", body["service_tier"], ("auto", "standard_only"))


def _check_tools(tools: Any) -> None:
    names: set[str] = set()
    for index, tool in enumerate(fields.a_list("tools", tools if tools is not None else [])):
        place = f"tools.{index}"
        if fields.an_object(place, tool).get("type") not in (None, "custom"):
            raise refuse(place, f"Input tag {tool['type']!r} is a tool of the server: this fake has custom tools only")
        place = f"{place}.custom"
        fields.no_extras(place, tool, _TOOL)
        name = fields.a_string(place, tool, "name")
        if not _TOOL_NAME.match(name):
            raise refuse(f"{place}.name", f"String should match pattern '{_TOOL_NAME.pattern}'")
        if name in names:
            raise refuse("tools", "Tool names must be unique.")
        names.add(name)
        schema = fields.an_object(f"{place}.input_schema", fields.required(place, tool, "input_schema"))
        fields.one_of(
            f"{place}.input_schema.type", fields.required(f"{place}.input_schema", schema, "type"), ("object",)
        )
        fields.an_object(f"{place}.input_schema.properties", schema.get("properties") or {})
        if "description" in tool:
            fields.a_string(place, tool, "description")
        fields.a_cache_control(place, tool)


def _check_effort(config: Any, rules: Abilities) -> None:
    if config is None:
        return
    fields.no_extras("output_config", fields.an_object("output_config", config), ("effort", "format"))
    effort = config.get("effort")
    if effort is None:
        return
    fields.one_of("output_config.effort", effort, ALL_EFFORTS)
    if not rules.efforts:
        raise Refused("This model does not support the effort parameter.")
    if effort not in rules.efforts:
        known = ", ".join(rules.efforts)
        raise Refused(f"This model does not support effort level '{effort}'. Supported levels: {known}.")


def _check_thinking_field(body: JsonObject, rules: Abilities) -> bool:
    config = body.get("thinking")
    if config is None:
        return rules.thinks_unasked
    kind = fields.required("thinking", fields.an_object("thinking", config), "type")
    fields.one_of("thinking.type", kind, ("enabled", "disabled", "adaptive", "between_tools"))
    if kind not in rules.thinking:
        if kind == "adaptive":
            raise Refused("adaptive thinking is not supported on this model")
        raise Refused(_NO_THINKING_TYPE.format(kind))
    shown = ("display",) if kind in ("enabled", "adaptive") else ()
    budget = ("budget_tokens",) if kind == "enabled" else ()
    fields.no_extras(f"thinking.{kind}", config, ("type", *shown, *budget))
    if config.get("display") is not None:
        fields.one_of(f"thinking.{kind}.display", config["display"], ("summarized", "omitted"))
    if kind == "enabled":
        place = "thinking.enabled.budget_tokens"
        tokens = fields.an_integer(place, fields.required("thinking.enabled", config, "budget_tokens"), 1024)
        if "max_tokens" in body and tokens >= body["max_tokens"]:
            raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    return kind in ("enabled", "adaptive")


def _check_tool_choice(body: JsonObject, rules: Abilities) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    kind = fields.required("tool_choice", fields.an_object("tool_choice", choice), "type")
    fields.one_of("tool_choice.type", kind, ("auto", "any", "tool", "none"))
    named = ("name",) if kind == "tool" else ()
    parallel = () if kind == "none" else ("disable_parallel_tool_use",)
    fields.no_extras(f"tool_choice.{kind}", choice, ("type", *named, *parallel))
    if not body.get("tools"):
        raise Refused("tool_choice: may only be specified while providing tools")
    if kind == "tool":
        name = fields.a_string("tool_choice.tool", choice, "name")
        if name not in {tool["name"] for tool in body["tools"]}:
            raise Refused(f"tool_choice.tool.name: Tool '{name}' not found in provided tools")
    if kind not in ("any", "tool"):
        return
    if not rules.forced_tools:
        raise Refused("tool_choice: forced tool use is not supported for this model")
    if (body.get("thinking") or {}).get("type") in ("enabled", "adaptive"):
        raise Refused("Thinking may not be enabled when tool_choice forces tool use.")


def _check_sampling(body: JsonObject, rules: Abilities) -> None:
    for name in _SAMPLING:
        if body.get(name) is None:
            continue
        if not rules.sampling:
            raise Refused(f"`{name}` is deprecated for this model.")
        if name == "top_k":
            fields.an_integer(name, body[name], 0)
        else:
            fields.a_number(name, body[name], 0, 1)
    thinking = (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    if thinking and body.get("temperature") not in (None, 1):
        raise Refused("`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.")
