"""From predictions to a submission: tuning post-processing, building and checking the CSV, reading it back to grade it.

Its door: `scoring.tune_on_logits`, `submission.build_submission` and `keep_submission`, `grading.grader`.
"""
