"""What a program needs of its machine: files, processes, progress, a terminal."""
