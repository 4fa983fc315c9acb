"""Do a run: request, fit, score, measure, keep; the same path for every pipeline."""
