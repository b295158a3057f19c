"""The tools that a model may call, one file each. Adding one: write its file, and name it in `_NAMES`.

Light to import: the API lists the tools from here without running any.
"""

from importlib import import_module
from typing import Any

from activities.tools.spec import ToolContext, ToolError, ToolOutput, ToolSpec, call

_NAMES = (
    "read_file",
    "write_file",
    "edit_file",
    "patch_apply",
    "search_files",
    "grep",
    "directory_tree",
    "git_status",
    "git_diff",
    "git_log",
    "git_commit",
    "git_branch",
    "exec",
    "exec_output",
    "exec_kill",
    "web_fetch",
    "web_search",
    "test_run",
    "todo_write",
    "todo_read",
    "retrieve_result",
    "memory_search",
    "memory_get",
    "memory_write",
    "complete_task",
)

TOOLS: dict[str, ToolSpec[Any]] = {name: import_module(f"{__name__}.{name}").TOOL for name in _NAMES}
"""Every tool by its name, in the order in which the model is shown them."""

__all__ = ["TOOLS", "ToolContext", "ToolError", "ToolOutput", "ToolSpec", "call"]
