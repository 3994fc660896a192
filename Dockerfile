# Airflow with customer360 and everything in requirements.lock; the project itself is mounted over
# the copy that is built in, so that a change of a DAG or of configuration needs no new image.
FROM python:3.12-slim

ENV UV_PYTHON_DOWNLOADS=never \
    DO_NOT_TRACK=1 \
    GX_ANALYTICS_ENABLED=false \
    PATH=/opt/venv/bin:$PATH

# Group 0 may do what the owner may: the containers run as AIRFLOW_UID, whoever that is, in group 0.
RUN useradd --create-home --uid 50000 --gid 0 customer360 \
    && mkdir -p /srv/customer360/data /srv/customer360/logs /srv/customer360/private \
    && chown -R 50000:0 /srv/customer360 \
    && chmod -R u=rwX,g=u,o= /srv/customer360

WORKDIR /opt/customer360
COPY requirements.lock ./
RUN python -m venv /opt/venv \
    && pip install --no-cache-dir uv==0.13.9 \
    && uv pip install --no-cache --require-hashes --compile-bytecode -r requirements.lock

COPY . ./
RUN uv pip install --no-cache --no-deps --no-build-isolation -e .

USER customer360
