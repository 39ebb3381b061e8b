"""What the system calls of TCP sockets do, case by case, as JSON: {"case": result}.

The tests run it in an ordinary network namespace and in endpoints, and compare: a program must see no difference.
Results therefore contain errno names, bytes and flags, and no address or port that the kernel chose.

python3 semantics ADDRESS    ADDRESS is one of this namespace's own, other than loopback
"""

import json
import sys

# Importing a module registers its cases.
import binding  # noqa: F401
import connecting  # noqa: F401
import data  # noqa: F401
import descriptors  # noqa: F401
import ports  # noqa: F401
import rights  # noqa: F401
import states  # noqa: F401
from harness import CASES, OWN

results = {}
for name, function in CASES.items():
    # Where it stands, should it be stopped.
    print(name, file=sys.stderr, flush=True)
    try:
        results[name] = function()
    except Exception as error:
        results[name] = f"{type(error).__name__}: {error}".replace(OWN, "OWN")
print(json.dumps(results))
