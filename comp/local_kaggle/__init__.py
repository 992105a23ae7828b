"""The local Kaggle: serves folders over Kaggle's own API, grades submissions, keeps a leaderboard."""
