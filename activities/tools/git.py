"""Running git for the git tools, so that a repository cannot make it run anything else.

A repository is input: its config names programs (hooks, filters, file system monitors, external diffs, pagers,
signers, transports), and git runs them. Settings of the command line win over the repository's and switch each of them
off (git-config(1); git(1), "ENVIRONMENT VARIABLES"); the machine's and the user's config are not read at all; nothing
reaches a network. Filters are switched off by their names, which are read from the config first. What the repository
is made of must lie in the workspace (see `repository.py`).

The tools say `runs_commands`, so a session that is confined to the sandbox runs them there.
"""

import asyncio
import os
import re
from typing import Final, NamedTuple

from activities.tools.command import run_command
from activities.tools.confine import located
from activities.tools.patch import unquoted
from activities.tools.repository import Repository, found, within
from activities.tools.secret_files import is_secret
from activities.tools.spec import Stream, ToolContext, ToolError
from activities.tools.text import Recording

SECONDS: Final = 50.0
"""For one run of git; a tool needs up to five."""
KEPT: Final = 1_000_000
"""Characters of an answer kept from its beginning, and as many from its end."""
_NOTHING: Final = "false"
"""A program that does nothing."""

_SETTINGS: Final = {
    # Programs that a repository's config could name.
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.pager": "cat",
    "core.editor": "true",
    "core.askPass": _NOTHING,
    "core.sshCommand": _NOTHING,
    "credential.helper": "",
    "gpg.program": _NOTHING,
    "gpg.ssh.program": _NOTHING,
    "gpg.x509.program": _NOTHING,
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "log.showSignature": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "protocol.allow": "never",
    # Submodules are repositories with a config of their own, and git would run itself in them.
    "submodule.recurse": "false",
    "status.submoduleSummary": "false",
    "diff.ignoreSubmodules": "dirty",
    # A workspace may well belong to another user; what could be run in that one's name is switched off.
    "safe.directory": "*",
    "core.attributesFile": "/dev/null",
    # The form that the tools read.
    "core.quotePath": "false",
    "color.ui": "false",
    "column.ui": "never",
    "commit.verbose": "false",
    "status.relativePaths": "true",
}
_ENVIRONMENT: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": _NOTHING,
    "SSH_ASKPASS": _NOTHING,
    "GIT_SSH_COMMAND": _NOTHING,
    "GIT_ALLOW_PROTOCOL": "none",  # wins over protocol.<name>.allow of the repository, which protocol.allow does not
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "true",
    "LC_ALL": "C.UTF-8",
}
_IDENTITY: Final = {"user.name": "Perdure", "user.email": "perdure@localhost"}
"""Who commits where the repository's own config does not say."""
_FILTER = re.compile(r"filter\.(.+)\.(?:clean|smudge|process)", re.DOTALL)
_ORDINARY = re.compile(r"[A-Za-z0-9_.+/-]+")
_REF = re.compile(r"[^\x00-\x20\x7f:?*\[\\-][^\x00-\x20\x7f:?*\[\\]*")
_WARNING = re.compile(r"^(?:warning|hint): .*\n?", re.MULTILINE)


class Answer(NamedTuple):
    """What git said, and its exit code."""

    code: int
    out: str
    complaint: str
    truncated: bool

    def failure(self) -> ToolError:
        """GIT_FAILED, with git's own sentence."""
        lines = [line for line in self.complaint.splitlines() if line.startswith(("fatal: ", "error: "))]
        told = lines[0] if lines else f"git ended with exit code {self.code}"
        content = "\n".join(part for part in (self.out, self.complaint.strip()) if part)
        return ToolError("GIT_FAILED", told, content="" if content == told else content)


class Git:
    """git in one repository of the workspace; `opened` makes one."""

    def __init__(self, context: ToolContext, repository: Repository) -> None:
        self.repository = repository
        self._context = context
        self._settings = dict(_SETTINGS)
        self._filters = {"lfs"}  # usually in the user's config, which is not read, but its files are not our text

    async def ask(self, *arguments: str, writing: bool = False) -> Answer:
        """Run `git ARGUMENTS`, whatever its exit code. `writing`: it may lock the index."""
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        environment = {
            **_ENVIRONMENT,
            "GIT_DIR": self.repository.git_folder,
            "GIT_WORK_TREE": self.repository.work_tree,
            "GIT_CEILING_DIRECTORIES": self.repository.ceiling,
            "GIT_OPTIONAL_LOCKS": "1" if writing else "0",
        }
        said = {"stdout": Recording(KEPT), "stderr": Recording(8_000)}

        def hear(stream: Stream, text: str) -> None:
            said[stream].add(text)

        folder = await asyncio.to_thread(self._folder)
        try:
            program = ("git", "--no-pager", *settings, *arguments)
            ended = await run_command(
                self._context, program, folder, timeout=SECONDS, hear=hear, environment=environment
            )
        finally:
            os.close(folder)
        out = said["stdout"]
        return Answer(ended.code, out.text(), _WARNING.sub("", said["stderr"].text()), out.truncated)

    async def told(self, *arguments: str, writing: bool = False) -> Answer:
        """The same, where it must succeed. Raises ToolError GIT_FAILED."""
        answer = await self.ask(*arguments, writing=writing)
        if answer.code != 0:
            raise answer.failure()
        return answer

    async def lines(self, *arguments: str) -> list[str]:
        """All lines of an answer. Raises ToolError also where there are too many."""
        answer = await self.told("-c", "core.quotePath=true", *arguments)  # no name loses a byte
        if answer.truncated:
            raise ToolError("TOO_LARGE", "there are too many files for this; name some of them")
        return answer.out.splitlines()

    async def names(self, *arguments: str) -> list[str]:
        """The lines of an answer that are names of files, unquoted."""
        return [unquoted(line) for line in await self.lines(*arguments)]

    def path(self, path: str) -> str:
        """`path` (from the workspace on) as a pathspec that is nothing but this path."""
        return f":(top,literal){within(self._context.workspace, self.repository, path)}"

    async def refuse_filtered(self) -> None:
        """Raise ToolError where files of the repository are to pass through filters: without those, what is committed
        or checked out would be something else than was meant."""
        specs = [f":(top,attr:filter={name})" for name in sorted(self._filters)]
        if found := await self.names("ls-files", "--cached", "--others", "--exclude-standard", "--", *specs):
            told = f"`{found[0]}` passes through a filter (.gitattributes), which the git tools do not run; use exec"
            raise ToolError("FILTERED", told)

    async def prepare(self) -> None:
        """Read the names of the config, switch its filters off, and give it an identity where it has none."""
        configured = await self.lines("config", "--list", "--name-only")
        for key in configured:
            if named := _FILTER.fullmatch(key):
                name = named[1]
                if not _ORDINARY.fullmatch(name):  # of another it is not sure that this is how git spells it
                    raise ToolError("FILTERED", f"the repository's config has a filter of an odd name (`{name[:100]}`)")
                self._filters.add(name)
                empty = {f"filter.{name}.{part}": "" for part in ("clean", "smudge", "process")}
                self._settings |= {**empty, f"filter.{name}.required": "false"}
        self._settings |= {key: value for key, value in _IDENTITY.items() if key not in configured}

    def _folder(self) -> int:
        with located(self._context.workspace, self.repository.relative) as place:
            return place.open_folder()


async def opened(context: ToolContext, directory: str) -> Git:
    """git, in the repository that `directory` of the workspace belongs to. Raises `ToolError`."""
    git = Git(context, await asyncio.to_thread(found, context.workspace, directory))
    await git.prepare()
    return git


def ref(name: str) -> str:
    """A revision or a range of them, and never an option, a path or a search. Raises `ToolError`."""
    if not _REF.fullmatch(name):
        told = f"`{name[:100]}` is no branch, tag, commit or range such as main..topic, HEAD~2 or 1a2b3c4"
        raise ToolError("INVALID_ARGUMENTS", told)
    return name


def refuse_secrets(names: list[str]) -> None:
    """Raise ToolError SECRET_FILE where one of these would be committed."""
    if secret := [name for name in names if is_secret(name)]:
        told = ", ".join(f"`{name}`" for name in secret[:5])
        raise ToolError(
            "SECRET_FILE",
            f"{told} may hold secrets (going by the name), so nothing was committed; name the paths to commit, "
            "or leave it out by .gitignore",
        )
