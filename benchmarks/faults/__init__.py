"""`make faults`: a simulated market is broken in twelve ways, and it is measured who notices, when, and what it cost till then."""
