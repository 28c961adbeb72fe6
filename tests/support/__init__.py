"""What the tests share: real servers in temporary directories and a raw client that has deadlines."""
