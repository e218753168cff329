"""What users do with the clients of the Open Inference Protocol, each checked against golden answers.

A scenario speaks to one port with one client, so that its bytes can be recorded. `test_clients.py` runs them all,
`record.py` writes down what passes between client and server for the tests that have no clients.
"""

from __future__ import annotations

import asyncio
import inspect
import queue
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from golden import SERVED, case, same


@dataclass
class Scenario:
    """A use of a client."""

    name: str
    protocol: str
    run: Callable[[str], Any]
    # Whether its answers are the same each time: not so for what counts requests or tells versions.
    steady: bool = True


ALL: list[Scenario] = []


def scenario(protocol: str, steady: bool = True) -> Callable[[Callable[[str], Any]], Callable[[str], Any]]:
    """Adds a function of an address to the scenarios."""

    def add(function: Callable[[str], Any]) -> Callable[[str], Any]:
        def run(address: str) -> None:
            result = function(address)
            if inspect.iscoroutine(result):
                asyncio.run(result)

        ALL.append(Scenario(function.__name__, protocol, run, steady))
        return function

    return add


def tensor(library: Any, name: str, values: np.ndarray, **options: Any) -> Any:
    """An input of tritonclient's."""
    datatype = {"O": "BYTES", "f": f"FP{8 * values.itemsize}", "i": f"INT{8 * values.itemsize}"}[values.dtype.kind]
    made = library.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, **options)
    return made


def table(library: Any, **options: Any) -> list[Any]:
    """The inputs of the golden table."""
    return [tensor(library, name, values, **options) for name, values in case("logistic_two").columns.items()]


def check_table(result: Any, outputs: tuple[str, ...] = ("predict", "predict_proba")) -> None:
    """The answers to the golden table."""
    answers = case("logistic_two").answers
    assert all(same(result.as_numpy(name), answers[name]) for name in outputs)


def matrix(library: Any, **options: Any) -> Any:
    """The input of the golden matrix."""
    return tensor(library, "input", case("linear_regression").matrix, **options)


def check_matrix(result: Any) -> None:
    """The answer to the golden matrix."""
    assert same(result.as_numpy("predict"), case("linear_regression").answers["predict"])


def refused(error: type[Exception], call: Callable[[], Any], *words: str) -> Exception:
    """The error of a call that must fail with a sentence that has these words."""
    try:
        call()
    except error as caught:
        assert all(word in str(caught) for word in words), str(caught)
        return caught
    raise AssertionError(f"wasn't refused: {words}")


# tritonclient over HTTP


def _triton_http(address: str, **options: Any) -> Any:
    import tritonclient.http as http

    return http, http.InferenceServerClient(address, **options)


@scenario("http")
def triton_http_state(address: str) -> None:
    _, client = _triton_http(address)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("logistic_two", "1")
    assert not client.is_model_ready("gone") and not client.is_model_ready("logistic_two", "2")
    tensors = client.get_model_metadata("logistic_two")
    assert {t["name"]: t["datatype"] for t in tensors["inputs"]}["city"] == "BYTES"
    assert tensors["versions"] == ["1"] and tensors["outputs"][1]["shape"] == [-1, 2]
    config = client.get_model_config("linear_regression", "1")
    assert config["input"][0] == {"name": "input", "data_type": "TYPE_FP64", "dims": [-1, 2]}
    index = client.get_model_repository_index()
    assert {m["name"] for m in index} == set(SERVED) and all(m["state"] == "READY" for m in index)


@scenario("http", steady=False)
def triton_http_counts(address: str) -> None:
    _, client = _triton_http(address)
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    stats = client.get_inference_statistics("linear_regression")["model_stats"][0]
    assert stats["version"] == "1" and stats["inference_stats"]["success"]["count"] == stats["execution_count"]
    assert len(client.get_inference_statistics()["model_stats"]) == len(SERVED)


def _infer_http(address: str, bytes_in: bool, bytes_out: bool) -> None:
    http, client = _triton_http(address)
    outputs = [http.InferRequestedOutput(n, binary_data=bytes_out) for n in ("predict_proba", "predict")]
    result = client.infer("logistic_two", table(http, binary_data=bytes_in), outputs=outputs, request_id="id 7")
    check_table(result)
    assert result.get_response()["id"] == "id 7" and result.get_response()["model_version"] == "1"
    check_matrix(client.infer("linear_regression", [matrix(http, binary_data=bytes_in)], "1"))


@scenario("http")
def triton_http_bytes_in_bytes_out(address: str) -> None:
    _infer_http(address, True, True)


@scenario("http")
def triton_http_bytes_in_json_out(address: str) -> None:
    _infer_http(address, True, False)


@scenario("http")
def triton_http_json_in_bytes_out(address: str) -> None:
    _infer_http(address, False, True)


@scenario("http")
def triton_http_json_in_json_out(address: str) -> None:
    _infer_http(address, False, False)


@scenario("http")
def triton_http_compressed(address: str) -> None:
    http, client = _triton_http(address)
    for packing in ("gzip", "deflate"):
        options = {"request_compression_algorithm": packing, "response_compression_algorithm": packing}
        check_table(client.infer("logistic_two", table(http), **options))
        check_matrix(client.infer("linear_regression", [matrix(http, binary_data=False)], **options))


@scenario("http")
def triton_http_parameters(address: str) -> None:
    http, client = _triton_http(address)
    options = {"priority": 1, "timeout": 50_000_000, "sequence_id": 0, "parameters": {"note": "x"}}
    check_matrix(client.infer("linear_regression", [matrix(http)], headers={"X-Request-Id": "abc"}, **options))


@scenario("http")
def triton_http_narrow_types(address: str) -> None:
    http, client = _triton_http(address)
    columns = case("logistic_two").columns
    inputs = [tensor(http, name, values) for name, values in columns.items() if name != "count"]
    inputs.append(tensor(http, "count", columns["count"].astype(np.int32)))
    check_table(client.infer("logistic_two", inputs))


@scenario("http")
def triton_http_no_rows(address: str) -> None:
    http, client = _triton_http(address)
    result = client.infer("linear_regression", [tensor(http, "input", np.zeros((0, 2)))])
    assert result.as_numpy("predict").shape == (0, 2)


@scenario("http")
def triton_http_in_turn(address: str) -> None:
    http, client = _triton_http(address, concurrency=1)
    waiting = [client.async_infer("linear_regression", [matrix(http)], request_id=str(i)) for i in range(3)]
    for i, one in enumerate(waiting):
        result = one.get_result()
        check_matrix(result)
        assert result.get_response()["id"] == str(i)


@scenario("http")
def triton_http_repository(address: str) -> None:
    http, client = _triton_http(address)
    client.unload_model("tree_of_classes")
    assert not client.is_model_ready("tree_of_classes")
    states = {m["name"]: m["state"] for m in client.get_model_repository_index()}
    assert states["tree_of_classes"] == "UNAVAILABLE"
    refused(http.InferenceServerException, lambda: client.get_model_metadata("tree_of_classes"), "503", "isn't loaded")
    client.load_model("tree_of_classes")
    assert client.is_model_ready("tree_of_classes")
    refused(http.InferenceServerException, lambda: client.load_model("gone"), "404", "gone")
    refused(http.InferenceServerException, lambda: client.load_model("tree_of_classes", config="{}"), "'config'")


@scenario("http")
def triton_http_refusals(address: str) -> None:
    http, client = _triton_http(address)
    error = http.InferenceServerException
    refused(error, lambda: client.infer("gone", [matrix(http)]), "404", "gone")
    refused(error, lambda: client.infer("linear_regression", [matrix(http)], "9"), "404", "9")
    refused(error, lambda: client.infer("logistic_two", table(http)[:2]), "400", "count")
    wrong = tensor(http, "input", np.zeros((2, 3)))
    refused(error, lambda: client.infer("linear_regression", [wrong]), "400", "input", "[rows, 2]")
    outputs = [http.InferRequestedOutput("nothing")]
    refused(error, lambda: client.infer("linear_regression", [matrix(http)], outputs=outputs), "400", "nothing")
    refused(error, lambda: client.get_system_shared_memory_status(), "501")
    refused(error, lambda: client.get_log_settings(), "501")
    refused(error, lambda: client.get_trace_settings(), "501")


@scenario("http")
async def triton_http_aio(address: str) -> None:
    import tritonclient.http as sync
    import tritonclient.http.aio as http

    async with http.InferenceServerClient(address) as client:
        assert await client.is_server_live() and await client.is_server_ready()
        assert await client.is_model_ready("logistic_two") and not await client.is_model_ready("gone")
        for is_binary in (True, False):
            check_table(await client.infer("logistic_two", table(http, binary_data=is_binary)))
            check_matrix(await client.infer("linear_regression", [matrix(http, binary_data=is_binary)]))
        check_matrix(
            await client.infer(
                "linear_regression",
                [matrix(http)],
                request_compression_algorithm="gzip",
                response_compression_algorithm="gzip",
            )
        )
        try:
            await client.infer("gone", [matrix(http)])
        except sync.InferenceServerException as error:
            assert "gone" in str(error)
        else:
            raise AssertionError("wasn't refused")


# tritonclient over gRPC


def _triton_grpc(address: str) -> Any:
    import tritonclient.grpc as grpc

    return grpc, grpc.InferenceServerClient(address)


@scenario("grpc")
def triton_grpc_state(address: str) -> None:
    _, client = _triton_grpc(address)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("logistic_two", "1")
    assert not client.is_model_ready("gone") and not client.is_model_ready("logistic_two", "2")
    tensors = client.get_model_metadata("logistic_two")
    assert {t.name: t.datatype for t in tensors.inputs}["city"] == "BYTES"
    assert list(tensors.versions) == ["1"] and list(tensors.outputs[1].shape) == [-1, 2]
    config = client.get_model_config("linear_regression", "1", as_json=True)["config"]
    assert config["input"][0] == {"name": "input", "data_type": "TYPE_FP64", "dims": ["-1", "2"]}
    index = client.get_model_repository_index().models
    assert {m.name for m in index} == set(SERVED) and all(m.state == "READY" for m in index)
    client.close()


@scenario("grpc", steady=False)
def triton_grpc_counts(address: str) -> None:
    _, client = _triton_grpc(address)
    told = client.get_server_metadata()
    assert told.name == "corten" and "model_repository" in told.extensions
    stats = client.get_inference_statistics("linear_regression").model_stats[0]
    assert stats.version == "1" and stats.inference_stats.success.count == stats.execution_count
    assert len(client.get_inference_statistics().model_stats) == len(SERVED)
    client.close()


@scenario("grpc")
def triton_grpc_infer(address: str) -> None:
    grpc, client = _triton_grpc(address)
    outputs = [grpc.InferRequestedOutput(n) for n in ("predict_proba", "predict")]
    result = client.infer("logistic_two", table(grpc), outputs=outputs, request_id="id 7")
    check_table(result)
    assert result.get_response().id == "id 7" and result.get_response().model_version == "1"
    check_matrix(client.infer("linear_regression", [matrix(grpc)], "1"))
    empty = client.infer("linear_regression", [tensor(grpc, "input", np.zeros((0, 2)))])
    assert empty.as_numpy("predict").shape == (0, 2)
    client.close()


@scenario("grpc")
def triton_grpc_compressed(address: str) -> None:
    grpc, client = _triton_grpc(address)
    for packing in ("gzip", "deflate"):
        check_table(client.infer("logistic_two", table(grpc), compression_algorithm=packing))
    client.close()


@scenario("grpc")
def triton_grpc_parameters(address: str) -> None:
    grpc, client = _triton_grpc(address)
    options = {"priority": 1, "timeout": 50_000_000, "client_timeout": 50.0, "parameters": {"note": "x", "much": 3}}
    check_matrix(client.infer("linear_regression", [matrix(grpc)], headers={"x-request-id": "abc"}, **options))
    client.close()


@scenario("grpc")
def triton_grpc_callbacks(address: str) -> None:
    grpc, client = _triton_grpc(address)
    for i in range(3):
        done: queue.Queue[Any] = queue.Queue()
        client.async_infer(
            "linear_regression",
            [matrix(grpc)],
            lambda result, error, done=done: done.put((result, error)),
            request_id=str(i),
        )
        result, error = done.get(timeout=20)
        assert error is None and result.get_response().id == str(i)
        check_matrix(result)
    client.close()


@scenario("grpc")
def triton_grpc_stream(address: str) -> None:
    grpc, client = _triton_grpc(address)
    done: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: done.put((result, error)))
    for i in range(3):
        client.async_stream_infer("linear_regression", [matrix(grpc)], request_id=str(i))
        result, error = done.get(timeout=20)
        assert error is None and result.get_response().id == str(i)
        check_matrix(result)
    client.async_stream_infer("gone", [matrix(grpc)])
    result, error = done.get(timeout=20)
    assert result is None and "gone" in str(error)
    client.async_stream_infer("logistic_two", table(grpc), enable_empty_final_response=True)
    result, error = done.get(timeout=20)
    check_table(result)
    assert result.get_response().parameters["triton_final_response"].bool_param
    client.stop_stream()
    client.close()


@scenario("grpc")
def triton_grpc_repository(address: str) -> None:
    grpc, client = _triton_grpc(address)
    client.unload_model("tree_of_classes")
    assert not client.is_model_ready("tree_of_classes")
    states = {m.name: m.state for m in client.get_model_repository_index().models}
    assert states["tree_of_classes"] == "UNAVAILABLE"
    error = grpc.InferenceServerException
    refused(error, lambda: client.get_model_metadata("tree_of_classes"), "UNAVAILABLE", "isn't loaded")
    client.load_model("tree_of_classes")
    assert client.is_model_ready("tree_of_classes")
    refused(error, lambda: client.load_model("gone"), "NOT_FOUND", "gone")
    refused(error, lambda: client.load_model("tree_of_classes", config="{}"), "INVALID_ARGUMENT", "'config'")
    client.close()


@scenario("grpc")
def triton_grpc_refusals(address: str) -> None:
    grpc, client = _triton_grpc(address)
    error = grpc.InferenceServerException
    refused(error, lambda: client.infer("gone", [matrix(grpc)]), "NOT_FOUND", "gone")
    refused(error, lambda: client.infer("linear_regression", [matrix(grpc)], "9"), "NOT_FOUND", "9")
    refused(error, lambda: client.infer("linear_regression", [matrix(grpc)], "new"), "NOT_FOUND", "new")
    refused(error, lambda: client.infer("logistic_two", table(grpc)[:2]), "INVALID_ARGUMENT", "count")
    wrong = tensor(grpc, "input", np.zeros((2, 3)))
    refused(error, lambda: client.infer("linear_regression", [wrong]), "INVALID_ARGUMENT", "input", "[rows, 2]")
    outputs = [grpc.InferRequestedOutput("nothing")]
    refused(error, lambda: client.infer("linear_regression", [matrix(grpc)], outputs=outputs), "nothing")
    refused(error, lambda: client.get_system_shared_memory_status(), "UNIMPLEMENTED")
    refused(error, lambda: client.get_log_settings(), "UNIMPLEMENTED")
    client.close()


@scenario("grpc")
async def triton_grpc_aio(address: str) -> None:
    import tritonclient.grpc as sync
    import tritonclient.grpc.aio as grpc

    async with grpc.InferenceServerClient(address) as client:
        assert await client.is_server_live() and await client.is_server_ready()
        assert await client.is_model_ready("logistic_two") and not await client.is_model_ready("gone")
        check_table(await client.infer("logistic_two", table(grpc)))
        check_matrix(await client.infer("linear_regression", [matrix(grpc)], compression_algorithm="gzip"))
        try:
            await client.infer("gone", [matrix(grpc)])
        except sync.InferenceServerException as error:
            assert "gone" in str(error)
        else:
            raise AssertionError("wasn't refused")


@scenario("grpc")
async def triton_grpc_aio_stream(address: str) -> None:
    import tritonclient.grpc.aio as grpc

    async with grpc.InferenceServerClient(address) as client:
        answered: asyncio.Queue[None] = asyncio.Queue()

        async def requests() -> Any:
            for i in range(3):
                yield {"model_name": "linear_regression", "inputs": [matrix(grpc)], "request_id": str(i)}
                await answered.get()

        seen = []
        async for result, error in client.stream_infer(requests()):
            assert error is None
            check_matrix(result)
            seen.append(result.get_response().id)
            answered.put_nowait(None)
        assert seen == ["0", "1", "2"]


# KServe's SDK


def _kserve_request(name: str, is_binary: bool) -> Any:
    from kserve import InferInput, InferRequest

    if name == "linear_regression":
        columns = {"input": case(name).matrix}
    else:
        columns = case(name).columns
    inputs = []
    for column, values in columns.items():
        datatype = "BYTES" if values.dtype == object else "FP64"
        made = InferInput(column, list(values.shape), datatype)
        made.set_data_from_numpy(values, binary_data=is_binary)
        inputs.append(made)
    return InferRequest(model_name=name, infer_inputs=inputs, request_id=f"{name}-1")


def _check_kserve(name: str, response: Any) -> None:
    answers = case(name).answers
    assert response.model_name == name and response.id == f"{name}-1"
    for output in response.outputs:
        got = output.as_numpy()
        assert same(got.reshape(answers[output.name].shape), answers[output.name]), output.name
    assert {o.name for o in response.outputs} >= {"predict"}


@scenario("http")
async def kserve_rest(address: str) -> None:
    import httpx
    from kserve import InferenceRESTClient, RESTConfig

    url = f"http://{address}"
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
        assert await client.is_server_live(url) is True and await client.is_server_ready(url) is True
        assert await client.is_model_ready(url, "logistic_two") and not await client.is_model_ready(url, "gone")
        for name in ("logistic_two", "linear_regression"):
            for is_binary in (False, True):
                _check_kserve(name, await client.infer(url, _kserve_request(name, is_binary), model_name=name))
        request = _kserve_request("linear_regression", False)
        try:
            await client.infer(url, request, model_name="gone")
        except httpx.HTTPStatusError as error:
            assert "there is no model 'gone'" in str(error)
        else:
            raise AssertionError("wasn't refused")


@scenario("grpc")
async def kserve_grpc(address: str) -> None:
    from kserve import InferenceGRPCClient

    import grpc

    async with InferenceGRPCClient(address) as client:
        assert await client.is_server_live() is True and await client.is_server_ready() is True
        assert await client.is_model_ready("logistic_two") and not await client.is_model_ready("gone")
        for name in ("logistic_two", "linear_regression"):
            for is_binary in (False, True):
                _check_kserve(name, await client.infer(_kserve_request(name, is_binary)))
        request = _kserve_request("linear_regression", False)
        request.model_name = "gone"
        try:
            await client.infer(request)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND and "there is no model 'gone'" in error.details()
        else:
            raise AssertionError("wasn't refused")


@scenario("grpc")
async def kserve_grpc_repository(address: str) -> None:
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
    from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

    import grpc

    async with grpc.aio.insecure_channel(address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        gone = await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="tree_of_classes"))
        assert gone.model_name == "tree_of_classes" and gone.isUnloaded
        back = await stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="tree_of_classes"))
        assert back.model_name == "tree_of_classes" and back.isLoaded


if __name__ == "__main__":
    next(s for s in ALL if s.name == sys.argv[1]).run(sys.argv[2])
