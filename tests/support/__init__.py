"""Shared by the tests: real servers in temporary directories, and a client with deadlines."""
