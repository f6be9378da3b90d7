"""faiss and hnswlib on the vectors that the bench `quality` has exported, in one table with the bench's own figures.

    beside.py FOLDER

Reads `base.npy`, `queries.fvecs` and `ours.json`. The truth is faiss's exact search; a vector counts as found if it is as
similar as the tenth of that, so that of equally near ones each is right. Indices are built with all cores, and asked one
query after the other with one thread.
"""

import json
import os
import pathlib
import sys
import time

import faiss
import hnswlib
import numpy

WANTED = 10
EQUAL = 1e-5


def fvecs(file: pathlib.Path) -> numpy.ndarray:
    """Vectors with their dimension before each."""
    words = numpy.fromfile(file, dtype="<i4")
    dimension = int(words[0])
    rows = words.reshape(-1, dimension + 1)
    assert (rows[:, 0] == dimension).all(), "a vector of another dimension"
    return numpy.ascontiguousarray(rows[:, 1:]).view("<f4")


def measure(ask, base: numpy.ndarray, queries: numpy.ndarray, tenth: numpy.ndarray) -> dict:
    """Recall and quantiles of the time of single queries."""
    for query in queries[:50]:
        ask(query)
    times, found = [], 0
    for query, least in zip(queries, tenth):
        begun = time.perf_counter()
        places = ask(query)
        times.append((time.perf_counter() - begun) * 1e3)
        similar = base[places[places >= 0]] @ query
        found += min(WANTED, int((similar >= least - EQUAL).sum()))
    p50, p95 = numpy.quantile(times, [0.5, 0.95])
    return {"recall": found / (WANTED * len(queries)), "p50_ms": p50, "p95_ms": p95}


def of_faiss(index):
    return lambda query: index.search(query[None, :], WANTED)[1][0]


def built(build):
    begun = time.perf_counter()
    index = build()
    return index, time.perf_counter() - begun


def ivf(base: numpy.ndarray, cores: int):
    faiss.omp_set_num_threads(cores)
    lists = max(64, len(base) // 490)
    index = faiss.index_factory(base.shape[1], f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(base[:: max(1, len(base) // (64 * lists))])
    index.add(base)
    return index


def graph(base: numpy.ndarray, cores: int, links: int, effort: int):
    index = hnswlib.Index(space="ip", dim=base.shape[1])
    index.init_index(max_elements=len(base), M=links, ef_construction=effort, random_seed=42)
    index.add_items(base, num_threads=cores)
    index.set_num_threads(1)
    return index


def peers(base: numpy.ndarray, queries: numpy.ndarray, tenth: numpy.ndarray):
    """A row for each engine and setting."""
    cores = len(os.sched_getaffinity(0))
    index, seconds = built(lambda: ivf(base, cores))
    faiss.omp_set_num_threads(1)
    for probed in (16, 32, 64):
        index.nprobe = probed
        name = f"faiss {faiss.__version__} IVF{index.nlist},SQ8, {probed} probes"
        yield {"engine": name, "build_s": seconds} | measure(of_faiss(index), base, queries, tenth)
    del index
    for links, effort in ((16, 100), (32, 200)):
        index, seconds = built(lambda: graph(base, cores, links, effort))
        for ef in (64, 256, 512):
            index.set_ef(ef)
            name = f"hnswlib M{links} efC{effort}, ef {ef}"
            ask = lambda query: index.knn_query(query, k=WANTED)[0][0].astype("i8")
            yield {"engine": name, "build_s": seconds} | measure(ask, base, queries, tenth)
        del index


def show(row: dict) -> None:
    build = "" if row.get("build_s") is None else f"{row['build_s']:.1f}"
    figures = f"{row['recall']:>10.3f} {row['p50_ms']:>9.2f} {row['p95_ms']:>9.2f} {build:>9}"
    print(f"{row['engine']:<44} {figures}", flush=True)


def main(folder: pathlib.Path) -> None:
    base = numpy.load(folder / "base.npy")
    queries = fvecs(folder / "queries.fvecs")
    ours = json.loads((folder / "ours.json").read_text())
    exact = faiss.IndexFlatIP(base.shape[1])
    exact.add(base)
    tenth = exact.search(queries, WANTED)[0][:, -1]
    # What was written is what was read, or the figures would be of other vectors.
    difference = float(numpy.abs(tenth - numpy.array(ours["tenth"], dtype="f4")).max())
    if difference > 1e-4:
        sys.exit(f"beside.py: the tenth nearest differ by {difference}: the export is not what was searched")
    print(f"{base.shape[0]} vectors of {base.shape[1]}, {len(queries)} queries; read back, differing by {difference:.0e}")
    print(f"{'':<44} {'recall@10':>10} {'p50 ms':>9} {'p95 ms':>9} {'build s':>9}")
    for row in ours["engines"]:
        show(row)
    faiss.omp_set_num_threads(1)
    show({"engine": f"faiss {faiss.__version__} Flat, exact"} | measure(of_faiss(exact), base, queries, tenth))
    del exact
    for row in peers(base, queries, tenth):
        show(row)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
