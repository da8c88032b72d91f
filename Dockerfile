# The worker and every other command of cxkpi, as a user without rights.
#
#   docker build --tag cxkpi .
#   docker run --rm cxkpi check --json

FROM python:3.13.7-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/cxkpi
WORKDIR /src
# The dependencies change less often than the source, so they have a layer of their own.
COPY requirements.lock ./
# Faust has no wheels for Linux on ARM. There it is made from its sources, which needs no compiler.
RUN sources=$([ "$(uname -m)" = aarch64 ] && echo --no-binary faust-streaming || true) && \
    /opt/cxkpi/bin/pip install --require-hashes --only-binary :all: $sources -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY stream ./stream
RUN /opt/cxkpi/bin/pip install --no-deps --no-build-isolation .

FROM python:3.13.7-slim-bookworm
LABEL org.opencontainers.image.title="cxkpi" \
      org.opencontainers.image.description="Rolling customer-experience KPIs from Kafka events" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/cxkpi /opt/cxkpi
# HOME is where a command may write; with a read-only root it is a tmpfs.
ENV PATH=/opt/cxkpi/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
EXPOSE 9464
ENTRYPOINT ["cxkpi"]
CMD ["worker"]
