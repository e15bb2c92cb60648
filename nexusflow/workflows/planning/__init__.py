"""A definition's graph, its segments and its plan. Pure."""
