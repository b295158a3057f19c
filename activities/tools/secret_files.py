"""Files that file tools leave alone: those that hold secrets by custom, and git's own folder.

The rule goes by the name, without regard to case, of the place that a path leads to once its links are resolved (see
`confine.py`), so that neither a link nor `..` nor an absolute path gets round it. It keeps a model from reading a key
by the way or writing one into a message; it is no wall against commands, which read what the worker's user may read:
that wall is the sandbox (`CommandPolicy`).

A file in `.git` may be read, other than its config, where addresses with tokens stand. None may be written: git runs
what its hooks and its config name.
"""

import re
from typing import Final

from activities.tools.spec import ToolError

_KEY_FILES: Final = (
    r"id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?(?:[._-](?!pub\Z)[^/]*)?",
    r"[^/]*\.(?:pem|key|p12|pfx|ppk|jks|keystore|kdbx)",
    r"\.ssh/.+",
    r"\.gnupg/.+",
)
_SETTINGS: Final = (
    r"\.env(?:\.(?!(?:[^/]+\.)?(?:example|sample|template|dist)\Z)[^/]*)?",
    r"\.envrc",
    r"[^/]*\.tfstate(?:\.[^/]*)?",
    r"\.terraform\.d/credentials\.tfrc\.json",
)
_LOGINS: Final = (
    r"[._]netrc",
    r"\.(?:npmrc|pypirc|git-credentials|htpasswd|pgpass|my\.cnf|dockercfg|vault-token|s3cfg|boto)",
    r"\.git/(?:[^/]+/)*config(?:\.worktree)?",
    r"\.aws/(?:credentials|(?:sso|cli)/.+)",
    r"\.azure/.+",
    r"\.config/gcloud/.+",
    r"\.config/(?:gh/hosts\.yml|hub)",
    r"\.docker/config\.json",
    r"\.kube/(?:config|cache/.+)",
    r"\.cargo/credentials(?:\.toml)?",
    r"\.gem/credentials",
)
SECRET: Final = re.compile(rf"(?:^|/)(?:{'|'.join((*_KEY_FILES, *_SETTINGS, *_LOGINS))})\Z", re.I)
"""Matches, by `search`, the path (from the workspace on, without links) of a file that may hold secrets."""
_GIT: Final = re.compile(r"(?:^|/)\.git(?:/|\Z)", re.I)


def is_secret(path: str) -> bool:
    """Whether the file at `path` (from the workspace on, without links) may hold secrets, going by its name."""
    return SECRET.search(path) is not None


def refuse(path: str, *, writing: bool) -> None:
    """Raise `ToolError` where `path` (from the workspace on, without links) is not a file tool's to touch.

    SECRET_FILE, and for writing GIT_FOLDER.
    """
    if is_secret(path):
        raise ToolError("SECRET_FILE", f"`{path[:200]}` may hold secrets (going by its name), so tools leave it alone")
    if writing and _GIT.search(path):
        told = f"`{path[:200]}` belongs to git, which runs what is written there; use the git tools instead"
        raise ToolError("GIT_FOLDER", told)
