# faceworker in two stages, by the very steps that `make build` runs.
#
#   docker build -t faceworker .
#   docker run --rm -v "$PWD/faceworker.json:/etc/faceworker/faceworker.json:ro" \
#       -v faceworker-state:/var/lib/faceworker --network host faceworker
FROM debian:12-slim AS build
SHELL ["/bin/sh", "-eu", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends make && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN make build BUILD=build/image PREFIX=/usr && \
    DESTDIR=/image meson install -C build/image --no-rebuild

FROM debian:12-slim
# What the program loads: FFmpeg, curl, libmicrohttpd, FreeType with a font, OpenCV's dnn and objdetect
# with the face cascade.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates curl fonts-dejavu-core opencv-data libavdevice59 libavformat59 libavcodec59 \
        libavutil57 libswscale6 libcurl4 libmicrohttpd12 libglib2.0-0 tzdata libjansson4 libfreetype6 libjpeg62-turbo \
        libssl3 librabbitmq4 libhiredis0.14 libmosquitto1 libsqlite3-0 libopencv-core406 libopencv-imgproc406 libopencv-dnn406 libopencv-objdetect406 && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --system --uid 10001 --create-home --home-dir /var/lib/faceworker faceworker
COPY --from=build /image/ /
USER 10001
ENV XDG_STATE_HOME=/var/lib/faceworker/state XDG_CACHE_HOME=/var/lib/faceworker/cache
WORKDIR /var/lib/faceworker
VOLUME /var/lib/faceworker
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s CMD ["curl", "-fsS", "http://127.0.0.1:8080/healthz"]
ENTRYPOINT ["faceworker"]
CMD ["run"]
