"""The scripts of book/tools as modules."""

import importlib.util
import sys
from pathlib import Path

TOOLS = Path(__file__).parents[1] / "book" / "tools"


def tool(name: str):
    """A script of book/tools, which may import its neighbours."""
    if str(TOOLS) not in sys.path:
        sys.path.append(str(TOOLS))
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
