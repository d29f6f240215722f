# The image of every pod that KubeRay starts: docker build -t REGISTRY/irnet-ray:VERSION . && docker push ...
# CUDA comes with torch, and the driver comes with the node.
FROM python:3.11.14-slim-bookworm AS build

# The dense CRF is compiled; the C++ compiler stays in this stage.
RUN apt-get update && apt-get install --no-install-recommends -y g++ && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build

# Dependencies come first: this layer of gigabytes is rebuilt only when one of these two files changes.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*p['dependencies'], *p['optional-dependencies']['lite'], sep='\n')" > requirements.txt \
    && pip install -c constraints.txt -r requirements.txt hatchling
COPY README.md LICENSE ./
COPY irnet_ray irnet_ray
RUN pip install --no-deps --no-build-isolation . && pip uninstall -y hatchling


FROM python:3.11.14-slim-bookworm

# KubeRay probes its pods with wget. On a GPU, Triton compiles the code that starts the walk's kernel.
RUN apt-get update && apt-get install --no-install-recommends -y gcc libc6-dev wget && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home ray
COPY --from=build /opt/venv /opt/venv
COPY jobs/create_rayjob.py /opt/irnet-ray/
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_DATA_DISABLE_PROGRESS_BARS=1
# A number, so that Kubernetes can see that the user is not root.
USER 1000
WORKDIR /home/ray
CMD ["irnet-ray", "--help"]
