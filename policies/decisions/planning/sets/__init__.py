"""The search for the best set of locations: all sets of one size at once where possible, else in rank order."""
