"""A decision by its id, wherever it is by now."""

from redis.exceptions import RedisError

from domain.errors import NoSuchDecision, OfferRankError
from domain.keys import Keys
from features.market import load_market
from serving.replay.logged import Logged, in_archive, in_stream
from serving.replay.world import Sources
from store import connect

TIMEOUT_S = 10.0


def find(decision_id: str, sources: Sources, redis_url: str) -> Logged:
    """From the archive, or, where the market file is known, the end of the stream that is not archived yet.

    Raises:
      NoSuchDecision: it is nowhere.
      ContractError: it was logged before replays were.
    """
    said, away = in_archive(sources.log_dir, decision_id), ""
    if said is None and sources.market is not None:
        try:
            stream = Keys(load_market(sources.market, listed=False).name).decisions
            with connect(redis_url, TIMEOUT_S) as client:
                said = in_stream(client, stream, decision_id)
        except (RedisError, OfferRankError) as e:
            away = f", and what is not archived yet cannot be looked through: {e}"
    if said is None:
        raise NoSuchDecision(f"{decision_id}: no such decision in {sources.log_dir}{away}")
    return Logged.of(said)
