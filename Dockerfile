# One image for the API (its default command), the provisioner and the one-shot `migrate`.

FROM python:3.13-slim AS build
WORKDIR /app
COPY ops/uv.txt requirements.lock pyproject.toml ./
# The lock also holds the tools of development and the embedded server. It constrains here instead of being
# installed as it is: only what the application itself depends on comes in, in the locked versions, and uv
# checks the hashes of constraints just the same.
RUN pip install --no-cache-dir --root-user-action ignore --require-hashes --requirement uv.txt \
 && uv venv /opt/venv \
 && uv pip install --no-cache --python /opt/venv/bin/python --compile-bytecode --only-binary :all: \
      --constraint requirements.lock --requirement pyproject.toml
COPY README.md LICENSE* ./
COPY api api
COPY db db
COPY provisioner provisioner
# Editable, as in development: the code, alembic.ini and alembic/ stay side by side in /app.
RUN uv pip install --no-cache --python /opt/venv/bin/python --no-deps \
      --build-constraints requirements.lock --editable . \
 && python -m compileall -q /app/api /app/db /app/provisioner

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin tenantry
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
COPY alembic.ini /app/
COPY alembic /app/alembic
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LITESTAR_APP=api.app:create_app
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["granian", "--interface", "asgi", "--factory", "--no-ws", "--host", "0.0.0.0", "--port", "8000", \
     "--respawn-failed-workers", "--workers-kill-timeout", "10", "api.app:create_app"]
