"""What workers and checks import. The fork server loads it once, and each of them starts as a copy of that process.

Importing it takes a second, and the memory is shared. Nothing here may start a thread, which no copy would have.
"""

import gc

import uvicorn.lifespan.on
import uvicorn.loops.auto  # noqa: F401

import service.http.app
import service.http.server  # noqa: F401

gc.freeze()  # or the first collection of each copy would write to all of it
