"""The subcommands of `truestock` about rules: check, test, draft, and the rules of a service."""
