"""The one table of facts that rules may ask about, with their types, units and periods."""
