"""The command `curate`, also as `python -m curate`."""

import gc

from curate.system.start import run

OBJECTS = 50_000  # made between two searches for circles of garbage; modules and tables make many
# at once that stay, and Python's own 700 cost a short command a twentieth of its time


def main() -> None:
    """Run the command line."""
    gc.set_threshold(OBJECTS)
    run("curate.cli")


if __name__ == "__main__":
    main()
