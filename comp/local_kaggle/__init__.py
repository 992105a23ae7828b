"""The local Kaggle: serves folders over Kaggle's own API, grades submissions, keeps a leaderboard.

Public: `server.running`, `bundled.BUNDLED`, `grading.graders`.
"""

# A client signs in with a token of this prefix and the quoted user name.
LOCAL_TOKEN_PREFIX = "local:"
LOCAL_USER = "you"
