"""The ranker behind gRPC: TF Serving's API, whichever process speaks it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from numpy.typing import NDArray

from domain.errors import ContractError, DependencyError, DependencyTimeout, Unavailable
from serving.gateway.adapters import predict_messages as messages
from serving.gateway.adapters.breaker import Breaker

DEPENDENCY = "ranker"
FAILURES_TO_OPEN = 5
"""More than two decisions ask for at once: a hiccup of the server costs those under way their ranking, and no more."""
OPEN_S = 0.25

# A server that is away is a refused call, at once: the request falls back, and the next one tries anew. Channels would
# otherwise wait up to two minutes between attempts, and retry calls on their own.
_CHANNEL_OPTIONS = [
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
]
# The server understood the call and refused it: sending it again cannot help.
_OUR_FAULT = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNIMPLEMENTED,
)


class _NotServed(Unavailable):
    """The server is there, the model or that version of it is not."""


def _reader(message: Any) -> Callable[[bytes | None], Any]:
    """Calls that end as their deadline passes may end well, and without a message: gRPC gives None then, for garbage, too."""
    return lambda serialized: None if serialized is None else message.FromString(serialized)


class ModelClient:
    """One connection to a model server, made on the first call inside a running event loop."""

    def __init__(self, target: str, model: str = "ranker") -> None:
        """`target` is host:port of the gRPC API."""
        self.target = target
        self.model = model
        self._breaker = Breaker(DEPENDENCY, FAILURES_TO_OPEN, OPEN_S)
        self._channel: Any = None
        self._predict: Any = None
        self._status: Any = None

    def _connect(self) -> None:
        self._channel = grpc.aio.insecure_channel(self.target, options=_CHANNEL_OPTIONS)
        self._predict = self._channel.unary_unary(
            messages.PREDICT,
            request_serializer=messages.PredictRequest.SerializeToString,
            response_deserializer=_reader(messages.PredictResponse),
        )
        self._status = self._channel.unary_unary(
            messages.GET_MODEL_STATUS,
            request_serializer=messages.GetModelStatusRequest.SerializeToString,
            response_deserializer=_reader(messages.GetModelStatusResponse),
        )

    async def _answer(self, call: Awaitable[Any], timeout_s: float) -> Any:
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            code, detail = error.code(), error.details() or error.code().name
        else:
            if answer is None:
                raise Unavailable(DEPENDENCY, f"{self.target}: a call ended without an answer that can be read")
            return answer
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise DependencyTimeout(DEPENDENCY, f"no answer from {self.target} within {timeout_s * 1000:.0f} ms")
        if code in _OUR_FAULT:
            raise ContractError(f"the model server at {self.target} refused the call: {detail}")
        kind = _NotServed if code is grpc.StatusCode.NOT_FOUND else Unavailable
        raise kind(DEPENDENCY, f"{self.target}: {detail}")

    async def predict(
        self, signature: str, version: int | None, inputs: Mapping[str, NDArray[Any]], timeout_s: float
    ) -> dict[str, NDArray[Any]]:
        """Runs one signature of one version, the newest when `version` is None.

        Args:
          inputs: name -> array, of exactly the signature's dtypes: nothing is cast on the way.
          timeout_s: for the whole call, connecting included.
        Raises:
          DependencyTimeout: no answer in time.
          Unavailable: no connection, that version is not served, or the last calls failed and this one was not made.
          ContractError: the server refused the inputs or the signature, or answered for another version.
        """
        self._breaker.check()
        request = messages.predict_request(self.model, version, signature, inputs)
        if self._channel is None:
            self._connect()
        try:
            response = await self._answer(self._predict(request, timeout=timeout_s), timeout_s)
        except (DependencyError, ContractError) as e:
            self._breaker.record(ok=isinstance(e, ContractError | _NotServed))  # these are answers
            raise
        self._breaker.record(ok=True)
        served = response.model_spec.version.value
        if version is not None and served != version:
            raise ContractError(f"asked {self.target} for version {version}, version {served} answered")
        return {name: messages.decode_tensor(tensor) for name, tensor in response.outputs.items()}

    async def available_versions(self, timeout_s: float) -> list[int]:
        """Versions that answer now, oldest first; empty while the server waits for the first.

        Raises:
          DependencyTimeout, Unavailable: as `predict`.
        """
        request = messages.GetModelStatusRequest()
        request.model_spec.name = self.model
        if self._channel is None:
            self._connect()
        try:
            response = await self._answer(self._status(request, timeout=timeout_s), timeout_s)
        except _NotServed:
            return []
        return sorted(s.version for s in response.model_version_status if s.state == messages.AVAILABLE)

    async def close(self) -> None:
        """Ends the connection; calls under way are cancelled."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()
