# One image for every process of ours; docker-compose.yml chooses which runs.
# Python 3.11 brings TensorFlow 2.16, the stack that the tests run on; 3.12 brings 2.21 (docs/adr/0001-two-stacks-one-lock.md).
ARG PYTHON_VERSION=3.11.14

FROM python:${PYTHON_VERSION}-slim-trixie AS build
# A few dependencies of the pipeline come as sources only. Compilers stay in this stage.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /opt/offerrank
RUN uv venv .venv
# Before the sources: the 3 GB of dependencies are installed anew only when the lock file changes.
COPY pyproject.toml requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    UV_LINK_MODE=copy uv pip sync --python .venv/bin/python --require-hashes --compile-bytecode requirements.lock
COPY . .
RUN uv pip install --python .venv/bin/python --no-deps --editable . \
    && .venv/bin/python -m compileall -q domain features store sdk catalogue ledger auction retrieval models pipelines serving monitoring experiments simulation offerrank

FROM python:${PYTHON_VERSION}-slim-trixie
RUN useradd --system --uid 10001 --home-dir /var/lib/offerrank --create-home offerrank \
    && mkdir /var/lib/offerrank/releases /var/lib/offerrank/log /var/lib/offerrank/keys /var/lib/offerrank/journal /var/lib/offerrank/catalogue \
    && chown offerrank:offerrank /var/lib/offerrank/releases /var/lib/offerrank/log /var/lib/offerrank/keys /var/lib/offerrank/journal /var/lib/offerrank/catalogue
COPY --from=build /opt/offerrank /opt/offerrank
ENV PATH=/opt/offerrank/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TF_USE_LEGACY_KERAS=1 \
    TF_CPP_MIN_LOG_LEVEL=2
WORKDIR /var/lib/offerrank
USER offerrank
ENTRYPOINT ["offerrank"]
CMD ["--help"]
