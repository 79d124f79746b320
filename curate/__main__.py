"""The command `curate`, also as `python -m curate`."""

from curate.system.start import run


def main() -> None:
    """Run the command line."""
    run("curate.cli")


if __name__ == "__main__":
    main()
