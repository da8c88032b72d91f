"""Alert rules rehearsed over recorded events: what they would have done, and what others would.

``Recording`` keeps the samples of one read, ``rerun`` takes a rule through them by the pure
``step``, ``judge`` holds its alerts against marked incidents, ``sweep`` does so for other
thresholds.
"""
