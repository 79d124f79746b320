"""What a program needs of its machine: files, processes for untrusted bytes, a terminal."""
