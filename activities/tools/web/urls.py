"""Reading a URL strictly, once: what is checked is what is requested, so no two readers can disagree about it.

Forms that browsers would repair (blanks, backslashes, numbers that are addresses in disguise, user names) are refused
with a sentence that says how to write it, since whoever writes them is mistaken or up to something.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, urljoin, urlsplit

import idna

from activities.tools.spec import ToolError

MAX_LENGTH = 8_000
_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]@:]+))(?::(?P<port>[0-9]{0,5}))?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\\]")
# Everything that may stand in a path or query, and "%", which is taken for the beginning of an escape.
_KEPT = "!#$%&'()*+,/:;=?@[]~-._"

_BAD_PORTS = """
    0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 135
    137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 995 1719
    1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080
"""
BAD_PORTS = frozenset(int(number) for number in _BAD_PORTS.split())
"""Ports of mail, login and other services that take lines of text for commands, so that a request body could speak to
them: the Fetch standard's "bad ports", which no browser connects to either."""


@dataclass(frozen=True)
class Target:
    """Where a request goes. `host`: lower case ASCII, or an address without brackets. `path`: with the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def target(url: str) -> Target:
    """The URL, read. Raises ToolError URL_REFUSED."""
    if len(url) > MAX_LENGTH:
        raise _refused(f"it is longer than {MAX_LENGTH:,} characters")
    if found := _UNSAFE.search(url):
        how = "leave it out or write it in percent form, such as %20"
        raise _refused(f"it has the character U+{ord(found[0]):04X} (blank, control or backslash): {how}")
    scheme, colon, _ = url.partition(":")
    if not colon or scheme.lower() not in _PORTS:
        raise _refused("only http:// and https:// are fetched")
    if not re.match(r"https?://[^/?#]", url, re.IGNORECASE):
        raise _refused("there is no host in it: write https://host/path")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _refused("its host is not valid") from error
    host, port = _host_and_port(parts.netloc, parts.scheme)
    path = quote(parts.path or "/", safe=_KEPT) + (f"?{quote(parts.query, safe=_KEPT)}" if parts.query else "")
    return Target(parts.scheme, host, port, path)


def redirected(base: Target, location: str) -> Target:
    """Where a `Location` header leads from `base`. Raises ToolError URL_REFUSED."""
    location = location.strip(" \t").replace(" ", "%20")
    if _ABSOLUTE.match(location):  # joining would repair some of what is refused
        return target(location)
    try:
        joined = urljoin(str(base), location)
    except ValueError as error:
        raise _refused("it is not valid") from error
    return target(joined)


def _host_and_port(authority: str, scheme: str) -> tuple[str, int]:
    if "@" in authority:
        raise _refused("a user name or password does not belong in it; send an Authorization header instead")
    if "%" in authority:
        raise _refused("its host may have neither percent escapes nor a zone")
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise _refused("its host or port is not valid")
    port = int(found["port"] or _PORTS[scheme])
    if port > 65_535:
        raise _refused(f"there is no port {port}")
    if port in BAD_PORTS:
        raise _refused(f"port {port} is not one that web servers use, requests to it could be taken for commands")
    return (_six(found["six"]) if found["six"] else _name(found["host"])), port


def _six(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError as error:
        raise _refused("its IPv6 address is not valid") from error


def _name(text: str) -> str:
    """A host name in its one spelling, or an IPv4 address in four decimal numbers."""
    if not text.isascii():
        try:
            text = idna.encode(text[:255], uts46=True).decode()
        except (idna.IDNAError, UnicodeError) as error:
            raise _refused("its host is not a valid international name") from error
    host = text.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused("its host is not a valid name")
    if _NUMBER.fullmatch(labels[-1]):  # then it is an address, in one of the forms that C libraries still read
        try:
            return str(IPv4Address(host))
        except ValueError as error:
            raise _refused("its host is a number in disguise; write an address as four decimal numbers") from error
    return host


def _refused(why: str) -> ToolError:
    return ToolError("URL_REFUSED", f"this URL cannot be fetched: {why}")
