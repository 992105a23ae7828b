"""What the runner's steps are made of: the only place where the rooms meet."""
