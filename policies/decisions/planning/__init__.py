"""Plans: how locations are ranked and compared, the search for the best of them, and what is remembered for it."""
