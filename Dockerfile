# `ldx serve` for the CPU: not root, weights/ceph.ldx in it, a health check. docs/serve.md says how to run it.
# tools/try_dockerfile.py tries these steps where there is no Docker: keep to the instructions that it knows.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /build
RUN python -m venv /opt/ldx
COPY constraints.txt ./
RUN /opt/ldx/bin/pip install --constraint constraints.txt --extra-index-url "$TORCH_INDEX" "torch==$(sed -n 's/^torch==//p' constraints.txt)+cpu"
COPY pyproject.toml README.md LICENSE ./
COPY landmark_diffusion ./landmark_diffusion
COPY configs ./configs
RUN /opt/ldx/bin/pip install --constraint constraints.txt ".[server,dicom-sr,dicom-codecs]"

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin ldx
COPY --from=build /opt/ldx /opt/ldx
COPY weights/ceph.ldx /models/ceph.ldx
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp/matplotlib HOME=/tmp
USER 10001
WORKDIR /tmp
EXPOSE 8710
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s --retries=3 CMD ["/opt/ldx/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8710/v1/health', timeout=8)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/ldx/bin/ldx", "serve", "--host", "0.0.0.0", "--port", "8710"]
CMD ["--model", "/models/ceph.ldx"]
