"""Which addresses may be connected to: those of the public internet, and what the operator allows besides.

The networks are those of IANA's special-purpose address registries (RFC 6890 and its updates) that are not globally
reachable, the metadata addresses of clouds, and the IPv6 forms that carry an IPv4 address, which is then checked too.
Of IPv6 only global unicast (2000::/3, RFC 4291) is open at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_CLOSED: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "unspecified (this host)"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by a carrier (RFC 6598)"),
    ("127.0.0.0/8", "loopback (this machine)"),
    ("168.63.129.16/32", "a cloud's metadata and control address"),
    ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved for protocols"),
    ("192.0.2.0/24", "reserved for documentation"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "reserved for benchmarks"),
    ("198.51.100.0/24", "reserved for documentation"),
    ("203.0.113.0/24", "reserved for documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified (this host)"),
    ("::1/128", "loopback (this machine)"),
    ("64:ff9b:1::/48", "a local translation to IPv4"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
    ("2001::/32", "a Teredo tunnel"),
    ("2001::/23", "reserved for protocols"),
    ("2001:db8::/32", "reserved for documentation"),
    ("2002::/16", "a 6to4 tunnel"),
    ("3fff::/20", "reserved for documentation"),
)
_NETWORKS: tuple[tuple[Network, str], ...] = tuple((ip_network(text), why) for text, why in _CLOSED)
_GLOBAL = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
"""The third 32 bits of an address that tunnels to the IPv4 address in the fourth (RFC 5214)."""


@dataclass(frozen=True)
class Allowed:
    """What PERDURE_WEB_ALLOW opens. An entry that is neither a network, an address nor a name opens nothing."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def name(self, host: str) -> bool:
        """Whether this host (lower case, no trailing dot) may be wherever its name says."""
        return host in self.names

    def address(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self.networks)


@lru_cache(maxsize=8)
def allowed(entries: tuple[str, ...]) -> Allowed:
    """The setting, read."""
    names, networks = set(), []
    for entry in entries:
        text = entry.strip().strip("[]").rstrip(".").lower()
        try:
            networks.append(ip_network(text, strict=False))
        except ValueError:
            if text and "/" not in text:
                names.add(text)
    return Allowed(frozenset(names), tuple(networks))


def objection(address: Address, opened: Allowed) -> str | None:
    """Why this address may not be connected to, or None."""
    if opened.address(address):
        return None
    if isinstance(address, IPv6Address):
        return _objection_to_ipv6(address, opened)
    return _listed(address)


def plain(text: str) -> Address:
    """The address as it is connected to: an IPv4 address that is written as an IPv6 one is an IPv4 address.

    Raises ValueError.
    """
    address = ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def objections(addresses: Iterable[Address], opened: Allowed) -> list[tuple[Address, str]]:
    """Those of the addresses that may not be connected to, each with the reason."""
    return [(address, why) for address in addresses if (why := objection(address, opened)) is not None]


def _objection_to_ipv6(address: IPv6Address, opened: Allowed) -> str | None:
    if address.ipv4_mapped is not None:
        return objection(address.ipv4_mapped, opened)
    low = IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _NAT64:  # how IPv6-only networks reach all of IPv4 (RFC 6052)
        return objection(low, opened)
    listed = _listed(address)
    if listed is not None:
        return listed
    if address not in _GLOBAL:
        return "not of the public internet"
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        return objection(low, opened)
    return None


def _listed(address: Address) -> str | None:
    return next((why for network, why in _NETWORKS if address.version == network.version and address in network), None)
