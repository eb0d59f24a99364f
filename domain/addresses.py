"""Hosts and ports as text."""

from ipaddress import ip_address


def host_port(host: str, port: int) -> str:
    """`127.0.0.1:8080`, `[::1]:8080`: an IPv6 address has colons of its own, and stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
