"""The two mechanisms on Ray: map over shards, train with workers."""
