"""Events to rows: expressions, selection, matching, tables, splits; plain numpy throughout."""
