"""What scripts/bench runs: dcmirror's engine beside curl, on one server, in one run."""
