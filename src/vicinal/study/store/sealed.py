"""The sealed file: every record of a study in one Parquet file, as columns and as its original text.

Besides the columns of `vicinal.study.store.columns` a row has `file`, the name below `records/` that the record had, and
`record`, its text byte for byte. Pages carry checksums, so a flipped bit is found and not believed.
"""

from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vicinal.study.record import SCHEMA, Record
from vicinal.study.store.columns import table_of
from vicinal.study.store.names import is_name

__all__ = ["Sealed", "rows_of", "write_sealed"]

_ROWS = 10_000
"""Rows that are in memory at once where texts are read."""


class Sealed:
    """One sealed file, held open: what it says stays the same while another process seals anew.

    Args:
        path: the Parquet file.

    Raises:
        pyarrow.ArrowException, OSError: from any method, where the file is not whole.
    """

    def __init__(self, path: Path):
        self._file = pq.ParquetFile(path, page_checksum_verification=True)

    @cached_property
    def rows(self) -> dict[str, int]:
        """From a record's file name to its row."""
        files = self._file.read(["file"])["file"].to_pylist()
        if strangers := [file for file in files if not is_name(file)]:  # `unseal` writes files of these names
            raise pa.ArrowInvalid(f"a row is of the file {strangers[0]!r}")
        return {file: row for row, file in enumerate(files)}

    @cached_property
    def _texts(self) -> pa.ChunkedArray:
        return self._file.read(["record"])["record"]

    def text(self, file: str) -> bytes:
        """Return a record's text."""
        return str(self._texts[self.rows[file]]).encode()

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Yield every record's file name and text."""
        for batch in self._file.iter_batches(_ROWS, columns=["file", "record"]):
            for file, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield file, text.encode()

    def columns(self, files: Collection[str]) -> tuple[pa.Table, list[str]]:
        """Return the named records' columns, and the names of those whose columns another schema wrote."""
        table = self._file.read([name for name in self._file.schema_arrow.names if name != "record"])
        if len(files) < len(table):
            table = table.filter(pc.is_in(table["file"], pa.array(files, pa.string())))
        present = pc.equal(table["schema"], SCHEMA)
        other = table.filter(pc.invert(present))["file"].to_pylist()
        return (table.filter(present) if other else table).drop_columns("file"), other

    def table(self) -> pa.Table:
        """Return everything."""
        return self._file.read()


def rows_of(items: Collection[tuple[str, bytes, Record]]) -> pa.Table:
    """Return the rows of a sealed file for file names, texts and records."""
    table = table_of([record for _, _, record in items])
    table = table.append_column("file", pa.array([file for file, _, _ in items], pa.string()))
    return table.append_column("record", pa.array([text.decode() for _, text, _ in items], pa.string()))


def write_sealed(path: Path, table: pa.Table) -> None:
    """Write the rows and read them back.

    Raises:
        OSError: what the disk refuses, or texts that did not come back as they went.
    """
    pq.write_table(table, path, compression="zstd", write_page_checksum=True, row_group_size=_ROWS)
    start = 0
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(_ROWS, columns=["file", "record"]):
            written = table.select(["file", "record"]).slice(start, len(batch))
            if not pa.Table.from_batches([batch]).equals(written):
                raise OSError(f"{path} reads back otherwise than it was written")
            start += len(batch)
    if start != len(table):
        raise OSError(f"{path} has {start} of {len(table)} rows")
