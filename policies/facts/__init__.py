"""The table of facts that rules may use, with their types and units, how they are measured, and facts about time."""
