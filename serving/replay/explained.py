"""A logged decision explained: made once more, with what the log says of it beside."""

import asyncio
from dataclasses import asdict
from typing import Any

from serving.gateway.explain import explain
from serving.gateway.record import as_logged
from serving.replay.again import Then, decide_again
from serving.replay.differences import differences
from serving.replay.logged import Logged

SAID = ("decision_id", "time_ms", "policy_id", "release", "catalogue", "asked_by", "explored", "degraded", "invalid", "slots")


def explained(logged: Logged, world: Then) -> dict[str, Any]:
    """Plain dictionaries, in the shape of schema.LoggedExplanation.

    Raises:
      ContractError: the log, the release and the catalogue do not fit each other.
      OfferRankError: something that it was made with is not there any more.
    """
    made = asyncio.run(decide_again(logged, world))
    content = explain(made.decided, as_logged(made.decided, made.view, 1.0), made.view)
    said = {name: logged.said.get(name) for name in SAID}
    apart = [asdict(one) for one in differences(logged, world)]
    return said | content | {"stage_us": logged.said["stage_us"], "differences": apart}
