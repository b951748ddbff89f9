"""Sorts the rows of standard input with DuckDB and writes them to sorted.csv in its directory.

Arguments: directory, memory limit in bytes, columns, key columns (comma-separated). Times go to
standard error as "load SECONDS" and "sort SECONDS". 75 says that there is no module `duckdb`.
"""

import sys
import time

try:
    import duckdb
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(75)

directory, limit, columns, keys = sys.argv[1:5]
names = columns.split(",")
connection = duckdb.connect(f"{directory}/rows.duckdb")
# As its guide to limited memory advises: a limit, a directory to spill to, and that rows without
# an order of their own need not keep one.
connection.execute(f"SET memory_limit = '{int(limit)}B'")
connection.execute(f"SET temp_directory = '{directory}/spill'")
connection.execute("SET preserve_insertion_order = false")

begun = time.monotonic()
types = ", ".join(f"'{name}': 'UBIGINT'" for name in names)
connection.execute(
    "CREATE TABLE rows AS SELECT * FROM "
    f"read_csv('/dev/stdin', header = false, buffer_size = 1000000, columns = {{{types}}})"
)
connection.execute("CHECKPOINT")
print("load", time.monotonic() - begun, file=sys.stderr)

begun = time.monotonic()
# What is sorted is to stay so.
connection.execute("SET preserve_insertion_order = true")
connection.execute(f"CREATE TABLE sorted AS SELECT * FROM rows ORDER BY {keys}")
connection.execute("CHECKPOINT")
print("sort", time.monotonic() - begun, file=sys.stderr)

# To a file: it is written in pieces, in whichever order.
connection.execute(f"COPY sorted TO '{directory}/sorted.csv' (FORMAT csv, HEADER false)")
