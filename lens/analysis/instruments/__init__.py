"""Instruments: one number per head, everything that is said of it, and how it is measured. One file, one instrument.

``registry`` lists them and imports no torch. ``measure`` measures any of them, those of patterns in one pass.
"""
