"""`python -m lifelong.cli`: the same as the command `lifelong`."""

from lifelong.cli.main import main

if __name__ == "__main__":
    main()
