# The HTTP service and the other commands. docker build --tag greenlight . && docker run --env SUPABASE_URL --env SUPABASE_PUBLISHABLE_KEY greenlight
# Python 3.13.14. Dependabot proposes newer ones.
FROM python:3.13-slim@sha256:9662417aace5ae7b8e2609cce472b72a8958e134ba372808abe9cc1a0c0125e6

WORKDIR /app
ENV PYTHONPATH=/app/service PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=8000

COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements.lock

# Run from its source: building a wheel would fetch the build backend without a hash.
COPY service service
COPY supabase/migrations supabase/migrations
COPY supabase/uninstall.sql supabase/
RUN python -m compileall -q service

# Not root; the number lets a platform verify it.
USER 65534:65534
EXPOSE 8000
HEALTHCHECK CMD ["python", "-m", "greenlight.healthcheck"]
# No init in front: nothing but `greenlight build` starts processes, and that one waits for those that lose their parent.
# An init would keep the secret key in an environment that the builds can read.
ENTRYPOINT ["python", "-m", "greenlight"]
CMD ["serve"]
