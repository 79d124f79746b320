"""What is said about training on an image: headers, robots.txt and its kin, the image's bytes."""
