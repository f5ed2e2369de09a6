"""A model over a whole data set: read, run, written in shards, and gone on with after a crash; here or on a cluster.

`job` is the way through: a source of rows (`sources`), the work on a chunk of them (`work`), an engine that has it done
(`local`, `ray_`), and the folder that the records go to (`output`, `records`).
"""

from modelscope_ext.batch.job import Report, run_batch

__all__ = ["Report", "run_batch"]
