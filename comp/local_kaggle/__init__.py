"""The local Kaggle: serves folders over Kaggle's own API, grades submissions, keeps a leaderboard.

Its door: `server.running`, `bundled.BUNDLED`, `grading.graders`.
"""

# A client of this machine signs in with its user's name: a token of this prefix and the quoted name.
LOCAL_TOKEN_PREFIX = "local:"
LOCAL_USER = "you"
