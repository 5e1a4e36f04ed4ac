"""One file per subcommand: a function of frozen options."""
