"""Labels that the release in service does not believe: `models.instrument`, task by task."""

from collections.abc import Mapping, Sequence

from features.market import Market
from features.training_spec import Gate
from models.instrument import Bounds, Reading, readings
from models.release import LeftOut, calibrated_column
from pipelines.calibration import Columns, counting


def doubts(market: Market, columns: Columns) -> dict[str, list[Reading]]:
    """Task -> what the release in service says of its labels, over time; of labels that may yet change it says nothing."""
    found = {}
    for t in market.tasks:
        counts = counting(t, columns)
        if (matured := f"{t.label}_matured") in columns:
            counts &= columns[matured] == 1
        gate, p = market.training.gates.get(t.name, Gate()), columns[calibrated_column(t.name)][counts]
        bounds = Bounds(gate.labels_min_pcoc, gate.labels_max_pcoc)
        found[t.name] = readings(columns["time_ms"][counts], columns[t.label][counts], p, bounds)
    return found


def doubted_labels(market: Market, doubted: Mapping[str, Sequence[Reading]]) -> tuple[LeftOut, ...]:
    """The labels of doubted times, and those that are given them."""
    found = []
    for t in market.tasks:
        labels = [t.label]
        while (more := [o.label for o in market.tasks if o.given in labels and o.label not in labels]) != []:
            labels += more
        for reading in doubted.get(t.name, ()):
            why = f"{t.name}: {reading}"
            found += [LeftOut(label=one, from_ms=reading.from_ms, until_ms=reading.until_ms, why=why) for one in labels]
    return tuple(found)
