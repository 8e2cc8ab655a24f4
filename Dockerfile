# Authpipe's server: API, worker and command in one image. No engine, no simulator, no state and no secret inside.
# The base is pinned by its tag alone; add the digest that your registry shows (`docker buildx imagetools inspect`).
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/authpipe
COPY requirements.lock ./
RUN /opt/authpipe/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE worker.py ./
COPY workflows workflows
COPY activities activities
COPY api api
COPY domain domain
COPY providers providers
COPY vault vault
COPY runtime runtime
COPY sdk/web sdk/web
# Compiled here, since nothing can be written where it runs.
RUN /opt/authpipe/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/authpipe/bin/python -m compileall -q /opt/authpipe/lib

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin authpipe \
    && install -d -o authpipe -g authpipe /var/lib/authpipe
COPY --from=build /opt/authpipe /opt/authpipe
ENV PATH=/opt/authpipe/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    AUTHPIPE_API_HOST=0.0.0.0 AUTHPIPE_DATA_DIR=/var/lib/authpipe
WORKDIR /var/lib/authpipe
USER 10001
EXPOSE 8080
# For the API, which is what the image runs by itself. A worker has no port: run it with the check switched off, as
# docker-compose.yml does; that one hangs is seen by what becomes overdue, in all workers together.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:%s/health/live' % os.environ.get('AUTHPIPE_API_PORT', '8080'), timeout=4)"]
CMD ["authpipe", "api"]
