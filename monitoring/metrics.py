"""Every Prometheus metric OfferRank exports. docs/metrics.md describes each; a test holds the two together.

A replica counts for itself and is scraped by itself: sums and quantiles over replicas are the query's business. No label takes
its values from a request.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.035, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0)

DECISIONS = Counter("offerrank_decisions", "Answered decision requests, by outcome: filled, partial, empty.", ["outcome"])
DECISION_SECONDS = Histogram("offerrank_decision_seconds", "Time to decide, without HTTP.", buckets=SECONDS)
STAGE_SECONDS = Histogram("offerrank_stage_seconds", "Time of one stage of a decision.", ["stage"], buckets=SECONDS)
DEGRADED = Counter("offerrank_degraded", "Decisions in which a fallback answered, by what failed.", ["what"])
CANDIDATES = Counter("offerrank_candidates", "Candidates by their fate.", ["reason"])
EXPLORED = Counter("offerrank_explored", "Decisions whose page was drawn at random.")
RESPONSES = Counter("offerrank_http_responses", "Answers by route and status.", ["route", "status"])

SHED = Counter("offerrank_shed", "Requests and connections turned away before any work on them, by reason.", ["reason"])
REFUSED = Counter("offerrank_refused", "Requests and events refused for who asked, by what was wrong.", ["what"])
KEYS_UNREADABLE = Gauge("offerrank_keys_unreadable", "1 while the keys file cannot be used and the keys stay as they were.")

EVENTS = Counter("offerrank_events", "Events that reached the ledger, by type and what became of them.", ["type", "status"])
EVENTS_REFUSED = Counter("offerrank_events_refused", "Events that were not accepted, by field.", ["field"])
INVALID = Counter("offerrank_invalid_traffic", "Events and decisions that were marked as no shopper's.", ["what", "reason"])
CHARGED_MICROS = Counter("offerrank_charged_micros", "Money charged by accepted events, in micros.")

OUTBOX_WAITING = Gauge("offerrank_outbox_waiting", "Records not yet written to Redis, by what they are.", ["what"])
JOURNAL_FAILURES = Counter(
    "offerrank_journal_failures", "Events that wait in memory alone, since the journal could not be written."
)
DROPPED = Counter("offerrank_dropped", "Records lost while Redis or the archiver was away for too long, by kind.", ["what"])

REDIS_UP = Gauge("offerrank_redis_up", "1 while budgets can be read, else 0.")
REDIS_WRITABLE = Gauge("offerrank_redis_writable", "1 while Redis takes writes, else 0.")
MARKET_DIFFERS = Gauge("offerrank_market_differs", "1 while the pacer has another market file than this gateway, else 0.")
CLOCK_OFFSET_SECONDS = Gauge("offerrank_clock_offset_seconds", "How far this machine's clock is ahead of that of Redis.")
CATALOGUE_VERSION = Gauge("offerrank_catalogue_version", "Version of the catalogue that is sold; 0 for the market file's.")
CATALOGUE_AWAY = Gauge("offerrank_catalogue_away", "1 while the catalogue cannot be followed and the last one is sold, else 0.")
RELEASE_VERSION = Gauge("offerrank_release_version", "Version of the release that ranks; 0 before the first.")
RELEASES_REJECTED = Counter("offerrank_releases_rejected", "Releases refused as corrupt or incompatible.")
CONTRACT_ERRORS = Counter("offerrank_contract_errors", "Answers of the model server that made no sense.")
TRAININGS_WITHOUT_RELEASE = Gauge(
    "offerrank_trainings_without_release", "Trainings since the last one that brought a release.", ["training", "outcome"]
)

PAGE = CollectorRegistry()
"""What the page's process exports, which has one instance: figures of the market and not of a replica."""
LEDGER_DIFFERENCES = Gauge("offerrank_ledger_differences", "Accounts on which log and Redis differ, or refuse.", registry=PAGE)
LEDGER_AGE_SECONDS = Gauge("offerrank_ledger_age_seconds", "Since the books were last held against Redis.", registry=PAGE)
BUDGETS_OPEN = Gauge("offerrank_budgets_open", "Campaigns whose budget of today is open.", registry=PAGE)
BUDGETS_CLOSED = Gauge("offerrank_budgets_closed", "Campaigns that cannot sell as their budget is not open.", registry=PAGE)
REDIS_MEMORY_BYTES = Gauge("offerrank_redis_memory_bytes", "Memory that Redis uses.", registry=PAGE)
REDIS_MEMORY_LIMIT_BYTES = Gauge("offerrank_redis_memory_limit_bytes", "Its maxmemory; 0 for none.", registry=PAGE)
STREAM_BYTES = Gauge(
    "offerrank_stream_bytes", "Memory that the streams of a log take, as Redis estimates.", ["log"], registry=PAGE
)
ARCHIVER_LAG_SECONDS = Gauge("offerrank_archiver_lag_seconds", "Age of the oldest entry that is in no file yet.", registry=PAGE)
ARCHIVER_AGE_SECONDS = Gauge("offerrank_archiver_age_seconds", "Since the archiver last wrote everything.", registry=PAGE)
ARCHIVER_REJECTED = Gauge("offerrank_archiver_rejected", "Malformed entries in the archive's rejected/.", registry=PAGE)
INCIDENTS_OPEN = Gauge("offerrank_incidents_open", "Incidents that are neither closed nor silenced.", ["kind"], registry=PAGE)
INCIDENTS_COST = Gauge("offerrank_incidents_cost_micros_per_day", "What these cost a day, in micros.", ["kind"], registry=PAGE)
WATCH_AGE_SECONDS = Gauge("offerrank_watch_age_seconds", "Since the watch last looked at an hour.", registry=PAGE)
ALERTS_WAITING_SECONDS = Gauge("offerrank_alerts_waiting_seconds", "Age of the oldest alert that was not taken.", registry=PAGE)
