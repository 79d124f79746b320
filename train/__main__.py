"""The command `train`, also as `python -m train`."""

from curate.system.start import run


def main() -> None:
    """Run the command line."""
    run("train.cli")


if __name__ == "__main__":
    main()
