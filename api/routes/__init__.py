"""One file a resource; each call goes to one service or report."""
