# One image for every part of ours; docker-compose.yml gives each its command.
FROM python:3.12.11-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /app
COPY pyproject.toml uv.lock README.md ./
COPY collector collector
COPY forecaster forecaster
COPY dashboard dashboard
COPY reference_app reference_app
COPY loadgen loadgen
COPY tidegauge tidegauge
RUN uv sync --locked --no-dev --no-editable --link-mode copy

FROM python:3.12.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home tidegauge && mkdir /data && chown tidegauge /data
WORKDIR /app
COPY --from=build /app/.venv /app/.venv
COPY dashboard dashboard
COPY tidegauge.yaml ./
ENV PATH=/app/.venv/bin:$PATH TIDEGAUGE_DATA=/data TIDEGAUGE_CONFIG=/app/tidegauge.yaml
USER tidegauge
VOLUME /data
CMD ["tidegauge", "--help"]
