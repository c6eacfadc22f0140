"""A process that appends pairs of changes and prints a line for each append once it is acknowledged.

Arguments: place and index of the log, name of the writer, number of appends (0 for no end).
"""

import itertools
import sys

from index_store.changes.change_log import ChangeLogError, Kind, Write
from index_store.changes.open_log import open_log


def pair(name, number):
    """The writes of an append: one to an ad of the writer, with a key, and one to the ad that all share."""
    return [Write(kind=Kind.AD, id=f"{name}-{number % 5}", fields={"number": number}, key=f"{name}-{number}"),
            Write(kind=Kind.AD, id="shared", fields={name: number})]


def main():
    place, index, name, appends = sys.argv[1:]
    log = open_log(place, index)
    try:
        for number in range(int(appends)) if int(appends) else itertools.count():
            print(number, *(change.sequence for change in log.append(pair(name, number))), flush=True)
    except ChangeLogError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
