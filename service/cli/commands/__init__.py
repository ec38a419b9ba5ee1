"""The subcommands of `truestock`, one module for each noun. They call the API and leave printing to `views`."""
