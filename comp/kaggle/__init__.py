"""Talking to Kaggle: a competition's data are downloaded once, and each submission is sent once.

Public: `client.connect`, `fetch.download`, `record.must_be_whole`, `submitting.send`, `scores.scores_of`,
`notebooks.push`, `sources.kaggle_of`.
"""
