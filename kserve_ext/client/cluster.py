"""Looks up an InferenceService in the cluster that the environment or kubeconfig names. Needs the extra `cluster`."""

from __future__ import annotations

import os

from kserve_ext.client.endpoint import ServiceName, service_url
from kserve_ext.cluster.collect import find_service
from kserve_ext.cluster.connection import IN_POD, Where, connect
from kserve_ext.errors import UnreachableError


def find_url(service: ServiceName) -> str:
    """The URL of the service. Raises InputError, UnreachableError or MissingExtraError."""
    try:
        cluster = connect(Where(namespace=service.namespace))
    except UnreachableError as error:
        what = f"no cluster to look up InferenceService {service.name} in: {error}"
        raise UnreachableError(what, remedy="give an address such as http://host:port, or set KUBECONFIG") from error
    return service_url(find_service(cluster, service.name, cluster.namespace), inside=IN_POD in os.environ)
