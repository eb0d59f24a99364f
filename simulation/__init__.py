"""A market that reacts: shoppers with tastes of their own, whose true click and conversion probabilities are known."""
