"""The nouns of the market: money, requests, campaigns, candidates, outcomes, events, errors. Depends on nothing of ours."""
