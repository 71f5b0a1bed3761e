"""`python -m rapgen`: what `rapgen` is, for launchers that take a module."""

from rapgen.cli import main

if __name__ == "__main__":
    main()
