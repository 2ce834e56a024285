"""The cluster that RAY_ADDRESS names: whether it answers, before Ray waits for it for a quarter of an hour."""

import os

VARIABLE = "RAY_ADDRESS"
PATIENCE_S = 6.0
_CLIENT = "ray://"
_HEAD_CALL = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_CLIENT_CALL = "/ray.rpc.RayletDriver/ClusterInfo"
_REMEDY = f"start the cluster, correct {VARIABLE}, or unset it to run on this machine"


def cluster_address() -> str:
    """Return the address of the cluster to join; empty to start Ray on this machine."""
    address = os.environ.get(VARIABLE, "")
    return "" if address == "local" else address


def unreachable() -> str:
    """Explain why the cluster that RAY_ADDRESS names cannot be joined; empty if it answers, or if none is named."""
    address = cluster_address()
    if not address:
        return ""
    try:
        endpoint = _endpoint(address)
    except OSError:
        return f"{VARIABLE}={address}: no Ray cluster runs on this machine -> {_REMEDY}"
    except ValueError:
        return f"{VARIABLE}={address}: not an address -> HOST:PORT, {_CLIENT}HOST:PORT or auto, or unset it"
    if not _answers(endpoint, _CLIENT_CALL if address.startswith(_CLIENT) else _HEAD_CALL):
        return f"{VARIABLE}={address}: no Ray cluster answers there -> {_REMEDY}"
    return ""


def _endpoint(address: str) -> str:
    """Return ``host:port`` of an address.

    Raises:
        ConnectionError: ``auto`` finds no cluster.
        ValueError: It is not an address.
    """
    if address == "auto":
        from ray._private.services import canonicalize_bootstrap_address_or_die

        address = str(canonicalize_bootstrap_address_or_die("auto"))
    endpoint = address.removeprefix(_CLIENT).partition("?")[0].rstrip("/")
    host, colon, port = endpoint.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 2**16) or "/" in host:
        raise ValueError(address)
    return endpoint


def _answers(endpoint: str, call: str) -> bool:
    """Whether a server of Ray answers a call without arguments; it may refuse the call."""
    import grpc
    from ray._private.grpc_utils import init_grpc_channel  # with Ray's own settings of TLS and tokens
    from ray.exceptions import AuthenticationError

    channel = init_grpc_channel(endpoint, [("grpc.enable_http_proxy", 0)])
    try:
        channel.unary_unary(call)(b"", timeout=PATIENCE_S)
    except grpc.RpcError as error:
        missing = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNIMPLEMENTED)
        return error.code() not in missing  # Ray's own refusals have other codes
    except AuthenticationError:  # no token on this machine, which Ray explains
        return True
    finally:
        channel.close()
    return True
