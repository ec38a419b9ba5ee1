"""The subcommands of `truestock` about the catalog, and those that import and export its CSV files."""
