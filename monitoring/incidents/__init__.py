"""Incidents: what was found, joined by cause, ranked by money, told, taken care of, and kept with its history."""

from monitoring.incidents.database import INCIDENTS, incidents_path
from monitoring.incidents.incident import Change, Found, Incident, State, Stream
from monitoring.incidents.keeper import Keeper
from monitoring.incidents.service_levels import Objectives
from monitoring.incidents.store import Habits, IncidentStore, NoSuchIncident

__all__ = [
    "INCIDENTS",
    "Change",
    "Found",
    "Habits",
    "Incident",
    "IncidentStore",
    "Keeper",
    "NoSuchIncident",
    "Objectives",
    "State",
    "Stream",
    "incidents_path",
]
