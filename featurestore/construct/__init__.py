"""Making a dataset of one's own: titles, candidates, pictures, mentions, splits."""
