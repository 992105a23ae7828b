# comp in a container, for rented machines.
#   docker build -t comp .                      CUDA: the wheels of requirements.lock, which also work without a GPU
#   docker build -t comp --target cpu --build-arg CPU_WHEELS=ADDRESS .    smaller; ADDRESS is that of PyTorch's CPU wheels
#   docker run --rm -it --gpus all --ipc host -v "$PWD/home:/home/comp" -e KAGGLE_API_TOKEN comp run digits
FROM python:3.12-slim AS base
RUN apt-get update && apt-get install -y --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
WORKDIR /comp
COPY Makefile pyproject.toml requirements.lock README.md LICENSE ./
COPY comp comp
COPY competitions competitions
COPY templates templates
ENV COMP_HOME=/home/comp PATH=/comp/.venv/bin:$PATH

FROM base AS cpu
ARG CPU_WHEELS
RUN test -n "$CPU_WHEELS" || { echo "Give --build-arg CPU_WHEELS=ADDRESS, as pytorch.org names it for CPU"; exit 1; } \
    && python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --index-url "$CPU_WHEELS" torch torchvision \
    && .venv/bin/pip install --no-cache-dir --editable .
ENTRYPOINT ["comp"]

FROM base AS cuda
RUN make setup PYTHON=python3 && rm -rf ~/.cache
ENTRYPOINT ["comp"]
