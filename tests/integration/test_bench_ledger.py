"""The benchmark of the ledger runs: everything it archived is posted, remembered and open again."""

from benchmarks.ledger import measure


def test_the_benchmark_of_the_ledger_repairs_what_it_destroys() -> None:
    found = measure(n_campaigns=20, n_clicks=600, parts_a_day=4)
    # Of the impressions, those of the last hour still matter: one in 144 of 600.
    assert 600 <= found["repair of an empty Redis: events remembered"] <= 610
    assert found["repair of an empty Redis: budgets opened"] >= 20 * 7
    assert min(found.values()) > 0
