"""The queue and its records: jobs, events, workers, artefacts, votes. Knows nothing of models or pictures."""
