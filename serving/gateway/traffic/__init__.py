"""Tells shoppers from robots and floods; docs/traffic.md says how, and what becomes of what is marked."""

from serving.gateway.traffic.client import Client
from serving.gateway.traffic.screen import Screen

__all__ = ["Client", "Screen"]
