"""The fakes that ship, for our tests, the demo and plug-in authors."""
