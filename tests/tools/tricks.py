"""Path tricks by name, and a workspace to try them in."""

import os
import socket
from pathlib import Path

from tests.tools.room import Room

REFUSED = {
    "up": "../outside/secret.txt",
    "up from a folder": "src/../../outside/secret.txt",
    "up with dots": "./src/./.././../outside/secret.txt",
    "up with double slashes": "..//outside///secret.txt",
    "up many times": "../" * 40 + "etc/passwd",
    "up and back in": "../workspace/src/a.txt",
    "up through a name that looks absolute": "src//../..//outside/secret.txt",
    "absolute": "{outside}/secret.txt",
    "absolute system file": "/etc/passwd",
    "double slash": "//etc/passwd",
    "absolute and up": "{workspace}/../outside/secret.txt",
    "absolute twice": "{workspace}//../outside/secret.txt",
    "root": "/",
    "parent": "..",
    "neighbour with our prefix": "{workspace}-evil/secret.txt",
    "neighbour of another case": "{parent}/WORKSPACE/secret.txt",
    "environment of the process": "/proc/self/environ",
    "folder of the process": "/proc/self/cwd/secret.txt",
    "root by the process": "/proc/self/root/etc/passwd",
    "descriptors of the process": "/proc/self/fd/0",
    "memory of the process": "/proc/self/mem",
    "endless device": "/dev/zero",
    "terminal": "/dev/tty",
    "descriptor device": "/dev/fd/0",
    "link to a file": "links/file",
    "link to a folder": "links/folder/secret.txt",
    "link to the root": "links/root/etc/passwd",
    "link upwards": "links/up/outside/secret.txt",
    "link to a link": "links/chain/secret.txt",
    "link out and back in": "links/back/src/a.txt",
    "link into the process": "links/environ",
    "link to the root by the process": "links/proc_root/etc/passwd",
    "link to the folder by the process": "links/proc_cwd",
    "link to a device": "links/zero",
    "link to itself": "links/loop",
    "link in a circle": "links/circle_a/x",
    "up through a link": "links/inside/../../../outside/secret.txt",
    "absolute and through a link": "{workspace}/links/folder/secret.txt",
    "a file as a folder": "src/a.txt/../../../outside/secret.txt",
    "pipe": "fifo",
    "socket": "socket",
    "NUL": "src/a.txt\x00.md",
    "NUL and up": "src\x00/../../outside/secret.txt",
    "name too long": "x" * 256 + "/../../outside/secret.txt",
    "path too long": "x/" * 2_100 + "a",
    "secret file": ".env",
    "secret file of another case": "conf/.ENV.Local",
    "secret file by a link": "links/env",
    "secret file by an absolute path": "{workspace}/.env",
    "secret file by a detour": "src/../conf/../.env",
    "secret file by a folder's link": "links/ssh/id_x",
    "git's config": ".git/config",
    "git's config by a link": "links/config",
}
LITERAL = {
    "escaped up": "..%2foutside%2fsecret.txt",
    "escaped dots": "%2e%2e/outside/secret.txt",
    "twice escaped": "%252e%252e/outside/secret.txt",
    "bad UTF-8 slash, escaped": "..%c0%afoutside",
    "home": "~/secret.txt",
    "another's home": "~root/secret.txt",
    "variable": "$HOME/secret.txt",
    "command": "$(cat ../outside/secret.txt)",
    "backslashes": "..\\outside\\secret.txt",
    "drive": "C:\\outside\\secret.txt",
    "share": "\\\\host\\outside\\secret.txt",
    "file URL": "file:///etc/passwd.txt",
    "fullwidth dots": "\uff0e\uff0e/outside/secret.txt",
    "fullwidth slash": "..\uff0foutside\uff0fsecret.txt",
    "one dot leader": "\u2024\u2024/outside/secret.txt",
    "division slash": "..\u2215outside\u2215secret.txt",
    "text direction": "\u202etxt.terces",
    "trailing dots": ".../outside/secret.txt",
    "trailing space": ".. /outside/secret.txt",
    "leading space": " ../outside/secret.txt",
    "line end in the name": "..\n/outside/secret.txt",
    "option": "--output=../outside/secret.txt",
    "pattern": "*/../*.none",
}


def prepared(room: Room) -> None:
    """Links, pipes and secrets to try the tricks on."""
    room.file("src/a.txt", "inside\n")
    room.file("hooks/x", "")
    room.file("links/x", "")
    neighbour = room.workspace.with_name("workspace-evil")
    for folder in (neighbour, room.workspace.with_name("WORKSPACE")):
        folder.mkdir()
        (folder / "secret.txt").write_text("the secret")
    for name, content in {".env": "KEY=the secret", ".ssh/id_x": "the secret", "conf/.env.local": "the secret"}.items():
        room.file(name, content)
    room.file("conf/.ENV.Local", "the secret")
    room.file(".git/config", "[remote]\n\turl = https://the secret@host\n")
    links: dict[str, str | Path] = {
        "file": room.outside / "secret.txt",
        "folder": room.outside,
        "root": "/",
        "up": "../..",
        "chain": "folder",
        "back": "../../workspace",
        "environ": "/proc/self/environ",
        "proc_root": "/proc/self/root",
        "proc_cwd": "/proc/self/cwd",
        "zero": "/dev/zero",
        "loop": "loop",
        "circle_a": "circle_b",
        "circle_b": "circle_a",
        "inside": "../src",
        "env": "../.env",
        "ssh": "../.ssh",
        "config": "../.git/config",
    }
    for name, target in links.items():
        (room.workspace / "links" / name).symlink_to(target)
    os.mkfifo(room.workspace / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(room.workspace)  # the name of a socket may have 108 bytes
        try:
            bound.bind("socket")
        finally:
            os.chdir(here)
