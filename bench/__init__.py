"""`make bench`: what a governed call costs, beside the direct call, a minimal Django peer and bare PostgreSQL, all in one run."""
