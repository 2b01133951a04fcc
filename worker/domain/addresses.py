"""Which network addresses are public; pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# RFC 6052: an IPv4 address behind a translator; the last 32 bits are that address.
_TRANSLATED = ip_network("64:ff9b::/96")
_IPV4_BITS = 0xFFFF_FFFF


def is_public(address: str) -> bool:
    """Return whether `address` (from `getaddrinfo`) is a public internet address.

    Loopback, private, link-local, shared, reserved and multicast addresses are not, nor is an IPv6
    address that embeds one of these.
    """
    return all(_is_public(each) for each in _effective(ip_address(address)))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _effective(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The addresses that a connection may reach, including an embedded IPv4 address."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address.sixtofour:
        return [address, address.sixtofour]
    if address in _TRANSLATED:
        return [IPv4Address(int(address) & _IPV4_BITS)]
    return [address]
