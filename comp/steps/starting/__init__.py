"""`comp new`: the steps from a competition's files to its folder."""
