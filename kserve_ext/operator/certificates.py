"""The webhook's certificate: made by the operator, kept in a Secret, renewed before it expires.

The authority's key is thrown away once it has signed; a renewal makes a new authority and keeps the old one in the
bundle, so that nothing is refused while the API server still has it.
"""

from __future__ import annotations

import base64
import datetime
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.objects import Ref

log = logging.getLogger(__name__)

SECRET = "kserve-ext-webhook-tls"
_DAYS, _RENEW_DAYS = 365, 60
_COMMON_NAME = "kserve-ext-webhook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """PEM texts. `authorities` is what the API server is told to trust."""

    authorities: str
    certificate: str
    key: str


def issue(names: Sequence[str], now: datetime.datetime, older: str = "") -> Certificate:
    """A new certificate for these DNS names, signed by a new authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def built(name: str, issuer: x509.Name, public: Any, *, authority: bool) -> x509.CertificateBuilder:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=_DAYS))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )  # fmt: skip

    signer, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{_COMMON_NAME}-authority")])
    root = built(f"{_COMMON_NAME}-authority", issuer, signer.public_key(), authority=True).sign(signer, hashes.SHA256())
    leaf = (
        built(_COMMON_NAME, issuer, own.public_key(), authority=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Certificate(authorities=root.public_bytes(pem).decode() + older,
                       certificate=leaf.public_bytes(pem).decode(), key=key.decode())  # fmt: skip


def is_due(certificate: Certificate, now: datetime.datetime) -> bool:
    """Whether it is time for a new one."""
    from cryptography import x509

    found = x509.load_pem_x509_certificate(certificate.certificate.encode())
    return found.not_valid_after_utc - now < datetime.timedelta(days=_RENEW_DAYS)


def read_certificate(cluster: Cluster, namespace: str) -> Certificate | None:
    """The certificate in the Secret, if there is a whole one."""
    data = (cluster.get(_secret(namespace)) or {}).get("data") or {}
    if not all(data.get(key) for key in ("ca.crt", "tls.crt", "tls.key")):
        return None
    ca, certificate, key = (base64.b64decode(data[key]).decode() for key in ("ca.crt", "tls.crt", "tls.key"))
    return Certificate(authorities=ca, certificate=certificate, key=key)


def renewed(cluster: Cluster, namespace: str, service: str, now: datetime.datetime) -> Certificate:
    """The certificate of the Secret; a new one, written there, where there is none or it is due. Only the leader asks."""
    found = read_certificate(cluster, namespace)
    if found is not None and not is_due(found, now):
        return found
    names = [f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local"]
    fresh = issue(names, now, older=_first(found.authorities) if found else "")
    log.info("a new certificate for %s", names[0])
    data = {"ca.crt": fresh.authorities, "tls.crt": fresh.certificate, "tls.key": fresh.key}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    metadata = {"name": SECRET, "namespace": namespace}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": encoded}
    cluster.apply(secret, force=True)
    return fresh


def trust(cluster: Cluster, configuration: str, authorities: str) -> None:
    """Tell the API server's webhook configurations whom to trust."""
    encoded = base64.b64encode(authorities.encode()).decode()
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        ref = Ref(api_version="admissionregistration.k8s.io/v1", kind=kind, namespace="", name=configuration)
        found = cluster.get(ref)
        if found is None:
            log.warning("there is no %s %s: nothing is asked of this operator at admission", kind, configuration)
            continue
        webhooks = [_trusting(one, encoded) for one in found.get("webhooks") or []]
        if webhooks != found.get("webhooks"):
            cluster.merge(
                ref, {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "webhooks": webhooks}
            )


def _trusting(webhook: Mapping[str, Any], encoded: str) -> dict[str, Any]:
    return {**webhook, "clientConfig": {**webhook["clientConfig"], "caBundle": encoded}}


def _first(bundle: str) -> str:
    """The newest authority of a bundle."""
    end = "-----END CERTIFICATE-----\n"
    return bundle[: bundle.index(end) + len(end)] if end in bundle else ""


def _secret(namespace: str) -> Ref:
    return Ref(api_version="v1", kind="Secret", namespace=namespace, name=SECRET)
