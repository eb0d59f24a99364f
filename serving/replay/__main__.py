"""`python -m serving.replay ID`: prints one decision explained, as JSON; finds things where a gateway's environment says."""

import os
import sys
from pathlib import Path

import orjson

from domain.errors import NoSuchDecision, OfferRankError
from serving.replay import GONE, UNKNOWN
from serving.replay.explained import explained
from serving.replay.find import find
from serving.replay.world import Sources, World


def main(decision_id: str) -> int:
    """0, or `UNKNOWN` or `GONE` with a line on standard error."""
    given = {
        name: os.environ.get(f"OFFERRANK_{name.upper()}") for name in ("log_dir", "releases", "catalogue", "market", "redis_url")
    }
    market = Path(given["market"]) if given["market"] else None
    sources = Sources(Path(given["log_dir"] or "."), Path(given["releases"] or "."), given["catalogue"], market)
    try:
        told = explained(find(decision_id, sources, given["redis_url"] or ""), World(sources))
    except OfferRankError as e:
        print(e, file=sys.stderr)
        return UNKNOWN if isinstance(e, NoSuchDecision) else GONE
    sys.stdout.buffer.write(orjson.dumps(told))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
