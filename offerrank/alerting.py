"""`offerrank alert test`: whether alerts arrive."""

import asyncio
from pathlib import Path

import typer

from domain.clock import now_ms
from domain.errors import OfferRankError
from domain.refusals import read_settings
from features.market import load_market
from monitoring.incidents.alerts import AlertSettings, try_receivers


def test(market_path: Path) -> int:
    """Prints a line for each receiver; 1 if one did not take it, else 0.

    Raises:
      OfferRankError: none is set, or the settings are wrong.
    """
    market, settings = load_market(market_path), read_settings(AlertSettings)
    tried = asyncio.run(try_receivers(settings, market.name, market.currency, now_ms()))
    if not tried:
        raise OfferRankError("nobody is told of incidents: expected a receiver, such as OFFERRANK_ALERT_WEBHOOK_URL, got none")
    for name, error in tried:
        typer.echo(f"{name}: {f'not accepted, {error}' if error else 'accepted'}")
    return int(any(error for _, error in tried))
