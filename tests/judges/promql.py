"""Queries as trees: what the judges of dashboards, rules and runbooks ask about them."""

import re

import promql_parser as syntax

# Grafana's macros and variables that stand where PromQL wants a number or a duration. Nobody would write this interval.
STAND_INS = {
    "__rate_interval": "3m59s",
    "__interval_ms": "60000",
    "__interval": "1m",
    "__range_s": "86400",
    "__range": "1d",
    "cache_ttl": "50",
    "max_staleness": "600",
}


def substitute(text, values):
    """The text with the value of each variable; `$1` and the like are label_replace's own."""

    def value(match):
        name = match.group(1) or match.group(2)
        return match.group(0) if name.isdigit() else values[name]

    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, text)


def parse(text, keep=()):
    """The tree of a query. Variables named in `keep` stay: they stand within strings."""
    return syntax.parse(substitute(text, {**STAND_INS, **{name: f"${name}" for name in keep}}))


def children(node):
    """The nodes right below."""
    if isinstance(node, syntax.BinaryExpr):
        return [node.lhs, node.rhs]
    if isinstance(node, syntax.Call):
        return node.args
    if isinstance(node, syntax.AggregateExpr):
        return [node.expr, *([node.param] if node.param is not None else [])]
    if isinstance(node, syntax.MatrixSelector):
        return [node.vector_selector]
    if isinstance(node, (syntax.ParenExpr, syntax.UnaryExpr, syntax.SubqueryExpr)):
        return [node.expr]
    return []


def walk(node, above=()):
    """Each node with those above it, the nearest last."""
    yield node, above
    for child in children(node):
        yield from walk(child, (*above, node))


def selectors(tree):
    """Each selector of series with the nodes above it."""
    return [(node, above) for node, above in walk(tree) if isinstance(node, syntax.VectorSelector)]


def matchers(selector):
    """The matchers of a selector: label, operator, value."""
    signs = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
    return [(one.name, signs[str(one.op)], one.value) for one in selector.matchers.matchers]


def metric(selector):
    """The name of the metric that is selected."""
    return selector.name or next(value for label, _, value in matchers(selector) if label == "__name__")


def grouping_labels(tree):
    """The labels that aggregations and joins name."""
    for node, _ in walk(tree):
        if isinstance(node, syntax.AggregateExpr) and node.modifier:
            yield from node.modifier.labels
        if isinstance(node, syntax.BinaryExpr) and node.modifier:
            if node.modifier.matching:
                yield from node.modifier.matching.labels
            yield from node.modifier.group_labels or ()


def labels_made(tree):
    """The labels that a query makes, with the values that label_replace gives them."""
    for node, _ in walk(tree):
        if isinstance(node, syntax.Call) and node.func.name == "label_replace":
            yield node.args[1].val, node.args[2].val
        if isinstance(node, syntax.Call) and node.func.name == "label_join":
            yield node.args[1].val, None


def function_of(above):
    """The function that a selector is an argument of, if it is that of one."""
    calls = [
        node for node in above if not isinstance(node, (syntax.MatrixSelector, syntax.ParenExpr, syntax.SubqueryExpr))
    ]
    return calls[-1].func.name if calls and isinstance(calls[-1], syntax.Call) else None


def aggregation_of(above):
    """The nearest aggregation around a selector."""
    return next((str(node.op) for node in reversed(above) if isinstance(node, syntax.AggregateExpr)), None)


def labels_left(tree):
    """The labels that a query's series have, where that can be told from it; else none."""
    if isinstance(tree, syntax.ParenExpr):
        return labels_left(tree.expr)
    if isinstance(tree, syntax.AggregateExpr):
        if str(tree.op) in ("topk", "bottomk"):
            return labels_left(tree.expr)
        if tree.modifier is None:
            return set()
        return set(tree.modifier.labels) if "By" in str(tree.modifier.type) else None
    if isinstance(tree, syntax.Call):
        if tree.func.name == "histogram_quantile":
            left = labels_left(tree.args[1])
            return None if left is None else left - {"le"}
        left = labels_left(tree.args[0]) if tree.args else set()
        return left if left is None or tree.func.name != "label_replace" else left | {tree.args[1].val}
    if isinstance(tree, syntax.BinaryExpr):
        if isinstance(tree.lhs, syntax.NumberLiteral) or not selectors(tree.lhs):
            return labels_left(tree.rhs)
        return labels_left(tree.lhs)
    return None
