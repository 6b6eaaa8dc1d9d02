# The registry without a NATS server: see docker-compose.yml.

FROM rust:1.95.0-trixie AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin onex

FROM debian:13.5-slim
# For servers that are reached through TLS; the slim image has none.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/onex /usr/local/bin/onex
# A number, so that it can be seen from outside not to be root.
USER 10001:10001
ENTRYPOINT ["onex"]
CMD ["serve", "--help"]
