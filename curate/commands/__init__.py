"""What joins rooms: one module a command that needs several of them."""
