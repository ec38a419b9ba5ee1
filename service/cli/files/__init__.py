"""CSV files that the command line reads: imports of catalog and stock, and order exports that it replays."""
