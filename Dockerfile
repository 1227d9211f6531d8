# One image for the API, the worker, the sweep and every command of `postroom`; and, as a second target, Flower beside it.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements/image.txt requirements/build.txt requirements/
RUN python -m venv --without-pip /opt/postroom \
 && pip --python /opt/postroom install --require-hashes --no-deps --only-binary :all: -r requirements/image.txt \
 && pip install --require-hashes --no-deps --only-binary :all: -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /build/wheels . \
 && pip --python /opt/postroom install --no-deps --no-index /build/wheels/*.whl

FROM build AS build-flower
COPY requirements/flower.txt requirements/
RUN pip --python /opt/postroom install --require-hashes --no-deps --only-binary :all: -r requirements/flower.txt

FROM python:3.13-slim AS base
# tini reaps what is left over, and hands SIGTERM to the parent process alone: a worker's parent finishes or hands back.
RUN apt-get update \
 && apt-get install -y --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin postroom
# Within a container only its networks reach it; without a key the API answers nothing but whether it is alive.
ENV PATH=/opt/postroom/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 POSTROOM_HOST=0.0.0.0
WORKDIR /tmp
USER 10001:10001

FROM base AS flower
COPY --from=build-flower /opt/postroom /opt/postroom
COPY stack/flower/flowerconfig.py stack/flower/healthy.py /opt/postroom/share/
EXPOSE 5555
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --start-interval=1s \
  CMD ["python", "-I", "-S", "/opt/postroom/share/healthy.py"]
ENTRYPOINT ["tini", "--", "celery", "flower", "--conf=/opt/postroom/share/flowerconfig.py"]

FROM base AS postroom
COPY --from=build /opt/postroom /opt/postroom
COPY stack/image/healthy.py /opt/postroom/share/
EXPOSE 8022
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s \
  CMD ["python", "-I", "-S", "/opt/postroom/share/healthy.py"]
ENTRYPOINT ["tini", "--", "postroom"]
CMD ["serve"]
