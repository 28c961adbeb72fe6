"""What the tests share: real servers in temporary directories, and a client with deadlines."""
