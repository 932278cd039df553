# Splatcast as a container, and as a head or worker of a Ray cluster (kubernetes/):
#
#   docker build --target cpu --tag splatcast:cpu .       embedded engine, no torch
#   docker build --target gpu --tag splatcast:gpu .       Depth Anything 3; torch's wheels bring CUDA, the machine must have the driver
#   docker run --rm --publish 127.0.0.1:8000:8000 --shm-size 1g splatcast:cpu
#
# --shm-size: Ray's object store is in shared memory, of which a container has 64 MB by default.

ARG PYTHON=3.11

# The wheel, with the viewer in it. Node comes from PyPI, as everywhere else; none of it is in the images below.
FROM python:${PYTHON}-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml hatch_build.py README.md LICENSE serve.env serve_config.yaml serve_config.cpu.yaml ./
COPY web web
COPY deployments deployments
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM python:${PYTHON}-slim-bookworm AS runtime
# wget: KubeRay's readiness probe calls it. Python's own prefix, not a virtual environment: KubeRay's commands need ray on any PATH.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends wget \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home splatcast \
 && install --directory --owner 1000 --group 1000 /models /var/cache/numba
# Compiled kernels: filled below, and writable by the user, because another kind of CPU needs its own.
ENV NUMBA_CACHE_DIR=/var/cache/numba
# Mount a volume here, and no replica downloads weights when it starts.
ENV HF_HOME=/models
RUN --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=bind,from=wheel,source=/dist,target=/dist \
    pip install --no-cache-dir --constraint /tmp/constraints.txt /dist/*.whl \
 && python -m deployments.ops.prepare \
 && chown --recursive 1000:1000 /var/cache/numba
WORKDIR /home/splatcast
COPY serve.env serve_config.yaml serve_config.cpu.yaml ./
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=3m CMD ["wget", "--quiet", "--output-document=/dev/null", "http://127.0.0.1:8000/healthz"]

FROM runtime AS gpu
# Like `make install-da3`: with its declared dependencies the package pulls in 7.5 GB and numpy 1; all it needs is the extra da3-minimal.
RUN --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=bind,from=wheel,source=/dist,target=/dist \
    pip install --no-cache-dir --constraint /tmp/constraints.txt "$(echo /dist/*.whl)[da3-minimal]" \
 && pip install --no-cache-dir --no-deps --ignore-requires-python depth-anything-3==0.1.1 evo==1.38.1
# For torch.compile: Triton builds its launchers with a C compiler. Without one the network runs uncompiled, a quarter slower.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
# What the NVIDIA container runtime lets in.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# A number, because Kubernetes can't tell whether a name is root.
USER 1000:1000
CMD ["splatcast", "--profile", "gpu", "--host", "0.0.0.0"]

FROM runtime AS cpu
USER 1000:1000
CMD ["splatcast", "--profile", "cpu", "--host", "0.0.0.0"]
