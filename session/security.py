"""Security modes: may this call run (CONTRACT §2, `securityMode`)? A pure rule; a refusal goes to the model.

`deny` runs nothing. `sandbox` runs what only reads. `allowlist` runs what `allowedTools` names. `ask` runs what is safe
and refuses the rest until approvals exist to ask for. `full` runs everything that was offered.
"""

from collections.abc import Collection

from session.vocabulary import Effect, SecurityLevel, SecurityMode


def refusal(
    mode: SecurityMode, name: str, level: SecurityLevel, effect: Effect, allowed: Collection[str] | None
) -> str | None:
    """Why the call may not run, as a sentence for the model; None when it may."""
    if mode == "deny":
        return f"{name} was not run: this session runs no tools (securityMode deny)."
    if mode == "sandbox" and effect != "readOnly" and name != "complete_task":
        return f"{name} was not run: this session only runs tools that read (securityMode sandbox)."
    if mode == "allowlist" and name not in (allowed or ()):
        return f"{name} was not run: it is not among this session's allowedTools (securityMode allowlist)."
    if mode == "ask" and level != "safe":
        return f"{name} was not run: it needs an approval, and nobody is there to give one (securityMode ask)."
    return None
