"""nginx as the topology's proxy: the routes of neostack/production.py, TLS, WebSockets; and a certificate for it.

Two doors. The outer one is what Traefik is in production. The inner one stands for the service addresses that compose
and Kubernetes give to several containers of one kind: http://web:8000, http://gate:8002 and http://centrifugo:9001.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from neostack import production

CONFIG = """
# One process, so that its pid is all of it.
daemon off;
master_process off;
pid nginx.pid;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxied;
    fastcgi_temp_path unused;
    uwsgi_temp_path unused;
    scgi_temp_path unused;

    # A copy that refuses connections is left alone for a second; the next request goes to the other one at once.
    upstream web {{ server 127.0.0.1:{web} fail_timeout=1s; server 127.0.0.1:{web2} fail_timeout=1s; keepalive 16; }}
    upstream gate {{ server 127.0.0.1:{gate} fail_timeout=1s; server 127.0.0.1:{gate2} fail_timeout=1s; keepalive 16; }}
    upstream centrifugo {{
        least_conn;
        server 127.0.0.1:{engine} fail_timeout=1s;
        server 127.0.0.1:{engine2} fail_timeout=1s;
    }}
    upstream centrifugo-inside {{
        server 127.0.0.1:{api} fail_timeout=1s;
        server 127.0.0.1:{api2} fail_timeout=1s;
        keepalive 16;
    }}

    map $http_upgrade $connection_header {{ default upgrade; "" ""; }}
    proxy_http_version 1.1;
    proxy_connect_timeout 2s;
    proxy_set_header Host $http_host;
    proxy_set_header Connection $connection_header;
    proxy_set_header Upgrade $http_upgrade;
    # Set, not added to: what a client says of itself is not believed.
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host "";
    proxy_set_header Forwarded "";

    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate certificate.pem;
        ssl_certificate_key key.pem;
        client_max_body_size {body_limit};
{closed}
{routes}
    }}

    server {{
        listen 127.0.0.1:{inside};
        client_max_body_size 64m;
        proxy_set_header X-Forwarded-For "";
        proxy_set_header X-Forwarded-Proto "";
        location / {{ proxy_pass http://web; }}
        location = /api/realtime/connect {{ proxy_pass http://gate; }}
        location = /api/realtime/drain {{ proxy_pass http://gate; }}
        location /engine/api {{ proxy_pass http://centrifugo-inside; proxy_buffering off; }}
    }}
}}
"""
#: A connection lives as long as its pings are answered, which are the engine's business: 25 s apart.
ROUTE = "        location {prefix} {{ proxy_pass http://{service}; proxy_read_timeout 90s; proxy_buffering off; }}"


def nginx_config(home: Path, port: int, ports: Mapping[str, int]) -> str:
    """`ports` are those of web, web2, gate, gate2, engine, engine2, api, api2, and of the inner door (inside)."""
    return CONFIG.format(
        port=port,
        body_limit=production.BODY_LIMIT_BYTES,
        closed="\n".join(f"        location = {path} {{ return 404; }}" for path in production.INSIDE_ONLY),
        routes="\n".join(ROUTE.format(prefix=prefix, service=service) for prefix, service in production.ROUTES.items()),
        **ports,
    )


def write_certificate(home: Path) -> None:
    """certificate.pem and key.pem: for localhost, signed by itself, for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (home / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (home / "key.pem").write_bytes(plain)
