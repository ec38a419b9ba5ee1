"""What one transaction reads for its orders before anything is locked, and how each order is decided."""
