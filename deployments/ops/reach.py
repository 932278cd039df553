"""Who can reach a server that ``make run`` starts: what HOST, HOSTS and ORIGINS come to in its config, and what to warn of."""

from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from deployments.config import ANY_BELOW
from deployments.stream.origins import parse_authority, parse_origin


def allow(application: dict[str, Any], host: str, hosts: str | None, origins: str | None) -> None:
    """Put into an application's ``args`` what the variables say.

    Args:
        application: Of a serve config; changed.
        host: The address or name that it listens on: a name becomes one that it answers to, where the config lists these.
        hosts: HOSTS: names separated by commas, ``*.example.com`` or ``*`` among them. With them the config's ``*`` no longer
            holds: it then answers to these only.
        origins: ORIGINS: sites separated by commas, or ``*``.

    Raises:
        ValueError: A name or a site is none; the sentence names the variable.
    """
    args = application.get("args") or {}
    access = args.get("access") or {}
    listed = access.get("hosts", "*")
    known = listed if isinstance(listed, list) else []
    if hosts:
        access["hosts"] = "*" if hosts.strip() == "*" else [*known, *_names(hosts)]
    if isinstance(access.get("hosts"), list) and ":" not in host:
        access["hosts"] = [*access["hosts"], host]
    if origins:
        sites = access.get("origins")
        access["origins"] = "*" if origins.strip() == "*" else [*(sites if isinstance(sites, list) else []), *_sites(origins)]
    if hosts or origins:
        application["args"] = {**args, "access": access}


def warning(host: str, hosts: str | None, token: str | None) -> str | None:
    """One line if people beyond this machine can use the server and nothing keeps them from it."""
    if token or (not hosts and (host == "localhost" or _is_loopback(host))):
        return None
    who = f"HOSTS={hosts}: anyone who knows that address" if hosts else f"HOST={host}: anyone who reaches this machine"
    variables = f"HOSTS={hosts} " if hosts else ""
    return (
        f"{who} can use the server; to let in only those who know a token: "
        f"{variables}SPLATCAST_TOKEN=$(openssl rand -hex 32) make run"
    )


def _names(text: str) -> list[str]:
    names = []
    for given in _parts(text):
        # People paste the address that a tunnel prints.
        name = (urlsplit(given).netloc if "://" in given else given).rstrip("/")
        parsed = parse_authority(name.removeprefix(ANY_BELOW), 0)
        if parsed is None:
            raise ValueError(f"HOSTS: expected names such as cam.example, *.cam.example or '*', separated by commas, got {given!r}")
        names.append((ANY_BELOW if name.startswith(ANY_BELOW) else "") + parsed[0])
    return names


def _sites(text: str) -> list[str]:
    sites = [given.rstrip("/") for given in _parts(text)]
    for site in sites:
        if parse_origin(site) is None:
            raise ValueError(f"ORIGINS: expected sites such as https://cam.example, separated by commas, or '*', got {site!r}")
    return sites


def _parts(text: str) -> list[str]:
    return [part for each in text.split(",") if (part := each.strip())]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
