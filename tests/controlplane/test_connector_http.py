"""Tools of an HTTP API: what its OpenAPI document becomes, which request each call is, and what its answers mean."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.connectors import http, interface, openapi
from tests.controlplane import scripted

ORDER = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "status": {"$ref": "#/components/schemas/Status"}}}
REASON = {"type": "object", "properties": {"reason": {"type": "string", "nullable": True}}}
TREE = {"$ref": "#/components/schemas/Tree"}
SHOP: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Shop", "version": "1"},
    "servers": [{"url": "http://169.254.169.254/"}],
    "paths": {
        "/orders": {
            "get": {
                "operationId": "list_orders",
                "parameters": [
                    {"name": "status", "in": "query", "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Status"}}},
                    {"name": "tags", "in": "query", "explode": False, "schema": {"type": "array", "items": {"type": "string"}}},
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 100, "exclusiveMaximum": True}},
                    {"name": "Authorization", "in": "header", "schema": {"type": "string"}},
                    {"name": "Idempotency-Key", "in": "header", "required": True, "schema": {"type": "string"}},
                    {"name": "session", "in": "cookie", "schema": {"type": "string"}},
                ],
                "responses": {"200": {"description": "ok", "content": {"application/json": {"schema": {"type": "array"}}}}},
            },
            "post": {
                "operationId": "create_order",
                "summary": "Create",
                "requestBody": {"$ref": "#/components/requestBodies/NewOrder"},
                "responses": {"201": {"$ref": "#/components/responses/Order"}},
            },
        },
        "/orders/{order_id}": {
            "parameters": [{"$ref": "#/components/parameters/OrderId"}],
            "get": {"operationId": "get_order", "responses": {}},
            "put": {
                "operationId": "replace_order",
                "parameters": [{"name": "X-Reason", "in": "header", "schema": {"type": "string"}}],
                "requestBody": {"content": {"application/merge-patch+json": {"schema": {"type": "array", "items": {"type": "string"}}}}},
                "responses": {},
            },
            "delete": {"description": "Deletes it", "responses": {}},
        },
        "/orders/{order_id}/cancel": {
            "post": {
                "operationId": "cancel_order",
                "parameters": [{"$ref": "#/components/parameters/OrderId"}],
                "requestBody": {
                    "required": False,
                    "content": {"application/json": {"schema": REASON}},
                },
                "responses": {},
            },
        },
        "/tree": {"post": {"operationId": "plant", "requestBody": {"required": True, "content": {"application/json": {"schema": TREE}}}}},
        "/form": {"post": {"operationId": "form", "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {}}}}},
        "/cookie": {"get": {"operationId": "cookie", "parameters": [{"name": "c", "in": "cookie", "required": True, "schema": {}}]}},
    },
    "components": {
        "schemas": {
            "Status": {"type": "string", "enum": ["pending", "cancelled"], "example": "pending", "x-internal": True},
            "Order": ORDER,
            "Tree": {"type": "object", "properties": {"left": {"$ref": "#/components/schemas/Tree"}}},
        },
        "parameters": {
            "OrderId": {"name": "order_id", "in": "path", "required": True, "schema": {"type": "string"}, "description": "Which"},
        },
        "requestBodies": {
            "NewOrder": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["items"],
                            "properties": {
                                "id": {"type": "string", "readOnly": True},
                                "items": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
                                "note": {"type": "string", "nullable": True, "enum": ["gift"]},
                            },
                        }
                    }
                },
            }
        },
        "responses": {"Order": {"description": "ok", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}}},
    },
}  # fmt: skip
TOOLS = {one.name: one for one in openapi.tools(SHOP)}


def upstream(url: str, **changes: Any) -> interface.Upstream:
    given = {"kind": "http", "slug": "shop", "url": url, "headers": {}, "timeout_s": 5.0, "allow_private": True}
    return interface.Upstream(**{**given, **changes})


def call(to: interface.Upstream, tool: str, arguments: dict[str, Any], **changes: Any) -> interface.Outbound:
    given = {
        "upstream": to,
        "operation": tool,
        "arguments": arguments,
        "idempotency_key": "remit-1",
        "call_id": "C-1",
        "detail": TOOLS[tool].detail,
    }
    return interface.Outbound(**{**given, **changes})


def reply(body: bytes, status: bytes = b"200 OK", kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (status, kind, len(body), body)


@contextmanager
def saying(answer: bytes) -> Iterator[tuple[scripted.Server, interface.Upstream]]:
    with scripted.server(scripted.always(answer)) as server:
        yield server, upstream(server.url + "v1/")


# The document ---------------------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_expressed_exactly_is_left_out_and_the_rest_is_named():
    assert list(TOOLS) == ["list_orders", "create_order", "get_order", "replace_order", "delete_orders_order_id", "cancel_order"]


def test_every_tool_has_one_closed_schema_that_a_validator_accepts():
    for tool in TOOLS.values():
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        assert (tool.input_schema["type"], tool.input_schema["additionalProperties"]) == ("object", False)
        assert "$ref" not in json.dumps(tool.input_schema)


def test_parameters_and_body_fields_become_arguments():
    assert set(TOOLS["list_orders"].input_schema["properties"]) == {"status", "tags", "limit"}
    assert TOOLS["list_orders"].input_schema["properties"]["limit"] == {"type": "integer", "exclusiveMaximum": 100}
    assert TOOLS["list_orders"].input_schema["properties"]["status"]["items"] == {"type": "string", "enum": ["pending", "cancelled"]}
    assert TOOLS["create_order"].input_schema["required"] == ["items"]
    assert TOOLS["create_order"].input_schema["properties"]["note"] == {"type": ["string", "null"], "enum": ["gift", None]}
    assert "id" not in TOOLS["create_order"].input_schema["properties"], "the server sets it"
    assert TOOLS["create_order"].output_schema is not None
    assert TOOLS["create_order"].output_schema["required"] == ["id"]
    assert TOOLS["get_order"].input_schema["properties"]["order_id"] == {"description": "Which", "type": "string"}
    assert TOOLS["replace_order"].input_schema["required"] == ["order_id"]
    assert TOOLS["replace_order"].input_schema["properties"]["body"] == {"type": "array", "items": {"type": "string"}}
    assert {name: tool.hints["readOnlyHint"] for name, tool in TOOLS.items() if tool.hints["readOnlyHint"]} == {
        "list_orders": True,
        "get_order": True,
    }


def test_a_31_document_keeps_what_stands_beside_a_reference():
    document = copy.deepcopy(SHOP) | {"openapi": "3.1.0"}
    document["components"]["parameters"]["OrderId"]["schema"] = {
        "$ref": "#/components/schemas/Status",
        "maxLength": 9,
        "allOf": [{"minLength": 1}],
    }
    schema = next(one for one in openapi.tools(document) if one.name == "get_order").input_schema["properties"]["order_id"]
    assert schema == {
        "description": "Which",
        "maxLength": 9,
        "allOf": [{"minLength": 1}, {"type": "string", "enum": ["pending", "cancelled"]}],
    }


def _with_schema(schema: Any, **components: Any) -> dict[str, Any]:
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"openapi": "3.1.0", "paths": {"/a": {"post": {"operationId": "a", "requestBody": body}}}, "components": {"schemas": components}}


A = {"$ref": "#/components/schemas/A"}
BOMB = {f"S{n}": {"allOf": [{"$ref": f"#/components/schemas/S{n + 1}"}] * 3} for n in range(14)} | {"S14": {"type": "string"}}


@pytest.mark.parametrize(
    "document",
    [
        None, [], {}, {"openapi": "2.0", "paths": {}}, {"openapi": 3.0, "paths": {}}, {"swagger": "2.0"}, {"openapi": "3.1.0"},
        {"openapi": "3.1.0", "paths": []}, {"openapi": "3.1.0", "paths": {}},
        _with_schema({"$ref": "http://169.254.169.254/schema.json"}), _with_schema({"$ref": "file:///etc/passwd"}),
        _with_schema({"$ref": "#"}), _with_schema({"$ref": "#/paths/~1a"}), _with_schema({"$ref": 7}),
        _with_schema({"$ref": "#/components/schemas/none"}), _with_schema({"$dynamicRef": "#a"}),
        _with_schema({"$id": "http://name.example/"}), _with_schema(7), _with_schema({"properties": []}), _with_schema({"required": "a"}),
        _with_schema({"$ref": "#/components/schemas/A"}, A={"$ref": "#/components/schemas/A"}),
        _with_schema({"$ref": "#/components/schemas/A"}, A={"items": {"$ref": "#/components/schemas/B"}}, B={"not": A}),
        _with_schema({"$ref": "#/components/schemas/S0"}, **BOMB),
        _with_schema(json.loads('{"items":' * 50 + "{}" + "}" * 50)),
        {"openapi": "3.1.0", "paths": {"/a/{b}": {"get": {"operationId": "a"}}}},
        {"openapi": "3.1.0", "paths": {"/../admin": {"get": {"operationId": "a"}}}},
        {"openapi": "3.1.0", "paths": {"/a?b=c": {"get": {"operationId": "a"}}}},
        {"openapi": "3.1.0", "paths": {"//name.example/a": {"get": {"operationId": "a b"}}}},
        {"openapi": "3.1.0", "paths": {"/a\r\nb": {"get": {"operationId": "a"}}}},
        {"openapi": "3.1.0", "paths": {"/a": {"get": {"operationId": "a"}}, "/b": {"get": {"operationId": "a"}}}},
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_read_or_offers_nothing_is_refused(document):
    with pytest.raises(interface.DiscoveryFailed):
        openapi.tools(document)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "query", "path", "#/components/schemas/Order", "{order_id}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$ref", "name", "in", "schema", "type", "properties"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_damage_to_a_document_is_more_than_a_refusal(data):
    document = copy.deepcopy(SHOP)
    holder, key = data.draw(st.sampled_from(list(_places(document["paths"])) + list(_places(document["components"]))))
    holder[key] = data.draw(JUNK)
    try:
        for tool in openapi.tools(document):
            json.dumps([tool.input_schema, tool.output_schema, tool.detail])
    except interface.DiscoveryFailed:
        pass


def test_the_document_is_fetched_with_the_connectors_headers_or_taken_as_given():
    text = json.dumps(SHOP)
    with saying(reply(text.encode())) as (server, to):
        assert [one.name for one in http.discover(upstream(to.url, headers={"X-Api-Key": "k"}))] == list(TOOLS)
        assert server.requests[0].startswith(b"GET /v1/openapi.json HTTP/1.1\r\n")
        assert b"\r\nx-api-key: k\r\n" in server.requests[0]
        assert [one.name for one in http.discover(upstream(to.url, document=text))] == list(TOOLS)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer", [reply(b"nonsense"), reply(b"{}", b"404 Not Found"), reply(b'{"a":1,"a":2}'), reply(b"\xff"), b"", reply(b"{}", b"302 Found")]
)
def test_a_document_that_cannot_be_fetched_is_a_refusal(answer):
    with scripted.server(scripted.once(answer)) as server, pytest.raises(interface.DiscoveryFailed):
        http.discover(upstream(server.url))


# Requests -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments", "line", "body"),
    [
        ("list_orders", {}, "GET /v1/orders", ""),
        ("list_orders", {"status": ["pending", "cancelled"], "limit": 5}, "GET /v1/orders?status=pending&status=cancelled&limit=5", ""),
        ("list_orders", {"tags": ["a,b", "c&d=e"], "limit": None}, "GET /v1/orders?tags=a%2Cb,c%26d%3De", ""),
        ("get_order", {"order_id": "#W1 ü?a=b%2F;x"}, "GET /v1/orders/%23W1%20%C3%BC%3Fa%3Db%252F%3Bx", ""),
        ("get_order", {"order_id": "{order_id}"}, "GET /v1/orders/%7Border_id%7D", ""),
        ("get_order", {"order_id": True}, "GET /v1/orders/true", ""),
        ("create_order", {"items": [{"sku": "ü"}], "note": None}, "POST /v1/orders", '{"items":[{"sku":"ü"}],"note":null}'),
        ("replace_order", {"order_id": "1", "body": ["a"], "X-Reason": "late"}, "PUT /v1/orders/1", '["a"]'),
        ("replace_order", {"order_id": "1"}, "PUT /v1/orders/1", ""),
        ("cancel_order", {"order_id": "1"}, "POST /v1/orders/1/cancel", ""),
        ("cancel_order", {"order_id": "1", "reason": "late"}, "POST /v1/orders/1/cancel", '{"reason":"late"}'),
        ("delete_orders_order_id", {"order_id": "1"}, "DELETE /v1/orders/1", ""),
    ],
)
def test_the_arguments_are_the_request(tool, arguments, line, body):
    with saying(reply(b"{}")) as (server, to):
        http.send(call(to, tool, arguments))
        head, _, sent = server.requests[0].decode().partition("\r\n\r\n")
        assert (head.split("\r\n")[0], sent) == (f"{line} HTTP/1.1", body)
        assert ("content-type: application/json" in head) is bool(body)
        assert "\r\nidempotency-key: remit-1" in head


NOT_IN_A_PATH = ["..", ".", "", "../admin", "a/b", "a\\b", "..\\x", "a\nb", "\x00", "\x7f", None, ["a"], {"a": 1}, "\ud800"]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        *(("get_order", {"order_id": value}) for value in NOT_IN_A_PATH),
        ("get_order", {}),
        ("get_order", {"order_id": "1", "unnamed": 1}),
        ("list_orders", {"limit": {"a": 1}}),
        ("list_orders", {"Authorization": "Bearer mine"}),
        ("list_orders", {"Idempotency-Key": "mine"}),
        ("replace_order", {"order_id": "1", "X-Reason": "a\r\nhost: b"}),
        ("replace_order", {"order_id": "1", "X-Reason": ["a"]}),
        ("create_order", {"items": [2**70]}),
    ],
)  # fmt: skip
def test_arguments_that_would_make_another_request_are_not_sent(tool, arguments):
    with saying(reply(b"{}")) as (server, to):
        with pytest.raises(interface.NotSent):
            http.send(call(to, tool, arguments))
        assert server.connections == 0


def test_an_argument_cannot_replace_a_header_of_the_connector():
    with saying(reply(b"{}")) as (server, to):
        with pytest.raises(interface.NotSent):
            http.send(call(upstream(to.url, headers={"x-reason": "ours"}), "replace_order", {"order_id": "1", "X-Reason": "theirs"}))
        assert server.connections == 0


def test_a_tool_without_its_detail_is_not_sent():
    with pytest.raises(interface.NotSent):
        http.send(call(upstream("http://127.0.0.1:9/"), "get_order", {"order_id": "1"}, detail={}))
    with pytest.raises(interface.NotSent):
        http.send(call(upstream("http://127.0.0.1:9/?a=b"), "get_order", {"order_id": "1"}))


def test_only_the_connectors_own_headers_travel():
    with saying(reply(b"{}")) as (server, to):
        http.send(call(upstream(to.url, headers={"Authorization": "Bearer ours"}), "get_order", {"order_id": "1"}))
        names = {line.split(b":")[0] for line in server.requests[0].partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]}
        assert names == {b"host", b"accept-encoding", b"authorization", b"accept", b"idempotency-key"}


# Answers --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "text", "structured", "is_error"),
    [
        (reply(b'{"id": "1"}'), '{"id": "1"}', {"id": "1"}, False),
        (reply(b'{"id": "1"}', kind=b"application/hal+json; charset=utf-8"), '{"id": "1"}', {"id": "1"}, False),
        (reply(b"[1]"), "[1]", None, False),
        (reply(b'{"id": "1"}', kind=b"text/plain"), '{"id": "1"}', None, False),
        (reply(b"not json"), "not json", None, False),
        (reply(b'{"a": 1, "a": 2}'), '{"a": 1, "a": 2}', None, False),
        (reply(b"a\x00b", kind=b"text/plain"), "a\N{REPLACEMENT CHARACTER}b", None, False),
        (reply(b"\xff\xd8", kind=b"image/jpeg"), "[2 bytes of image/jpeg]", None, False),
        (reply(b"", b"201 Created"), "", None, False),
        (reply(b'{"title": "none"}', b"404 Not Found", b"application/problem+json"), 'HTTP 404 {"title": "none"}', {"title": "none"}, True),
        (reply(b"", b"412 Precondition Failed"), "HTTP 412", None, True),
        (reply(b"oops", b"500 Internal Server Error", b"text/plain"), "HTTP 500 oops", None, True),
    ],
)  # fmt: skip
def test_an_answer_is_shaped_like_a_tool_result(answer, text, structured, is_error):
    with saying(answer) as (_, to):
        found = http.send(call(to, "cancel_order", {"order_id": "1"}))
    assert (interface.text_of(found), found.result.get("structuredContent"), found.is_error, found.result["isError"]) == (
        text,
        structured,
        is_error,
        is_error,
    )


@pytest.mark.parametrize(
    "status", [b"502 Bad Gateway", b"503 Service Unavailable", b"504 Gateway Timeout", b"303 See Other", b"307 Temporary Redirect"]
)
def test_a_gateways_word_or_a_redirect_leaves_a_write_in_doubt(status):
    with saying(reply(b"{}", status)) as (server, to):
        with pytest.raises(interface.Unknown):
            http.send(call(to, "cancel_order", {"order_id": "1"}))
        assert len(server.requests) == 1


def test_a_gateways_word_about_a_read_is_an_error():
    with saying(reply(b"{}", b"503 Service Unavailable")) as (_, to):
        assert http.send(call(to, "get_order", {"order_id": "1"}, connector_class="E0")).is_error


# Previews and read-backs ----------------------------------------------------------------------------------------------------------------

SPEC = {
    "tool": "get_order",
    "arguments": {"order_id": {"argument": "order_id"}},
    "entity": "order/{order_id}",
    "set": {"/status": {"value": "cancelled"}},
}


@pytest.mark.parametrize("where", ["the spec", "the document", "the upstream"])
def test_a_preview_reads_through_the_documents_read(where):
    def script(talk: scripted.Talk) -> None:
        while (request := talk.request()) is not None:
            talk.say(reply(json.dumps(SHOP).encode() if b"openapi.json" in request else b'{"id": "#W1", "status": "pending"}'))

    with scripted.server(script) as server:
        to = upstream(server.url, document=json.dumps(SHOP) if where == "the document" else "")
        spec = {**SPEC, "detail": TOOLS["get_order"].detail} if where == "the spec" else SPEC
        made = http.preview(call(to, "cancel_order", {"order_id": "#W1"}), spec)
        assert made == interface.Preview("order/#W1", {"id": "#W1", "status": "pending"}, {"id": "#W1", "status": "cancelled"})
        assert server.requests[-1].startswith(b"GET /orders/%23W1 HTTP/1.1\r\n")
        assert len(server.requests) == (2 if where == "the upstream" else 1)


def test_a_preview_never_runs_a_write():
    with saying(reply(b"{}")) as (server, to):
        for spec in (
            {**SPEC, "tool": "cancel_order", "detail": TOOLS["cancel_order"].detail},
            {**SPEC, "tool": "cancel_order"},
            {**SPEC, "tool": "none"},
        ):
            with pytest.raises(interface.PreviewFailed):
                http.preview(call(upstream(to.url, document=json.dumps(SHOP)), "cancel_order", {"order_id": "1"}), spec)
        assert server.connections == 0
        assert http.preview(call(to, "cancel_order", {"order_id": "1"}), None) is None


def test_a_look_up_reads_by_our_reference():
    detail = {
        **TOOLS["cancel_order"].detail,
        "read_back": {"tool": "get_order", "arguments": {"order_id": {"idempotency_key": True}}, "detail": TOOLS["get_order"].detail},
    }
    for answer, happened in ((reply(b'{"id": "1"}'), True), (reply(b"{}", b"404 Not Found"), False)):
        with saying(answer) as (server, to):
            found = http.look_up(call(to, "cancel_order", {"order_id": "1"}, detail=detail))
            assert (found is not None) is happened
            assert server.requests[0].startswith(b"GET /v1/orders/remit-1 HTTP/1.1\r\n")
            assert http.look_up(call(to, "cancel_order", {"order_id": "1"})) is None
