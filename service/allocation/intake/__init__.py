"""Orders as they arrive: what their lines name, what a request changes, and which of two messages counts."""
