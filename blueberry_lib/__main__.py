import sys

from blueberry_lib.cli import main

sys.exit(main())
