"""What incidents ask of `offerrank retrain` and `recalibrate`: looked for by whoever trains, and never in its way."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from domain.clock import now_ms
from monitoring.incidents.requests import Action, request
from offerrank.training import say
from store.sqlite import FileUnavailable

log = logging.getLogger("offerrank.retraining")


@dataclass(slots=True)
class Asked:
    """Looks for requests on a schedule; each is given once, even where no run could be recorded."""

    log_dir: Path
    releases: Path
    _given: set[int] = field(default_factory=set)
    _trouble: str = ""

    def __call__(self, action: Action) -> bool:
        """Whether an incident asks for it that was not answered; without the file nothing is asked for."""
        try:
            found, trouble = request(self.log_dir, self.releases, action, now_ms()), ""
        except FileUnavailable as e:
            found, trouble = None, str(e)
        if trouble and trouble != self._trouble:
            log.warning("incidents may ask for something, and cannot be read: %s", trouble)
        self._trouble = trouble
        if found is None or found.seq in self._given:
            return False
        self._given.add(found.seq)
        log.info("incident %s asks to %s: %s", found.incident_id, action, found.why)
        return True


def is_asked(log_dir: Path, releases: Path, action: Action) -> bool:
    """Once, as from cron; says by which incident.

    Raises:
      FileUnavailable: incidents or runs cannot be read.
    """
    found = request(log_dir, releases, action, now_ms())
    if found is not None:
        say(f"incident {found.incident_id} asks to {action}: {found.why}")
    return found is not None
