"""A second, slow reading of the events and KPIs, to hold the core to.

It keeps every event, computes everything anew for every question and shares nothing with the
product: no code, no data structure, no arithmetic (fractions here, integers and floats there).
Where it and the core differ, one of them is wrong.
"""
