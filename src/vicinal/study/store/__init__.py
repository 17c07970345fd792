"""A study's store: a folder of immutable records that can be copied, merged, sealed and read without vicinal.

    FOLDER/study.json                                  the manifest
    FOLDER/records/<dataset>/<method>.<key>.json       one record (failures: <method>.<key>.failed-<n>.json)
    FOLDER/records.parquet                             the sealed records, a row each
    FOLDER/conflicts, FOLDER/torn                      what wants a person's eye; never deleted

Without vicinal, loose records in DuckDB and sealed ones in pandas:

    duckdb.sql("select dataset, method, list_avg(accuracy) from 'FOLDER/records/*/*.json'")
    pd.read_parquet("FOLDER/records.parquet")
"""

from vicinal.study.store.disk import Problem
from vicinal.study.store.folder import MergeReport, Store, read_records
from vicinal.study.store.names import Entry

__all__ = ["Entry", "MergeReport", "Problem", "Store", "read_records"]
