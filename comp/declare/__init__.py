"""What a competition.py says, checked as it is loaded; neither torch nor numpy nor pandas is imported for it."""
