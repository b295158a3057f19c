# One image for every role: `serve` (all in one, the default), `api`, `worker`, `migrate`.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/perdure
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE settings.py settings_forms.py worker.py ./
COPY activities activities
COPY api api
COPY cli cli
COPY fake_model fake_model
COPY session session
COPY store store
COPY workflows workflows
RUN /opt/perdure/bin/pip install --quiet -c constraints.txt '.[embedded]'

FROM python:3.11-slim
# tini reaps what tools leave behind; git and curl are what agents reach for first. bubblewrap is the sandbox of commands;
# it needs user namespaces, which a container has only with --security-opt seccomp=unconfined (or a profile that allows
# them) and --security-opt systempaths=unconfined: `perdure doctor` says whether it works.
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends bubblewrap ca-certificates curl git tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 perdure \
    && install -d -o perdure -g perdure -m 700 /data /workspaces
COPY --from=build /opt/perdure /opt/perdure
ENV PATH=/opt/perdure/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PERDURE_DATA_DIR=/data \
    PERDURE_HOST=0.0.0.0 \
    PERDURE_WORKSPACE=/workspaces
USER perdure
WORKDIR /data
VOLUME ["/data", "/workspaces"]
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:3000/health/live"]
ENTRYPOINT ["tini", "--", "perdure"]
CMD ["serve"]
