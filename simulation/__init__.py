"""A simulated market whose truth is known: shoppers, advertisers, clicks and conversions."""
