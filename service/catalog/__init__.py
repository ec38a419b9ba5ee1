"""Locations, products, channels and working hours, cached by catalog version.

Declared feeds are checked and interpreted in `feeds`.
"""
