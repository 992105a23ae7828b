"""What each page shows, brought together from the rooms."""
