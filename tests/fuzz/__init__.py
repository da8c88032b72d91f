"""Random streams through the core, in every way that it is run, and through the reference.

``make fuzz`` looks at as many events as it is told; the tests look at some. A scenario follows from
its seed alone, and one that shows a difference is made small before it is told.
"""
