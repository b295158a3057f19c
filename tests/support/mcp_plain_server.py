"""An MCP server of the standard library alone, of the protocol before 2026: `python mcp_plain_server.py MANNER FOLDER`.

MANNER: `plain`, `hang` (answers nothing), `garbage` (writes what is no message, too), `none` (has no tool), `many` (has
200). What it does is told in files of FOLDER: `pid`, a line in `calls` for each call, `cancelled`.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

OBJECT = {"type": "object", "properties": {"text": {"type": "string"}}}
READS = {"readOnlyHint": True}


def tools(manner: str, grown: bool) -> list[dict[str, Any]]:
    if manner == "none":
        return []
    if manner == "many":
        return [{"name": f"tool_{number}", "inputSchema": OBJECT} for number in range(200)]
    found: list[dict[str, Any]] = [
        {"name": "echo", "description": "Says it again.", "inputSchema": {**OBJECT, "required": ["text"]}},
        {"name": "slow", "inputSchema": OBJECT},
        {"name": "slow_reading", "inputSchema": OBJECT, "annotations": READS},
        {"name": "grow", "inputSchema": OBJECT, "annotations": {"destructiveHint": False, "idempotentHint": True}},
        {"name": "branch", "inputSchema": OBJECT},
        {"name": "environment", "inputSchema": OBJECT, "annotations": READS},
    ]
    return [*found, {"name": "grown", "inputSchema": OBJECT}] if grown else found


class Server:
    def __init__(self, manner: str, folder: Path) -> None:
        self.manner = manner
        self.folder = folder
        self.grown = False
        self.lock = threading.Lock()

    def say(self, **message: Any) -> None:
        with self.lock:
            if self.manner == "garbage":
                print("garbage { that is no message", flush=True)
            print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)

    def hear(self, message: dict[str, Any]) -> None:
        method, number = message.get("method"), message.get("id")
        if method == "initialize":
            capabilities = {"tools": {"listChanged": True}}
            told = {"name": "plain", "version": "1"}
            version = message["params"]["protocolVersion"]
            self.say(id=number, result={"protocolVersion": version, "capabilities": capabilities, "serverInfo": told})
        elif method == "tools/list":
            self.say(id=number, result={"tools": tools(self.manner, self.grown)})
        elif method == "tools/call":
            threading.Thread(target=self.call, args=(number, message["params"]), daemon=True).start()
        elif method == "notifications/cancelled":
            (self.folder / "cancelled").write_text(json.dumps(message["params"]))
        elif number is not None:
            self.say(id=number, error={"code": -32601, "message": f"no method {method}"})

    def call(self, number: int, params: dict[str, Any]) -> None:
        name, given = params["name"], params.get("arguments", {})
        with (self.folder / "calls").open("a") as file:
            file.write(f"{name}\n")
        if name.startswith("slow"):
            token = params["_meta"]["progressToken"]
            progress = {"progressToken": token, "progress": 1, "total": 3, "message": given.get("text", "working")}
            self.say(method="notifications/progress", params=progress)
            time.sleep(60)
        text = given.get("text", "")
        if name == "grow":
            self.grown = True
            self.say(method="notifications/tools/list_changed")
        elif name == "branch":  # a process that detaches itself
            child = subprocess.Popen(["sleep", "600"], start_new_session=True)
            text = str(child.pid)
        elif name == "environment":
            text = json.dumps(dict(os.environ))
        self.say(id=number, result={"content": [{"type": "text", "text": text}]})


def main(manner: str, folder: Path) -> None:
    (folder / "pid").write_text(str(os.getpid()))
    print(f"the {manner} server begins with {os.environ.get('TOKEN')}", file=sys.stderr, flush=True)
    server = Server(manner, folder)
    for line in sys.stdin:
        if manner != "hang":
            server.hear(json.loads(line))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
