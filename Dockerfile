# One image for every process of ours; what each of them runs stands in docker-compose.yml and in deploy/kubernetes.
#
#     docker build --tag neostack .
#
# It runs as nobody in particular and with a read-only root: /tmp and /var/lib/neostack are all it writes in.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /app
# Apart from the code, so that a change of the code installs nothing again.
COPY requirements.txt ./
RUN pip install --requirement requirements.txt
COPY . .
# DEBUG stands in for the secrets that settings ask for; it is not part of the image.
RUN DEBUG=1 LOCAL_DIR=/tmp python manage.py collectstatic --no-input --verbosity=0 \
    && python -m compileall -q /app

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 neostack \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/neostack --shell /usr/sbin/nologin neostack \
    # A new volume takes its owner from what stands where it is mounted.
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/neostack /etc/centrifugo
COPY --from=build /venv /venv
COPY --from=build /app /app
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=neostack.settings \
    LOCAL_DIR=/var/lib/neostack
WORKDIR /app
USER 10001:10001
VOLUME ["/var/lib/neostack"]
EXPOSE 8000 9100
# For web; the others have their own in docker-compose.yml.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "scripts/is_well.py", "8000"]
CMD ["python", "-m", "uvicorn", "neostack.asgi:application", "--host", "0.0.0.0", "--port", "8000", \
     "--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "3", \
     "--ws-per-message-deflate", "false", "--ws-max-size", "65536"]
