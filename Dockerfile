# The course in a container: PyTorch for the CPU, JupyterLab, an ordinary user. docs/guides/handing_out.md has recipes.
#
#   docker build -t birefnet-lite .
#   docker run --rm -p 127.0.0.1:8888:8888 birefnet-lite
FROM python:3.12-slim-bookworm

# From PyTorch's own index, whose builds for Linux are without CUDA: some 3 GB less than those of PyPI.
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "torch>=2.6" "torchvision>=0.21"

COPY pyproject.toml README.md LICENSE /tmp/source/
COPY birefnet_lite /tmp/source/birefnet_lite
COPY widgets /tmp/source/widgets
RUN pip install --no-cache-dir /tmp/source

# For a hub: --build-arg HUB="jupyterhub==VERSION nbgitpuller", with the hub's version.
ARG HUB=""
# hadolint ignore=DL3008,DL3013,SC2086
RUN if [ -n "$HUB" ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends git \
        && rm -rf /var/lib/apt/lists/* \
        && pip install --no-cache-dir $HUB; \
    fi

RUN useradd --create-home --uid 1000 learner \
    && install --directory --owner learner --group learner /home/learner/course
USER 1000
WORKDIR /home/learner/course
COPY --chown=learner:learner notebooks/README.md notebooks/*.ipynb notebooks/
COPY --chown=learner:learner notebooks/solutions notebooks/solutions

EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", \
     "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"]
