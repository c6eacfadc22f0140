"""Ways in which a test brings the tiny log in, damages it, or judges labels."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.data.load import load_dataset
from model.sources import parquet


def brought_in(tiny, tmp_path):
    """The tiny log after `data parquet`, loaded."""
    parquet.write(tiny.save(tmp_path / "log"), tmp_path / "out")
    return load_dataset(tmp_path / "out")


def as_spark(table, folder, parts):
    """A folder as Spark writes it."""
    folder.mkdir(parents=True)
    size = -(-len(table) // parts)
    for part in range(parts):
        name = f"part-{part:05d}-1f0c.c000.snappy.parquet"
        pq.write_table(table.slice(part * size, size), folder / name)
        (folder / f".{name}.crc").write_bytes(b"crc")
    (folder / "_SUCCESS").touch()


def latin_1(values):
    """A string array of bytes that need not be UTF-8."""
    raw = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(raw), raw.buffers(), raw.null_count)


def damage(path, column):
    """Overwrites the pages of a column and leaves the footer as it is."""
    chunk = pq.read_metadata(path).row_group(0)
    chunk = next(chunk.column(at) for at in range(chunk.num_columns) if chunk.column(at).path_in_schema == column)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content = bytearray(path.read_bytes())
    content[start:start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(content)


def assert_calibrated(probabilities, labels):
    """Counts of labels within 4.5 standard deviations of the planted expectation, in ten bins of equal size."""
    for part in np.array_split(np.argsort(probabilities), 10):
        p = probabilities[part]
        assert abs(labels[part].sum() - p.sum()) < 4.5 * np.sqrt((p * (1 - p)).sum()) + 1
