r"""What a load test, a log or a scrape of a reader's says: read, judged, told.

A program hands over a file's text or Path, and what is promised:

>>> from serving_mathematics.report.findings.finding import Asked
>>> from serving_mathematics.report.reading import read_file
>>> from serving_mathematics.report.registry import report
>>> log = "sent_s,ttft_s\n" + "\n".join(f"{k},{0.2 if k % 9 else 3.0}" for k in range(100))
>>> runs = read_file(log, "log.csv")
>>> float(runs[0].column("ttft_s").max()), report(runs, Asked(ttft_s=1.0)).worst
(3.0, 'problem')
"""
