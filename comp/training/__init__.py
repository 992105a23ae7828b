"""Training a network: backbone and layer groups, schedules, cached features, the learner, weights on disk."""
