import sys

from blueberry_lib.cli import main

if __name__ == "__main__":
    sys.exit(main())
