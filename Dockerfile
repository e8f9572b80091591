# Three images from one file; see README, "Containers".
#   docker build --target web  -t text-to-image-studio:web .    the web app, without PyTorch
#   docker build --target cpu  -t text-to-image-studio:cpu .    an executor on CPUs
#   docker build --target cuda -t text-to-image-studio:cuda .   an executor on NVIDIA GPUs (the driver is the host's)
# Each runs its process under the starter, which starts it again where it dies or hangs: neither Docker nor compose
# restarts a container for being unhealthy. Health checks are for those who look.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS base
# As start.sh has it: threads that wait sleep, since executors and web app share the cores.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=PASSIVE
RUN useradd --uid 1000 --create-home studio
WORKDIR /studio
# Named volumes take the owner of the folder they cover.
RUN install --directory --owner=studio --group=studio data data/checkpoints
VOLUME /studio/data

FROM base AS packages
RUN python3 -m venv /opt/venv
COPY requirements-web.lock ./
# --no-deps: some of these ask for PyTorch, which the web app does without.
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements-web.lock

# PyTorch's builds for CPUs are not on PyPI: the versions are those of the lock, the hashes are not in it.
FROM packages AS packages-cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements.lock ./
# hadolint ignore=SC2046
RUN pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" \
    $(grep -oE '^(torch|torchvision)==[^ ]+' requirements.lock)

FROM packages AS packages-cuda
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock

FROM base AS cuda
COPY --from=packages-cuda /opt/venv /opt/venv
COPY . .
USER 1000
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s CMD ["python", "-m", "starter", "health"]
CMD ["python", "-m", "starter", "executor", "--device", "cuda"]

FROM base AS cpu
COPY --from=packages-cpu /opt/venv /opt/venv
COPY . .
USER 1000
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s CMD ["python", "-m", "starter", "health"]
CMD ["python", "-m", "starter", "executor", "--device", "cpu"]

FROM base AS web
COPY --from=packages /opt/venv /opt/venv
COPY . .
USER 1000
EXPOSE 8501
# The pages and the API. Not /readyz: a database that is away for a while is no reason to start this anew.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; \
[u.urlopen('http://127.0.0.1:8501' + p, timeout=2) for p in ('/_stcore/health', '/healthz')]"]
CMD ["python", "-m", "starter", "web", "--port", "8501", "--host", "0.0.0.0"]
