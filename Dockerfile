# The example server with cnnzoo-lite:  docker build -t cnnzoo . && docker run -p 8000:8000 cnnzoo
#
# The first stage compiles the wheel; the last holds Python, the wheel and trained weights, and no compiler.

# What `make` needs, and what a development container is made of.
FROM rust:1.95-slim-trixie AS tools
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git make python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

FROM tools AS build
WORKDIR /cnnzoo
COPY . .
RUN make lite

FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN --mount=from=build,source=/cnnzoo/dist/lite,target=/wheels \
    python3 -m venv /opt/cnnzoo \
    && /opt/cnnzoo/bin/pip install --no-cache-dir "$(echo /wheels/*.whl)[pretrained]" fastapi uvicorn pillow \
    && useradd --system cnnzoo
COPY examples/serve /opt/serve
USER cnnzoo
WORKDIR /opt/serve
ENV PATH=/opt/cnnzoo/bin:$PATH
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["python", "server.py", "--host", "0.0.0.0"]
CMD ["tf_efficientnet_lite0"]
