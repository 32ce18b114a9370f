"""Views, copies and rows: the same elements elsewhere."""

from cama.ggml import _abi
from cama.ggml.graph import Graph
from cama.ggml.library import ggml
from cama.ggml.ops.checks import can_repeat, check, graph_of, n_elements
from cama.ggml.tensor import Tensor, padded


def get_rows(table: Tensor, rows: Tensor) -> Tensor:
    """The rows of ``table`` [n, n_rows, ...] that ``rows`` (int32 [k, ...]) names -> [n, k, ...].

    Dimensions of ``table`` after the second are those of ``rows`` after the first. The result is
    float32.
    """
    fits = rows.type == _abi.GGML_TYPE_I32 and table.shape[2:] == rows.shape[1:3]
    check(fits and rows.shape[3] == 1, "get_rows", table, rows)
    graph = graph_of(rows, table)
    node = ggml().ggml_get_rows(graph.context.address, table.address, rows.address)
    return graph.result(node, _abi.GGML_TYPE_F32, (table.shape[0], *rows.shape[:3]))


def set_rows(target: Tensor, source: Tensor, rows: Tensor) -> Tensor:
    """Write ``source`` [n, k, ...] into the rows of ``target`` that ``rows`` [k, ...] names.

    ``rows`` is int64, or int32 for rows that the graph has chosen.
    """
    fits = target.shape[0] == source.shape[0] and source.shape[1] == rows.shape[0]
    fits = fits and target.shape[2:] == source.shape[2:]
    kinds = (_abi.GGML_TYPE_I64, _abi.GGML_TYPE_I32)
    check(fits and rows.type in kinds, "set_rows", target, source)
    graph = graph_of(source, rows)
    lib = ggml()
    node = lib.ggml_set_rows(graph.context.address, target.address, source.address, rows.address)
    return graph.result(node, target.type, target.shape)


def top_k(x: Tensor, k: int) -> Tensor:
    """Indices (int32) of the ``k`` largest of ne0, the largest first."""
    check(0 < k <= x.shape[0], f"top_k {k}", x)
    graph = graph_of(x)
    node = ggml().ggml_argsort_top_k(graph.context.address, x.address, k)
    return graph.result(node, _abi.GGML_TYPE_I32, (k, *x.shape[1:]))


def reshape(x: Tensor, *shape: int, graph: Graph | None = None) -> Tensor:
    """The same contiguous elements in another shape of up to four dimensions.

    ``graph`` is for a tensor that outlives graphs.
    """
    ne = padded(shape)
    check(n_elements(ne) == n_elements(x.shape), f"reshape to {list(shape)}", x)
    graph = graph or graph_of(x)
    if ne[3] == 1:
        node = ggml().ggml_reshape_3d(graph.context.address, x.address, ne[0], ne[1], ne[2])
    else:
        node = ggml().ggml_reshape_4d(graph.context.address, x.address, *ne)
    return graph.result(node, x.type, ne)


def view(
    graph: Graph, x: Tensor, shape: tuple[int, int, int], strides: tuple[int, int], offset: int = 0
) -> Tensor:
    """A window into ``x``; ``strides`` are the bytes of dimensions 1 and 2, ``offset`` in bytes."""
    node = ggml().ggml_view_3d(graph.context.address, x.address, *shape, *strides, offset)
    return graph.result(node, x.type, padded(shape))


def part(x: Tensor, first: int, n: int) -> Tensor:
    """Elements ``first`` ... ``first`` + n - 1 of ne0, as a window into x of three dimensions."""
    check(first >= 0 and first + n <= x.shape[0] and x.shape[3] == 1, f"part {first} + {n}", x)
    size, row, plane = _strides(x)
    return view(graph_of(x), x, (n, x.shape[1], x.shape[2]), (row, plane), first * size)


def rows_of(x: Tensor, first: int, n: int, *, graph: Graph | None = None) -> Tensor:
    """Rows ``first`` ... ``first`` + n - 1 (ne1) of x, as a window of three dimensions.

    ``graph`` is for a tensor that outlives graphs.
    """
    check(first >= 0 and first + n <= x.shape[1] and x.shape[3] == 1, f"rows {first} + {n}", x)
    _, row, plane = _strides(x)
    graph = graph or graph_of(x)
    return view(graph, x, (x.shape[0], n, x.shape[2]), (row, plane), first * row)


def slice_of(x: Tensor, index: int) -> Tensor:
    """x[:, index, :] of a tensor [n, k, m] -> [n, m], a window."""
    check(0 <= index < x.shape[1] and x.shape[3] == 1, f"slice {index}", x)
    _, row, plane = _strides(x)
    return view(graph_of(x), x, (x.shape[0], x.shape[2], 1), (plane, plane), index * row)


def planes_of(x: Tensor, first: int, n: int = 1) -> Tensor:
    """Planes ``first`` ... ``first`` + n - 1 (ne2) of x, as a window of three dimensions."""
    check(first >= 0 and first + n <= x.shape[2] and x.shape[3] == 1, f"planes {first} + {n}", x)
    _, row, plane = _strides(x)
    return view(graph_of(x), x, (x.shape[0], x.shape[1], n), (row, plane), first * plane)


def split(x: Tensor, first: int, n: int, count: int) -> Tensor:
    """``count`` heads of n elements from element ``first`` of each row on: [n, count, ...]."""
    fits = first >= 0 and first + n * count <= x.shape[0] and x.shape[3] == 1
    check(fits, f"split {count} heads of {n}", x)
    size, row, plane = _strides(x)
    graph = graph_of(x)
    shape = (n, count, x.shape[1], x.shape[2])
    strides = (n * size, row, plane)
    node = ggml().ggml_view_4d(graph.context.address, x.address, *shape, *strides, first * size)
    return graph.result(node, x.type, shape)


def planes(x: Tensor, n: int, count: int) -> Tensor:
    """Rows [n_in, n · count] as ``count`` planes of n rows: [n_in, n, count], a window."""
    check(x.shape[1:] == (n * count, 1, 1), f"{count} planes of {n} rows", x)
    _, row, _ = _strides(x)
    return view(graph_of(x), x, (x.shape[0], n, count), (row, n * row))


def merge(x: Tensor) -> Tensor:
    """[n, count, n_rows] -> [n · count, n_rows], where the heads of a row are neighbours."""
    size, head, row = _strides(x)
    check(head == x.shape[0] * size or x.shape[1] == 1, "merge", x)
    return view(graph_of(x), x, (x.shape[0] * x.shape[1], x.shape[2], 1), (row, row))


def _strides(x: Tensor) -> tuple[int, int, int]:
    """Bytes from one element to the next in dimensions 0, 1 and 2."""
    nb = x.struct.nb
    return nb[0], nb[1], nb[2]


def permute(x: Tensor, axes: tuple[int, int, int, int]) -> Tensor:
    """Dimension i becomes dimension axes[i]; no data moves."""
    graph = graph_of(x)
    node = ggml().ggml_permute(graph.context.address, x.address, *axes)
    shape = [0, 0, 0, 0]
    for source, target in enumerate(axes):
        shape[target] = x.shape[source]
    return graph.result(node, x.type, padded(shape))


def transpose(x: Tensor) -> Tensor:
    """The first two dimensions exchanged; no data moves."""
    return permute(x, (1, 0, 2, 3))


def cast(x: Tensor, type: int) -> Tensor:
    """A contiguous copy in another type."""
    graph = graph_of(x)
    node = ggml().ggml_cast(graph.context.address, x.address, type)
    return graph.result(node, type, x.shape)


def contiguous(x: Tensor) -> Tensor:
    """A copy with the elements in order."""
    graph = graph_of(x)
    node = ggml().ggml_cont(graph.context.address, x.address)
    return graph.result(node, x.type, x.shape)


def concat(a: Tensor, b: Tensor, axis: int) -> Tensor:
    """a, then b, along a dimension."""
    others = [i for i in range(4) if i != axis]
    check(a.type == b.type and all(a.shape[i] == b.shape[i] for i in others), "concat", a, b)
    graph = graph_of(a, b)
    node = ggml().ggml_concat(graph.context.address, a.address, b.address, axis)
    shape = list(a.shape)
    shape[axis] += b.shape[axis]
    return graph.result(node, a.type, padded(shape))


def repeat(x: Tensor, *shape: int) -> Tensor:
    """x as often as it takes to fill ``shape``."""
    ne = padded(shape)
    check(can_repeat(x.shape, ne), f"repeat to {list(shape)}", x)
    graph = graph_of(x)
    node = ggml().ggml_repeat_4d(graph.context.address, x.address, *ne)
    return graph.result(node, x.type, ne)
