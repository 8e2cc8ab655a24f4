# Authpipe's server: API, worker and command in one image. No engine, no simulator's state, no secrets inside.
FROM python:3.11-slim AS build
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
COPY simulator simulator
RUN /opt/authpipe/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home authpipe
COPY --from=build /opt/authpipe /opt/authpipe
ENV PATH=/opt/authpipe/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER authpipe
EXPOSE 8080
CMD ["authpipe", "api"]
