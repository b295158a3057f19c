"""Files that may hold secrets are left alone by every file tool, going by the name of the place that is reached."""

from typing import Any

import pytest

from activities.tools.secret_files import is_secret
from tests.tools.room import Room

SECRET = (
    *(".env", ".ENV", "app/.env", ".env.local", ".env.production", ".env.production.local", ".envrc"),
    *("id_rsa", "id_ed25519", "keys/id_ecdsa", "id_rsa_work", "id_ed25519_sk", "ID_RSA"),
    *("server.pem", "a/b.key", "c.p12", "c.pfx", "store.jks", "passwords.kdbx", "x.PEM", "putty.ppk"),
    *(".ssh/config", ".ssh/known_hosts", "home/.ssh/deep/key", ".gnupg/secring.gpg"),
    *(".aws/credentials", ".netrc", "_netrc", ".npmrc", "web/.npmrc", ".pypirc", ".git-credentials", ".htpasswd"),
    *(".docker/config.json", ".dockercfg", ".kube/config", ".config/gcloud/application_default_credentials.json"),
    *(".config/gh/hosts.yml", ".azure/accessTokens.json", ".cargo/credentials.toml", ".pgpass", ".vault-token"),
    *("terraform.tfstate", "infra/prod.tfstate.backup", ".git/config", "sub/.git/config", ".git/modules/x/config"),
)
PLAIN = (
    *(".env.example", ".env.sample", ".env.template", ".env.local.example", "env.py", ".environment", "my.env.md"),
    *(".env/lib/site.py", "id_rsa.pub", "id_ed25519.pub", "grid_rsa.py", "key", "monkey", "keys.py", "pem.txt"),
    *(".ssh", "ssh/config", ".aws/config", "docker/config.json", "kube/config", ".git/HEAD", ".github/config"),
    *(".gitconfig.md", "credentials.py", "README.md", "tfstate.md", ".gitignore", "npmrc", "config"),
)


@pytest.mark.parametrize("path", SECRET)
async def test_a_secret_file_is_neither_read_nor_changed(room: Room, path: str) -> None:
    assert is_secret(path)
    place = room.file(path, "KEY = the secret\n")
    tries: list[tuple[str, dict[str, Any]]] = [
        ("read_file", {"path": path}),
        ("write_file", {"path": path, "content": "x"}),
        ("write_file", {"path": path, "content": "x", "append": True}),
        ("edit_file", {"path": path, "old_string": "secret", "new_string": "x"}),
        ("grep", {"path": path, "pattern": "secret"}),
        ("patch_apply", {"patch": f"--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-KEY = guess\n+x\n"}),
        ("patch_apply", {"patch": f"--- a/{path}\n+++ /dev/null\n@@ -1 +0,0 @@\n-KEY = guess\n"}),
    ]
    for name, arguments in tries:
        error = await room.refused(name, **arguments)
        assert error.code == "SECRET_FILE" and "may hold secrets" in error.message
        assert "the secret" not in error.message + error.content
    assert place.read_text() == "KEY = the secret\n"


@pytest.mark.parametrize("path", PLAIN)
def test_other_names_are_not_secret(path: str) -> None:
    assert not is_secret(path)


async def test_a_secret_file_is_not_made_either(room: Room) -> None:
    for path in (".env", "new/folder/.env", ".ssh/authorized_keys"):
        assert (await room.refused("write_file", path=path, content="x")).code == "SECRET_FILE"
    assert list(room.workspace.iterdir()) == []


async def test_a_search_shows_names_but_no_contents(room: Room) -> None:
    room.file(".env", "KEY=the secret\n")
    room.file("conf/.env.local", "KEY=the secret\n")
    room.file("conf/server.pem", "the secret\n")
    room.file("conf/.env.example", "KEY=the example\n")
    told = await room.says("grep", pattern="the ")
    assert told.splitlines() == [
        "conf/.env.example:1:KEY=the example",
        "[not searched: 3 files that may hold secrets, going by the name]",
    ]
    assert "conf/server.pem" in await room.says("search_files", pattern="*.pem")
    assert ".env.local" in await room.says("directory_tree")
    told = await room.says("grep", pattern="secret", path="conf")
    assert told == "[no match in 1 text file]\n[not searched: 2 files that may hold secrets, going by the name]"


async def test_a_secret_in_a_folder_that_is_searched_by_name_is_not_shown(room: Room) -> None:
    room.file(".ssh/config", "the secret\n")
    room.file(".git/config", "the secret\n")
    room.file(".git/HEAD", "the secret\n")
    assert "not searched: 1 file" in await room.says("grep", pattern="secret", path=".ssh")
    told = await room.says("grep", pattern="secret", path=".git")
    assert told.splitlines()[0] == ".git/HEAD:1:the secret" and "config" not in told


async def test_a_name_with_a_line_end_is_no_way_round(room: Room) -> None:
    room.file("x\n.env", "plain\n")
    assert await room.says("read_file", path="x\n.env") == "plain\n"
    room.file("x\n/.env", "the secret\n")
    assert (await room.refused("read_file", path="x\n/.env")).code == "SECRET_FILE"
