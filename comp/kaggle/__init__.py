"""Talking to Kaggle: what a competition needs is brought here once, and a submission sent once.

Its door: `client.connect`, `fetch.download`, `record.must_be_whole`, `submitting.send`, `scores.scores_of`,
`notebooks.push`, `sources.kaggle_of`.
"""
