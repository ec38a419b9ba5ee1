"""The subcommands of `truestock`, one module for each noun. They call the API; `views` prints the answers."""
