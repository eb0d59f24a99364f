"""`make faults`: a simulated market is broken in twelve ways; who notices, when, and what has it cost till then?"""
