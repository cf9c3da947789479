"""The OpenAI-compatible server of llama.cpp with one model: run by `.venv-services`.

Usage: python llama_program.py MODEL_FILE [KEY]
It prints its URL when it answers. The seed is fixed: the same request gets the same answer.
"""

import sys
import threading

import xllamacpp

ANSWER_TOKENS = 200  # a random model may talk on for ever

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.model_alias = {"tiny"}
params.hostnames = ["127.0.0.1"]
params.port = 0
params.api_keys = sys.argv[2:]
params.n_ctx = 4096
params.n_parallel = 2
params.n_predict = ANSWER_TOKENS
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
params.warmup = False
params.fit_params = False
params.sampling.seed = 7
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
threading.Event().wait()
