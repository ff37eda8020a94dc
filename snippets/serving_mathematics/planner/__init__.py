"""The capacity planner: from a question to replicas, batch, memory, latencies, cost and limits.

A program asks by the fields of the command, `questions.fields.FIELDS`:

>>> from serving_mathematics.planner.answers import answer_record
>>> from serving_mathematics.planner.configurations import answer
>>> from serving_mathematics.planner.questions import read_choices
>>> told = answer_record(answer(read_choices({"rate_per_s": 9, "ttft_s": 1, "requests": 100})))
>>> told["replicas"], told["usd_per_hour"]
(1, 2.0)
"""
