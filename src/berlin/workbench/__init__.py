"""For the authors of recipes: explain one, try it, find its mistake, record it, draft a first."""
