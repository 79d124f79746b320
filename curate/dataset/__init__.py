"""The row, the manifest of rows, the store of bytes, where tables run, the folder of all."""
