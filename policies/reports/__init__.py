"""What a report of the trade says of figures that are already counted: rates, periods, comparisons, and advice.

Nothing here reads anything; `service.reports` brings the figures.
"""
