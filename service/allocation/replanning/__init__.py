"""Units that are planned again: rejected or lost ones, backorders, shortages, and those that are no longer ordered."""
