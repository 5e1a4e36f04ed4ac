"""Real servers for the tests: each launcher starts one and hands out its address."""
