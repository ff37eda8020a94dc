"""Load tests that strangers posted: each publisher stands in front of devices in a way of its own.

    python -m serving_mathematics.machine.predictions.posted_runs

predicts every row of records/posted_runs.json, with all constants as they are, and prints errors by
publisher. A row is of an issue, a pull request, a repository or a page of 2025 or later, and was
taken, before anything was predicted for it, if its source says

    model      one of the catalogue, asked with text; precision, of the cache too if not as usual
    devices    NVIDIA's, of the catalogue, and how the model is split over them
    engine     vLLM, SGLang or TensorRT-LLM, running with CUDA graphs, without speculation, offload
               or separate fleets; above one sequence at a time at most a fifth of what its prompts
               hold can be in the cache
    load       a closed loop of so many requests, at least three times as many in all, or one
               sequence at a time; mean or set lengths of prompts and answers
    measured   the median over requests of the time per output token, or the mean

and if the source does not itself call the run faulty, made up or estimated. Of a change that a
source proposes, runs before it are taken; of versions or engines that it compares, all. A publisher
is the account or the organization that posted; of one with more than twenty rows, the first twenty
of its sweeps. Left out are runs of the harness to which the constants were fitted, and those that
their source does not describe so far.

Assumes: a mean over requests has the prompts of others in it.

Source: records/posted_runs.json, an address for every row.
"""
