"""Trees as text, as Graphviz's dot, and as a plot."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..exceptions import ParameterError
from ._structure import Tree


def _names(given: Any, count: int, what: str, default: str) -> list[str]:
    if given is None:
        return [f"{default}{i}" for i in range(count)]
    names = [str(n) for n in given]
    if len(names) != count:
        raise ParameterError(f"{what} must contain {count} elements, got {len(names)}")
    return names


def _class_names(model: Any, tree: Tree, given: Any) -> list[str] | None:
    if not hasattr(model, "classes_"):
        return None
    if given is None or given is True:
        return [str(c) for c in model.classes_.tolist()]
    return _names(given, tree.max_n_classes, "When `class_names` is an array, it", "")


def export_text(
    decision_tree: Any,
    *,
    feature_names: Any = None,
    class_names: Any = None,
    max_depth: int = 10,
    spacing: int = 3,
    decimals: int = 2,
    show_weights: bool = False,
) -> str:
    """The rules of a tree as text.

    Parameters
    ----------
    decision_tree : estimator
        A fitted tree.
    feature_names : array-like of str, optional
        Names of the columns; `feature_0`, `feature_1`, ... if not given.
    class_names : array-like of str, optional
        Names of the classes; the classes themselves if not given.
    max_depth : int, default=10
        Levels that are shown.
    spacing : int, default=3
        Characters a level.
    decimals : int, default=2
        Digits behind the point.
    show_weights : bool, default=False
        Show the weight of each class in the leaves.

    Returns
    -------
    str

    Examples
    --------
    >>> from corten.tree import DecisionTreeClassifier, export_text
    >>> model = DecisionTreeClassifier(random_state=0).fit([[0.0], [1.0], [2.0]], ["a", "a", "b"])
    >>> print(export_text(model, feature_names=["x"]))
    |--- x <= 1.50
    |   |--- class: a
    |--- x >  1.50
    |   |--- class: b
    <BLANKLINE>
    """
    tree = decision_tree._fitted_tree()
    names = _names(feature_names, tree.n_features, "feature_names", "feature_")
    classes = _class_names(decision_tree, tree, class_names)
    lines: list[str] = []

    def leaf(at: int) -> str:
        if classes is None:
            return "value: [" + ", ".join(f"{v:.{decimals}f}" for v in tree.value[at, :, 0]) + "]"
        shares = tree.value[at, 0]
        text = f"class: {classes[int(shares.argmax())]}"
        if show_weights:
            weights = ", ".join(f"{v:.{decimals}f}" for v in shares * tree.weighted_n_node_samples[at])
            text = f"weights: [{weights}] {text}"
        return text

    def add(at: int, depth: int) -> None:
        indent = ("|" + " " * spacing) * depth + "|" + "-" * spacing
        if tree.children_left[at] < 0:
            lines.append(f"{indent} {leaf(at)}\n")
        elif depth > max_depth:
            below = _depth_below(tree, at)
            lines.append(f"{indent} truncated branch of depth {below}\n")
        else:
            name, cut = names[tree.feature[at]], f"{tree.threshold[at]:.{decimals}f}"
            lines.append(f"{indent} {name} <= {cut}\n")
            add(int(tree.children_left[at]), depth + 1)
            lines.append(f"{indent} {name} >  {cut}\n")
            add(int(tree.children_right[at]), depth + 1)

    add(0, 0)
    return "".join(lines)


def _depth_below(tree: Tree, at: int) -> int:
    open_, deepest = [(at, 1)], 1
    while open_:
        node, depth = open_.pop()
        deepest = max(deepest, depth)
        if tree.children_left[node] >= 0:
            open_ += [(int(tree.children_left[node]), depth + 1), (int(tree.children_right[node]), depth + 1)]
    return deepest


def _number(value: float, precision: int) -> str:
    return f"{round(float(value), precision):g}"


def _label(
    model: Any, tree: Tree, at: int, names: list[str], classes: list[str] | None, precision: int, ids: bool
) -> list[str]:
    """The lines that describe a node."""
    lines = [f"node #{at}"] if ids else []
    if tree.children_left[at] >= 0:
        lines.append(f"{names[tree.feature[at]]} <= {_number(tree.threshold[at], precision)}")
    criterion = getattr(model, "criterion", "impurity")
    lines.append(f"{criterion} = {_number(tree.impurity[at], precision)}")
    lines.append(f"samples = {tree.n_node_samples[at]}")
    if classes is None:
        values = tree.value[at, :, 0]
    else:
        values = tree.value[at, 0] * tree.weighted_n_node_samples[at]
    shown = [_number(v, precision) for v in values]
    lines.append(f"value = {shown[0]}" if len(shown) == 1 else f"value = [{', '.join(shown)}]")
    if classes is not None:
        lines.append(f"class = {classes[int(np.argmax(values))]}")
    return lines


def export_graphviz(
    decision_tree: Any,
    out_file: Any = None,
    *,
    max_depth: int | None = None,
    feature_names: Any = None,
    class_names: Any = None,
    node_ids: bool = False,
    precision: int = 3,
) -> str | None:
    """A tree in Graphviz's language.

    Parameters
    ----------
    decision_tree : estimator
        A fitted tree.
    out_file : path-like, file object or None, default=None
        Where the text goes; it is returned with None.
    max_depth : int or None, default=None
        Levels below the root that are shown; all with None.
    feature_names : array-like of str, optional
        Names of the columns.
    class_names : array-like of str, optional
        Names of the classes.
    node_ids : bool, default=False
        Show the place of each node in `tree_`.
    precision : int, default=3
        Digits behind the point.

    Returns
    -------
    str or None

    Examples
    --------
    >>> from corten.tree import DecisionTreeRegressor, export_graphviz
    >>> model = DecisionTreeRegressor(random_state=0).fit([[0.0], [1.0]], [2.0, 4.0])
    >>> print(export_graphviz(model))
    digraph Tree {
    node [shape=box, fontname="helvetica"] ;
    edge [fontname="helvetica"] ;
    0 [label="x[0] <= 0.5\\nsquared_error = 1\\nsamples = 2\\nvalue = 3"] ;
    1 [label="squared_error = 0\\nsamples = 1\\nvalue = 2"] ;
    0 -> 1 [labeldistance=2.5, labelangle=45, headlabel="True"] ;
    2 [label="squared_error = 0\\nsamples = 1\\nvalue = 4"] ;
    0 -> 2 [labeldistance=2.5, labelangle=-45, headlabel="False"] ;
    }
    """
    tree = decision_tree._fitted_tree()
    names = _feature_labels(feature_names, tree)
    classes = _class_names(decision_tree, tree, class_names)
    lines = ["digraph Tree {", 'node [shape=box, fontname="helvetica"] ;', 'edge [fontname="helvetica"] ;']
    open_: list[tuple[int, int, int]] = [(0, -1, 0)]
    while open_:
        at, parent, depth = open_.pop()
        cut = max_depth is not None and depth > max_depth
        label = ["(...)"] if cut else _label(decision_tree, tree, at, names, classes, precision, node_ids)
        text = "\\n".join(part.replace("\\", "\\\\").replace('"', '\\"') for part in label)
        lines.append(f'{at} [label="{text}"] ;')
        if parent >= 0:
            is_left = tree.children_left[parent] == at
            head = ' [labeldistance=2.5, labelangle={}45, headlabel="{}"]'.format(
                *(("", "True"), ("-", "False"))[not is_left]
            )
            lines.append(f"{parent} -> {at}{head if parent == 0 else ''} ;")
        if tree.children_left[at] >= 0 and not cut:
            open_ += [(int(tree.children_right[at]), at, depth + 1), (int(tree.children_left[at]), at, depth + 1)]
    out = "\n".join([*lines, "}"])
    if out_file is None:
        return out
    if hasattr(out_file, "write"):
        out_file.write(out)
    else:
        with open(os.fspath(out_file), "w", encoding="utf-8") as file:
            file.write(out)
    return None


def _feature_labels(feature_names: Any, tree: Tree) -> list[str]:
    if feature_names is None:
        return [f"x[{i}]" for i in range(tree.n_features)]
    return _names(feature_names, tree.n_features, "feature_names", "")


def plot_tree(
    decision_tree: Any,
    *,
    max_depth: int | None = None,
    feature_names: Any = None,
    class_names: Any = None,
    node_ids: bool = False,
    precision: int = 3,
    ax: Any = None,
    fontsize: int | None = None,
) -> list[Any]:
    """Draws a tree with Matplotlib.

    Parameters
    ----------
    decision_tree : estimator
        A fitted tree.
    max_depth : int or None, default=None
        Levels below the root that are shown; all with None.
    feature_names : array-like of str, optional
        Names of the columns.
    class_names : array-like of str, optional
        Names of the classes.
    node_ids : bool, default=False
        Show the place of each node in `tree_`.
    precision : int, default=3
        Digits behind the point.
    ax : matplotlib.axes.Axes, optional
        Where to draw; the current axes if not given.
    fontsize : int, optional
        Size of the text.

    Returns
    -------
    list of matplotlib.text.Annotation
        One a node that is shown.

    Raises
    ------
    ImportError
        Without Matplotlib.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.gca()
    tree = decision_tree._fitted_tree()
    names = _feature_labels(feature_names, tree)
    classes = _class_names(decision_tree, tree, class_names)
    depths = tree.depths
    limit = int(depths.max()) if max_depth is None else max_depth
    # Shown leaves stand side by side, and parents in the middle of their children.
    place = np.zeros(tree.node_count)
    shown = np.flatnonzero(depths <= limit)
    ends = [at for at in shown.tolist() if tree.children_left[at] < 0 or depths[at] == limit]
    for order, at in enumerate(_left_to_right(tree, set(ends))):
        place[at] = (order + 0.5) / len(ends)
    for at in shown[::-1].tolist():
        if at not in ends:
            place[at] = (place[tree.children_left[at]] + place[tree.children_right[at]]) / 2
    height = 1 / (min(limit, int(depths.max())) + 1)
    ax.set_axis_off()
    parent = {
        int(c): int(p)
        for p in np.flatnonzero(tree.children_left >= 0)
        for c in (tree.children_left[p], tree.children_right[p])
    }
    out = []
    for at in shown.tolist():
        here = (place[at], 1 - (depths[at] + 0.5) * height)
        text = "\n".join(_label(decision_tree, tree, at, names, classes, precision, node_ids))
        style: dict[str, Any] = {"ha": "center", "va": "center", "xycoords": "axes fraction", "fontsize": fontsize}
        style["bbox"] = {"boxstyle": "round", "fc": "white"}
        if at == 0:
            out.append(ax.annotate(text, here, **style))
        else:
            above = (place[parent[at]], 1 - (depths[at] - 0.5) * height)
            style["arrowprops"] = {"arrowstyle": "<-"}
            out.append(ax.annotate(text, above, xytext=here, textcoords="axes fraction", **style))
    return out


def _left_to_right(tree: Tree, ends: set[int]) -> list[int]:
    out, open_ = [], [0]
    while open_:
        at = open_.pop()
        if at in ends:
            out.append(at)
        else:
            open_ += [int(tree.children_right[at]), int(tree.children_left[at])]
    return out
