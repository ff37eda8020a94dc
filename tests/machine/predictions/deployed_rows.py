"""A row of a table, for the tests of what reads and answers it."""

from __future__ import annotations

HEAD = "model,system,backend,precision,isl,osl,concurrency,tp,pp,dp,ep,mode,ttft_s,tpot_s"
GOOD = "deepseek-ai/DeepSeek-R1,b200_sxm,sglang,fp8,1024,1024,64,8,1,1,1,agg,0.5,0.02"
CELLS = dict(zip(HEAD.split(","), GOOD.split(","), strict=True))
