# The image of Coffer. Two targets:
#   production         the service and what it needs
#   (the last, tests)  the same with the tests and what they need: docker compose exec web pipenv run pytest
# It builds with and without BuildKit. PIPENV_PYPI_MIRROR names another index; every file is checked by its hash.

ARG PYTHON_TAG=3.13-slim

# ---- What all stages share: the user, the folder, the environment -------------------------------------------------
FROM python:${PYTHON_TAG} AS base
LABEL org.opencontainers.image.title="Coffer" \
      org.opencontainers.image.description="A self-hosted wallet service: balances, operations, an event log" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --system --gid 10001 coffer \
 && useradd --system --uid 10001 --gid coffer --home-dir /tmp --no-create-home --shell /usr/sbin/nologin coffer
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIPENV_VENV_IN_PROJECT=1 \
    PIPENV_NOSPIN=1
WORKDIR /app

# ---- The locked packages, installed where they will be used: an environment cannot be moved ------------------------
FROM base AS packages
ARG PIPENV_PYPI_MIRROR
COPY tools/pipenv-requirements.txt /pipenv/
RUN python -m venv /pipenv \
 && /pipenv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary=:all: \
      ${PIPENV_PYPI_MIRROR:+--index-url "$PIPENV_PYPI_MIRROR"} --requirement /pipenv/pipenv-requirements.txt
COPY Pipfile Pipfile.lock ./
RUN python -m venv --without-pip .venv \
 && /pipenv/bin/pipenv verify \
 && /pipenv/bin/pipenv sync --categories packages

# ---- The sources, readable whatever the rights in the working copy are ----------------------------------------------
FROM base AS sources
COPY WalletCore WalletCore
COPY RestAPI RestAPI
COPY NotificationWorker NotificationWorker
COPY coffer.py ./
RUN find . -name tests -type d -prune -exec rm -rf {} + \
 && chmod -R a+rX,go-w . && python -m compileall -q .

# ---- How it runs --------------------------------------------------------------------------------------------------
FROM base AS runtime
# The container's own network; what the outside sees of it is decided where it is published.
ENV COFFER_HOST=0.0.0.0 \
    COFFER_PORT=8000 \
    COFFER_DATA_DIR=/tmp/coffer
USER coffer
EXPOSE 8000
STOPSIGNAL SIGTERM
# Whether the process answers. Whether it can also work is asked at /health/ready: a lost database is no reason to
# replace the container.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-ISc", "import http.client as h, os; c = h.HTTPConnection('127.0.0.1', int(os.environ['COFFER_PORT']), timeout=4); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["python", "-m", "RestAPI", "server"]

# ---- Production ---------------------------------------------------------------------------------------------------
FROM runtime AS production
COPY --from=packages /app/.venv .venv
COPY --from=sources /app ./

# ---- With the tests: the rest of the packages and of the repository -------------------------------------------------
FROM packages AS packages-tests
RUN /pipenv/bin/pipenv sync --categories "packages dev-packages"

FROM base AS sources-tests
COPY . .
RUN chmod -R a+rX,go-w . && python -m compileall -q .

FROM runtime AS tests
COPY --from=packages-tests /app/.venv .venv
COPY --from=sources-tests /app ./
# The image is read-only: what pytest and its plugins keep goes to /tmp.
ENV HOME=/tmp \
    PIPENV_CACHE_DIR=/tmp/pipenv \
    PYTEST_ADDOPTS="-o cache_dir=/tmp/pytest_cache" \
    HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis
