"""Non-private limit in Spark SQL, local[2]."""

import os
import tempfile


def session(mem="8g"):
    import sys

    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    b = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", mem)
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "8")
        .config("spark.default.parallelism", "8")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.warehouse.dir", f"{tempfile.gettempdir()}/peers_spark")
    )
    s = b.getOrCreate()
    s.sparkContext.setLogLevel("ERROR")
    return s


def supports(w):
    return None


def open(w):
    s = session()
    for alias, path in w.files:
        s.read.parquet(path).createOrReplaceTempView("t_" + alias)
    return s


def answer(w, s):
    sql = w.truth.replace("::int", "")
    for alias, path in w.files:
        sql = sql.replace(f"'{path}'", "t_" + alias)
    keys = ", ".join(str(i + 1) for i in range(len(w.groups)))
    sql = sql.replace("group by all", f"group by {keys}")
    return [tuple(r) for r in s.sql(sql).collect()]


def close(s):
    s.stop()
