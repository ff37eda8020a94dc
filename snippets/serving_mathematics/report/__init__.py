"""What a load test, a log or a scrape of a reader's says: read, judged, told."""
