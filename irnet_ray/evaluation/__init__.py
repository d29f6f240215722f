"""How good labels are against truth that training never saw."""
