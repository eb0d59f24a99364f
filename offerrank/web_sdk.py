"""`offerrank sdk`: the web SDK for shops that serve it themselves."""

from pathlib import Path

import sdk
from domain.errors import OfferRankError


def deliver(to: Path | None) -> str:
    """The script tag, with what a browser checks the script by; writes the files into a folder if one is given.

    Raises:
      OfferRankError: the folder cannot be written.
    """
    if to is not None:
        try:
            to.mkdir(parents=True, exist_ok=True)
            for file in (sdk.SCRIPT, sdk.TYPES):
                (to / file.name).write_bytes(file.read_bytes())
        except OSError as e:
            raise OfferRankError(f"--to {to}: cannot be written: {e.strerror}") from None
    integrity = sdk.integrity(sdk.SCRIPT.read_bytes())
    where, gateway = ("offerrank.js", ' data-gateway="GATEWAY"') if to else ("GATEWAY/sdk/offerrank.js", "")
    return f'<script async src="{where}" integrity="{integrity}" crossorigin="anonymous" data-key="KEY"{gateway}></script>'
