"""Predictions turned into a submission: post-processing tuned, the CSV built, checked and read back to be graded.

Its door: `scoring.tune_on_logits`, `submission.build_submission` and `keep_submission`, `submission.grader`.
"""
