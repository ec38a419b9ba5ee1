"""Unmet demand: what shoppers wanted and did not get, as orders, questions, tills and channels show it.

Only recorded and listed here. What a sold order lacks is an oversell or another shortage, and is in `orders`.
"""
