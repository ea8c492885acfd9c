# One image for all of ours, with a target per component: docker build --target collector -t tidegauge/collector:0.1.0 .
# They share every layer but the last. Base images are pinned by version in deploy/images.toml, which a test holds this to;
# a digest after the version (FROM python:...@sha256:...) pins them for good, and is for whoever has looked it up.
FROM python:3.12.11-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /app
COPY pyproject.toml uv.lock README.md ./
RUN uv sync --locked --no-dev --no-install-project --link-mode copy
COPY collector collector
COPY forecaster forecaster
COPY dashboard dashboard
COPY reference_app reference_app
COPY loadgen loadgen
COPY tidegauge tidegauge
RUN uv sync --locked --no-dev --no-editable --link-mode copy

FROM python:3.12.11-slim-bookworm AS runtime
RUN groupadd --system --gid 10001 tidegauge \
 && useradd --system --uid 10001 --gid 10001 --create-home tidegauge \
 && mkdir /data && chown tidegauge:tidegauge /data
WORKDIR /app
COPY --from=build /app/.venv /app/.venv
COPY deploy/docker/healthy.py ./
COPY tidegauge.yaml ./
ENV PATH=/app/.venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TIDEGAUGE_DATA=/data TIDEGAUGE_CONFIG=/app/tidegauge.yaml
USER 10001:10001
VOLUME /data
STOPSIGNAL SIGTERM

FROM runtime AS collector
EXPOSE 9400
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "/app/healthy.py", "http://127.0.0.1:9400/healthz"]
CMD ["python", "-m", "collector"]

FROM runtime AS forecaster
EXPOSE 9401
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "/app/healthy.py", "http://127.0.0.1:9401/healthz"]
CMD ["python", "-m", "forecaster"]

FROM runtime AS dashboard
EXPOSE 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "/app/healthy.py", "http://127.0.0.1:8501/_stcore/health"]
CMD ["python", "-m", "dashboard"]

FROM runtime AS reference-app
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=20s CMD ["python", "/app/healthy.py", "http://127.0.0.1:8000/readyz"]
CMD ["python", "-m", "reference_app"]

FROM runtime AS jobs
EXPOSE 8020
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "/app/healthy.py", "http://127.0.0.1:8020/healthz"]
CMD ["python", "-m", "reference_app.jobs"]

FROM runtime AS edge
EXPOSE 8001
HEALTHCHECK --interval=5s --timeout=5s --start-period=20s CMD ["python", "/app/healthy.py", "http://127.0.0.1:8001/readyz"]
CMD ["python", "-m", "reference_app.edge"]

FROM runtime AS cluster
EXPOSE 8000 8010
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["python", "/app/healthy.py", "http://127.0.0.1:8010/readyz"]
CMD ["python", "-m", "tidegauge.cluster"]

FROM runtime AS loadgen
EXPOSE 9402
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "/app/healthy.py", "http://127.0.0.1:9402/healthz"]
CMD ["python", "-m", "loadgen", "serve"]
