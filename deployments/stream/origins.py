"""Hosts and origins as HTTP headers write them: parsing and normalising."""

import re
from ipaddress import ip_address

DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an ``Origin`` header; None if it names no site (such as ``null``)."""
    scheme, separator, rest = text.partition("://")
    default_port = DEFAULT_PORTS.get(scheme.lower())
    if not separator or default_port is None or (authority := parse_authority(rest, default_port)) is None:
        return None
    return scheme.lower(), *authority


def parse_authority(text: str, default_port: int) -> tuple[str, int] | None:
    """Host and port of a ``Host`` header, or of an origin after its scheme; None if it is neither.

    Names come in lower case and without a final dot, addresses in their shortest form, IPv6 without brackets.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{0,5}))?", text, re.ASCII)
    if match is None:
        return None
    literal, name, port = match.groups()
    number = int(port) if port else default_port
    if number > 65535 or (literal and not is_address(literal)):
        return None
    host = host_name(literal or name)
    return (host, number) if host else None


def host_name(host: str) -> str:
    """A name in lower case without a final dot, an address in its shortest form."""
    return str(ip_address(host)) if is_address(host) else host.lower().removesuffix(".")


def is_address(host: str) -> bool:
    """Whether it is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
