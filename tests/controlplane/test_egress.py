"""The way out: where it may go, what it may carry, how much it reads, and what it says when it fails."""

import datetime
import ipaddress
import os
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controlplane import egress
from tests.controlplane import scripted


@pytest.fixture
def client() -> Iterator[egress.Client]:
    made = egress.Client()
    yield made
    made.close()


def get(url: str, **changes) -> egress.Request:
    return egress.Request(**{"method": "GET", "url": url, "headers": {}, "timeout_s": 5.0, "allow_private": True, **changes})


def post(url: str, **changes) -> egress.Request:
    return get(url, **{"method": "POST", "body": b"{}", **changes})


# Where it may go ------------------------------------------------------------------------------------------------------------------------

HOSTILE_URLS = [
    # loopback and private addresses, spelled plainly
    "https://127.0.0.1/", "https://127.1.2.3/", "https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1/", "https://[::1]/",
    "https://[fc00::1]/", "https://[fd12:3456::1]/", "https://0.0.0.0/", "https://[::]/", "https://255.255.255.255/", "https://224.0.0.1/",
    "https://[ff02::1]/", "https://240.0.0.1/", "https://192.0.2.1/", "https://198.18.0.1/", "https://192.0.0.192/", "https://[2001:db8::1]/",
    # metadata
    "https://169.254.169.254/latest/meta-data/", "https://169.254.170.2/", "https://[fd00:ec2::254]/", "https://[fd20:ce::254]/",
    "https://100.100.100.200/", "https://168.63.129.16/", "https://100.64.0.1/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/",
    # one address in another
    "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::ffff:8.8.8.8]/", "https://[::127.0.0.1]/", "https://[::7f00:1]/",
    "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::127.0.0.1]/", "https://[64:ff9b:1::7f00:1]/", "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/", "https://[fec0::1]/", "https://192.88.99.1/", "https://[100::1]/", "https://[5f00::1]/",
    # spellings that only some parsers read
    "https://2130706433/", "https://0x7f000001/", "https://0x7f.0x0.0x0.0x1/", "https://0177.0.0.1/", "https://017700000001/", "https://127.1/",
    "https://127.0.1/", "https://127.0.0.01/", "https://0x7f.1/", "https://127.0.0.0x1/", "https://0/", "https://127.0.0.1./", "https://localhost./",
    "https://name.example./", "https://4294967296/", "https://00000177.0.0.1/", "https://1.2.3.4.5/", "https://256.256.256.256/",
    "https://127。0。0。1/", "https://①②⑦.⓪.⓪.①/", "https://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54/", 
    "https://bücher.example/", "https://%31%32%37.0.0.1/",
    "https://127.0.0.1%00.name.example/", "https://[::1", "https://::1/", "https://[::1].name.example/", "https://[name.example]/",
    # who is the host?
    "https://user@127.0.0.1/", "https://name.example@127.0.0.1/", "https://user:password@name.example/", "https://@name.example/",
    "https://name.example#@127.0.0.1/", "https://127.0.0.1#@name.example/", "https://name.example/#fragment", "https://name.example\\@127.0.0.1/",
    "https:\\\\127.0.0.1/", "https://127.0.0.1\\.name.example/", "https:///127.0.0.1/", "https:127.0.0.1/", "https://name.example:443:80/",
    "https://name.example:/", "https://name.example:99999/", "https://name.example:-1/", "https://name.example: 443/", "https://name.example:0x1bb/",
    "https://:443/", "https://", "https:///", "//name.example/", "name.example", "", "https://name..example/", "https://-name.example/",
    "https://" + "a" * 64 + ".example/", "https://" + "a." * 130 + "example/", "https://name.example,127.0.0.1/", "https://name.example;127.0.0.1/",
    # what hides in white space and control characters
    "https://name.example/\r\nhost: 127.0.0.1", "https://name.example/%0d%0a\r\n", "https://name\t.example/", "https://name.example/\n", " https://name.example/",
    "https://name.example/a b", "https://name.example/\x00", "https://name.example\x7f/", "https://name.example/é",
    # other schemes, other ports, no encryption
    "http://name.example/", "http://name.example:443/", "https://name.example/a\\b",
    "ftp://name.example/", "file:///etc/passwd", "file://localhost/etc/passwd", "gopher://127.0.0.1:6379/_FLUSHALL",
    "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/", "dict://127.0.0.1:11211/", "ldap://127.0.0.1/", "jar:https://name.example/",
    "data:text/plain,hello", "javascript:alert(1)", "ws://name.example/", "https+http://name.example/", "https://name.example:22/",
    "https://name.example:6379/", "https://name.example:80/", "https://name.example:0/", "https://8.8.8.8:53/",
]  # fmt: skip


def test_no_hostile_url_reaches_a_socket():
    with scripted.server(scripted.always(scripted.OK)) as trap:
        # Whatever is let through would end at the trap: every name leads to it, and so does its port.
        client = egress.Client(resolve=lambda host, port: ["127.0.0.1"], ports=frozenset({443, trap.port}))
        for url in [
            *HOSTILE_URLS,
            f"https://name.example:{trap.port}/",
            f"https://127.0.0.1:{trap.port}/",
            f"http://127.0.0.1:{trap.port}/",
        ]:
            with pytest.raises(egress.Blocked):
                client.send(get(url, allow_private=False))
        assert trap.connections == 0


def test_a_hostile_url_is_hostile_even_when_its_name_leads_to_a_good_address():
    client = egress.Client(resolve=lambda host, port: ["93.184.215.14"])
    for url in HOSTILE_URLS:
        with pytest.raises(egress.Blocked):
            client.check(url, allow_private=False)


def test_a_plain_public_url_is_not_hostile():
    client = egress.Client(resolve=lambda host, port: ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
    for url in (
        "https://name.example",
        "https://NAME.example/a/%2e%2e?b=c&d=https://e",
        "https://a-b.c_d.example:8443/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
    ):
        client.check(url, allow_private=False)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.251",
        "255.255.255.255", "198.51.100.7", "203.0.113.9", "192.0.0.8", "192.0.0.192", "168.63.129.16", "192.88.99.1", "::1", "::",
        "::ffff:127.0.0.1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e", "2002:5db8:d70e::1", "2001::1", "fe80::1", "fe80::1%lo",
        "fd00::1", "ff0e::1", "3fff::1", "2606:4700::1111%lo",
    ],
)  # fmt: skip
def test_one_forbidden_address_among_good_ones_forbids_the_name(address):
    client = egress.Client(resolve=lambda host, port: ["93.184.215.14", address])
    with pytest.raises(egress.Blocked):
        client.check("https://name.example/", allow_private=False)


def test_private_addresses_open_for_development_alone_and_metadata_never():
    answers: list[str] = []
    client = egress.Client(resolve=lambda host, port: answers)
    for address in ("127.0.0.1", "10.1.2.3", "::1", "fd00::1"):
        answers[:] = [address]
        client.check("http://name.example:8799/", allow_private=True)
        answers[:] = [address, "93.184.215.14"]
        with pytest.raises(egress.Blocked):
            client.check("https://name.example/", allow_private=True)
    for address in ("169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "0.0.0.0", "::ffff:127.0.0.1"):
        answers[:] = [address]
        with pytest.raises(egress.Blocked):
            client.check("https://name.example/", allow_private=True)
    answers[:] = ["93.184.215.14"]
    with pytest.raises(egress.Blocked):
        client.check("http://name.example/", allow_private=True)
    with pytest.raises(egress.Blocked):
        client.check("https://name.example:8799/", allow_private=True)


def test_the_address_that_was_checked_is_the_address_that_is_used():
    # A rebinding name: harmless when first asked, the metadata service ever after.
    with scripted.server(scripted.always(scripted.OK)) as upstream:
        answers = iter([["127.0.0.1"]])
        client = egress.Client(resolve=lambda host, port: next(answers, ["169.254.169.254"]))
        url = f"http://rebinding.example:{upstream.port}/"
        assert client.send(get(url)).status == 200
        assert client.send(get(url)).status == 200, "the kept connection is to the checked address"
        client.close()
        with pytest.raises(egress.Blocked):
            client.send(get(url))
        assert upstream.connections == 1
        assert b"\r\nhost: rebinding.example:%d\r\n" % upstream.port in upstream.requests[0]


def test_a_redirect_is_an_answer_and_is_not_followed(client):
    with scripted.server(scripted.always(scripted.OK)) as elsewhere:
        moved = b"HTTP/1.1 302 Found\r\nlocation: %s\r\ncontent-length: 0\r\n\r\n" % elsewhere.url.encode()
        with scripted.server(scripted.once(moved)) as upstream:
            assert client.send(get(upstream.url)).status == 302
        assert elsewhere.connections == 0


def test_no_proxy_from_the_environment_is_used(client, monkeypatch):
    with scripted.server(scripted.always(scripted.OK)) as proxy, scripted.server(scripted.always(scripted.OK)) as upstream:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.upper(), proxy.url)
        assert client.send(get(upstream.url)).status == 200
        assert (proxy.connections, upstream.connections) == (0, 1)


# What it may carry ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"x-a": "b\r\nx-c: d"}, {"x-a": "b\nx-c: d"}, {"x-a": "b\r"}, {"x-a": "b\x00"}, {"x-a": "é"}, {"x-a\r\nx-c": "d"}, {"x a": "b"},
        {"": "b"}, {"x-a:": "b"}, {"Host": "127.0.0.1"}, {"content-length": "0"}, {"Transfer-Encoding": "chunked"}, {"Connection": "close"},
        {"accept-encoding": "gzip"}, {"upgrade": "h2c"}, {"Expect": "100-continue"}, {"proxy-authorization": "Basic eA=="},
        {"X-A": "1", "x-a": "2"},
    ],
)  # fmt: skip
def test_a_header_that_could_change_the_request_is_refused_before_anything_is_sent(client, headers):
    with scripted.server(scripted.always(scripted.OK)) as upstream:
        with pytest.raises(egress.Blocked):
            client.send(get(upstream.url, headers=headers))
        assert upstream.connections == 0


def test_a_method_or_a_path_cannot_smuggle_a_second_request(client):
    with scripted.server(scripted.always(scripted.OK)) as upstream:
        for request in (
            get(upstream.url, method="GET / HTTP/1.1\r\nx"),
            get(upstream.url + "a HTTP/1.1\r\n\r\nGET /b"),
            get(upstream.url, method="CONNECT"),
        ):
            with pytest.raises(egress.Blocked):
                client.send(request)
        assert upstream.connections == 0


def test_only_the_headers_that_were_given_are_sent(client):
    with scripted.server(scripted.always(scripted.OK)) as upstream:
        client.send(post(upstream.url + "a?b=c", headers={"X-Run": "R-1"}, body=b"[1]"))
        head = ["POST /a?b=c HTTP/1.1", f"host: 127.0.0.1:{upstream.port}", "accept-encoding: identity", "x-run: R-1", "content-length: 3"]
        assert upstream.requests == ["\r\n".join([*head, "", "[1]"]).encode()]


# What it reads --------------------------------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\n"
UNACCEPTABLE = {
    "nothing at all": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a status out of range": b"HTTP/1.1 999 Odd\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    "interim answers for ever": b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    "a head cut off": HEAD + b"content-length: 2\r\n",
    "a body cut off": HEAD + b"content-length: 10\r\n\r\n{}",
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: 2\n\n{}",
    "a folded header": HEAD + b"x-a: b\r\n c\r\ncontent-length: 2\r\n\r\n{}",
    "a space before the colon": HEAD + b"content-length : 2\r\n\r\n{}",
    "a header without a colon": HEAD + b"nonsense\r\n\r\n",
    "a NUL in a header": HEAD + b"x-a: b\x00c\r\ncontent-length: 2\r\n\r\n{}",
    "a carriage return in a header": HEAD + b"x-a: b\rc\r\ncontent-length: 2\r\n\r\n{}",
    "too many headers": HEAD + b"x-a: b\r\n" * 101 + b"content-length: 2\r\n\r\n{}",
    "a header too long": HEAD + b"x-a: " + b"b" * 9000 + b"\r\ncontent-length: 2\r\n\r\n{}",
    "a head too long": HEAD + b"".join(b"x-%d: %s\r\n" % (n, b"b" * 8000) for n in range(20)) + b"\r\n",
    "two lengths": HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "two types": HEAD + b"content-type: a/b\r\ncontent-type: c/d\r\ncontent-length: 2\r\n\r\n{}",
    "a list of lengths": HEAD + b"content-length: 2, 2\r\n\r\n{}",
    "a length and chunks": HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a negative length": HEAD + b"content-length: -1\r\n\r\n{}",
    "a signed length": HEAD + b"content-length: +2\r\n\r\n{}",
    "a hexadecimal length": HEAD + b"content-length: 0x2\r\n\r\n{}",
    "a body beyond the limit": HEAD + b"\r\n" + b"a" * 1_500_000,
    "chunks beyond the limit": HEAD + b"transfer-encoding: chunked\r\n\r\n" + (b"80000\r\n" + b"a" * 0x80000 + b"\r\n") * 3 + b"0\r\n\r\n",
    "a length beyond all limits": HEAD + b"content-length: 99999999999999999999\r\n\r\n{}",
    "an unknown coding": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a compressed answer": HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
    "a chunk that is not a number": HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": HEAD + b"transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "a chunk too large": HEAD + b"transfer-encoding: chunked\r\n\r\nffffffff\r\n{}",
    "chunks without an end": HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "trailers for ever": HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"x-a: b\r\n" * 200 + b"\r\n",
    "a chunk line too long": HEAD + b"transfer-encoding: chunked\r\n\r\n2;" + b"a" * 5000 + b"\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("fault", UNACCEPTABLE)
def test_an_unacceptable_answer_leaves_the_outcome_unknown(client, fault):
    with scripted.server(scripted.once(UNACCEPTABLE[fault])) as upstream:
        with pytest.raises(egress.Unknown):
            client.send(post(upstream.url, max_bytes=1 << 20))
        assert len(upstream.requests) == 1


CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "piece", "why"),
    [
        (HEAD + b"\r\n", b"a" * 65536, "larger than allowed"),
        (HEAD + b"content-length: 1048577\r\n\r\n", b"", "larger than allowed"),
        (CHUNKED, b"10000\r\n" + b"a" * 65536 + b"\r\n", "larger than allowed"),
        (CHUNKED, (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 100, "larger than allowed"),
        (CHUNKED, b"1\r\na\r\n" * 10_000, "too many chunks"),
        (HEAD, b"x-a: b\r\n" * 1000, "too long"),
        (HEAD, b"a" * 65536, "too long"),
    ],
)
def test_an_endless_answer_is_cut_off_at_its_limit(client, head, piece, why):
    def script(talk: scripted.Talk) -> None:
        talk.request()
        talk.say(head)
        while piece:
            talk.say(piece)
        talk.until_the_client_leaves()

    with scripted.server(script) as upstream, pytest.raises(egress.Unknown, match=why):
        client.send(post(upstream.url, max_bytes=1 << 20, timeout_s=20.0))


@pytest.mark.parametrize(
    "head", [b"", HEAD + b"x-", HEAD + b"content-length: 1000\r\n\r\n", HEAD + b"transfer-encoding: chunked\r\n\r\n3e8\r\n"]
)
def test_an_answer_that_drips_ends_when_the_time_is_up(client, head):
    def script(talk: scripted.Talk) -> None:
        talk.request()
        talk.say(head)
        for _ in range(200):
            talk.say(b"a")
            time.sleep(0.05)  # the drip itself: each byte comes well before any pause would be noticed

    with scripted.server(script) as upstream:
        began = time.monotonic()
        with pytest.raises(egress.Unknown, match="time is up"):
            client.send(post(upstream.url, timeout_s=0.4))
        assert time.monotonic() - began < 2


def test_a_server_that_does_not_read_cannot_hold_a_large_request_for_ever(client):
    release = threading.Event()
    with scripted.server(lambda talk: release.wait(10) and None) as upstream:
        with pytest.raises(egress.Unknown, match="time is up"):
            client.send(post(upstream.url, body=b"a" * (32 << 20), timeout_s=0.5))
        release.set()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (HEAD + b"content-length: 2\r\n\r\n{}", b"{}"),
        (HEAD + b"Content-Length:2\r\nX-A:\r\n\r\n{}", b"{}"),
        (HEAD + b"transfer-encoding: Chunked\r\n\r\n1\r\n{\r\n01;x=y\r\n}\r\n0\r\nx-a: b\r\n\r\n", b"{}"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" + HEAD + b"content-length: 2\r\n\r\n{}", b"{}"),
        (HEAD + b"content-encoding: identity\r\ncontent-length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", b"{}"),
        (HEAD + b"connection: close\r\n\r\n{}", b"{}"),
    ],
)
def test_every_proper_framing_is_read(client, answer, body):
    with scripted.server(scripted.once(answer)) as upstream:
        assert client.send(post(upstream.url)).body == body


def test_the_answer_to_a_head_request_has_no_body(client):
    with scripted.server(scripted.always(HEAD + b"content-length: 500\r\n\r\n")) as upstream:
        assert client.send(get(upstream.url, method="HEAD")).body == b""
        assert client.send(get(upstream.url, method="HEAD")).status == 200
        assert upstream.connections == 1


# What it says when it fails -------------------------------------------------------------------------------------------------------------


def test_a_refused_connection_was_not_sent(client):
    with scripted.server(scripted.always(scripted.OK)) as upstream:
        url = upstream.url
    with pytest.raises(egress.NotSent):
        client.send(post(url))


def test_a_name_that_does_not_resolve_was_not_sent():
    def resolve(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(egress.NotSent):
        egress.Client(resolve=resolve).send(post("https://name.example/"))


def test_a_resolver_that_hangs_is_left_behind_when_the_time_is_up():
    release = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        release.wait(10)
        return ["127.0.0.1"]

    began = time.monotonic()
    with pytest.raises(egress.NotSent):
        egress.Client(resolve=resolve).send(post("https://name.example/", timeout_s=0.2))
    assert time.monotonic() - began < 2
    release.set()


def test_connections_are_kept_and_reused(client):
    with scripted.server(scripted.always(scripted.OK)) as upstream:
        for _ in range(20):
            assert client.send(post(upstream.url)).body == b"{}"
        assert upstream.connections == 1


def test_callers_that_must_not_meet_do_not_share_a_connection(client):
    with scripted.server(scripted.always(scripted.OK)) as upstream:
        for partition in ("one tenant", "another", "one tenant", "another"):
            client.send(post(upstream.url, partition=partition))
        assert upstream.connections == 2


def test_an_answer_that_was_not_read_to_its_end_takes_its_connection_with_it(client):
    def script(talk: scripted.Talk) -> None:
        talk.request()
        talk.say(scripted.OK if talk.number > 1 else HEAD + b"content-length: 2\r\n\r\n")
        talk.request()

    with scripted.server(script) as upstream:
        with client.open(post(upstream.url)) as reply:
            assert reply.status == 200
        assert client.send(post(upstream.url)).body == b"{}"
        assert upstream.connections == 2


def test_bytes_that_belong_to_no_request_are_never_taken_for_an_answer(client):
    # The second "answer" was there before the second request: whoever put it there, it does not answer it.
    with scripted.server(scripted.always(scripted.OK + HEAD + b"content-length: 4\r\n\r\nfake")) as upstream:
        assert client.send(post(upstream.url)).body == b"{}"
        assert client.send(post(upstream.url)).body == b"{}"
        assert upstream.connections == 2


def test_a_connection_the_server_closed_while_it_was_idle_is_not_written_to(client):
    with scripted.server(scripted.once(scripted.OK)) as upstream:
        for n in range(1, 6):
            assert client.send(post(upstream.url)).body == b"{}"

            def has_ended(count: int = n) -> bool:
                return upstream.ended == count

            upstream.wait_for(has_ended)
        assert upstream.connections == len(upstream.requests) == 5


def _answers_first_only(talk: scripted.Talk) -> None:
    """Hangs up on the second request of its first connection, after reading it and before a byte of an answer."""
    talk.request()
    talk.say(scripted.OK)
    if talk.request() is not None and talk.number > 1:
        talk.say(scripted.OK)


def test_a_write_that_a_kept_connection_swallowed_is_unknown_and_not_repeated(client):
    with scripted.server(_answers_first_only) as upstream:
        client.send(post(upstream.url))
        with pytest.raises(egress.Unknown):
            client.send(post(upstream.url))
        assert (upstream.connections, len(upstream.requests)) == (1, 2)


def test_a_read_that_a_kept_connection_swallowed_is_repeated_once(client):
    with scripted.server(_answers_first_only) as upstream:
        client.send(post(upstream.url))
        assert client.send(get(upstream.url, repeatable=True)).body == b"{}"
        assert (upstream.connections, len(upstream.requests)) == (2, 3)


def test_a_read_on_a_fresh_connection_is_not_repeated(client):
    with scripted.server(scripted.once(b"")) as upstream:
        with pytest.raises(egress.Unknown):
            client.send(get(upstream.url, repeatable=True))
        assert len(upstream.requests) == 1


def test_a_read_whose_answer_had_begun_or_whose_time_was_up_is_not_repeated(client):
    release = threading.Event()

    def script(talk: scripted.Talk) -> None:
        talk.request()
        talk.say(scripted.OK)
        if talk.request() is not None:
            talk.say(b"HTTP/1.1" if talk.number == 1 else b"")
            if talk.number > 1:
                release.wait(10)

    with scripted.server(script) as upstream:
        client.send(post(upstream.url))
        with pytest.raises(egress.Unknown):
            client.send(get(upstream.url, repeatable=True))
        client.send(post(upstream.url))
        with pytest.raises(egress.Unknown, match="time is up"):
            client.send(get(upstream.url, repeatable=True, timeout_s=0.2))
        release.set()
        assert len(upstream.requests) == 4


def test_threads_get_their_own_answers(client):
    def echo(talk: scripted.Talk) -> None:
        while (request := talk.request()) is not None:
            body = request.partition(b"\r\n\r\n")[2]
            talk.say(HEAD + b"content-length: %d\r\n\r\n%s" % (len(body), body))

    with scripted.server(echo) as upstream, futures.ThreadPoolExecutor(8) as pool:
        bodies = [b"call %d" % n for n in range(400)]
        assert list(pool.map(lambda body: client.send(post(upstream.url, body=body)).body, bodies)) == bodies
        assert upstream.connections <= 8


def test_a_forked_child_leaves_its_parents_connections_alone():
    with scripted.server(scripted.always(scripted.OK)) as upstream:
        egress.client.send(post(upstream.url))
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if egress.client.send(post(upstream.url)).status == 200 else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert upstream.connections == 2
        egress.client.close()


# TLS ------------------------------------------------------------------------------------------------------------------------------------


def _certificate(folder: Path, *names: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    other = [x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
    )
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName(other), critical=False).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "certificate.pem"
    path.write_bytes(private + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


def _tls(certificate: Path, asked: list[str | None]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda sock, name, context: asked.append(name)
    return context


def test_https_asks_for_the_name_and_connects_to_the_checked_address(tmp_path):
    asked: list[str | None] = []
    certificate = _certificate(tmp_path, "tools.example")
    with scripted.server(scripted.always(scripted.OK), _tls(certificate, asked)) as upstream:
        client = egress.Client(resolve=lambda host, port: ["127.0.0.1"], tls=ssl.create_default_context(cafile=str(certificate)))
        url = f"https://tools.example:{upstream.port}/"
        assert [client.send(post(url)).body for _ in range(3)] == [b"{}"] * 3
        assert asked == ["tools.example"]
        assert b"host: tools.example:%d\r\n" % upstream.port in upstream.requests[0]
        client.close()


def test_a_certificate_that_is_not_trusted_or_not_for_the_name_was_not_sent(tmp_path):
    certificate = _certificate(tmp_path, "tools.example")
    with scripted.server(scripted.always(scripted.OK), _tls(certificate, [])) as upstream:
        for host, tls in (("tools.example", None), ("other.example", ssl.create_default_context(cafile=str(certificate)))):
            client = egress.Client(resolve=lambda host, port: ["127.0.0.1"], tls=tls)
            with pytest.raises(egress.NotSent):
                client.send(post(f"https://{host}:{upstream.port}/"))
        assert upstream.requests == []
