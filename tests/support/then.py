"""A gateway on ports in memory, as the world of then: what a replay loads from files and databases, still as it was."""

from dataclasses import dataclass
from typing import Any

import orjson

from features.log_entry import DEFLATED, decision_json, deflated
from serving.replay.logged import Logged
from serving.replay.world import LoadedModel


@dataclass
class Then:
    """A world that is still as it was."""

    gateway: Any
    away: tuple[str, ...] = ()

    def view(self, logged: Logged) -> Any:
        return self.gateway.view

    def release(self, logged: Logged) -> Any:
        assert logged.moment.release == self.gateway.service.ports.releases.active().version
        return self.gateway.service.ports.releases.active()

    def model(self, logged: Logged) -> Any:
        return LoadedModel(type("Loaded", (), {"predict": staticmethod(self.gateway.model.outputs)})(), self.away)


def of_stream(decision: Any) -> dict[str, Any]:
    return orjson.loads(decision_json({DEFLATED: deflated(decision)}))
