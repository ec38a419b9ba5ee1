"""Stock between two locations: dispatched, received, lost."""
