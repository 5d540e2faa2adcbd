//! The HTTP server by itself, with an exporter that does as it is told.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use pinpoint_exporter::web::{self, ClientTimeouts, Content, Limits, ScrapeTimeout};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::support::{
    harness::{patient, run_in_virtual_time},
    raw::{Answer, Raw, within},
};

const EXPOSITION: &str = "# HELP up Whether.\n# TYPE up gauge\nup 1\n";
const HEAD_LIMIT: Duration = Duration::from_millis(400);
const WRITE_LIMIT: Duration = Duration::from_millis(500);

/// An exporter with a gate, at which scrapes wait.
struct Stub {
    chunks: Vec<Bytes>,
    gate: CancellationToken,
    stopping: CancellationToken,
    ready: AtomicBool,
    panics: AtomicBool,
    scrapes: Semaphore,
}

fn packed(plain: &[u8]) -> Bytes {
    let mut packed = Vec::new();
    flate2::bufread::GzEncoder::new(plain, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
    packed.into()
}

fn unpacked(answer: &Answer) -> Vec<u8> {
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut unpacked).unwrap();
    unpacked
}

impl web::Exporter for Stub {
    async fn scrape(&self, _: Duration, answer_now: impl Future<Output = ()> + Send, gzip: bool) -> Content {
        self.scrapes.add_permits(1);
        assert!(!self.panics.load(Ordering::SeqCst), "as it was told");
        tokio::select! {
            () = self.gate.cancelled() => {}
            () = self.stopping.cancelled() => {}
            () = answer_now => {}
        }
        if !gzip {
            return self.chunks.clone().into();
        }
        vec![packed(&self.chunks.concat())].into()
    }

    fn page(&self, _: &str) -> Result<String, String> {
        Ok("<!DOCTYPE html><title>Stub</title>".to_owned())
    }

    fn page_policy(&self) -> &'static str {
        "default-src 'none'"
    }

    fn jobs(&self, _: &str) -> Result<String, String> {
        Ok("{}".to_owned())
    }

    fn gzip(&self, document: String) -> Vec<Bytes> {
        vec![packed(document.as_bytes())]
    }

    fn stop_waiting(&self) {
        self.stopping.cancel();
    }

    fn requests_to_aws(&self) -> watch::Receiver<usize> {
        watch::channel(0).1
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}

impl Stub {
    /// Waits for so many more scrapes to have come.
    async fn scraped(&self, times: u32) {
        within("a scrape", self.scrapes.acquire_many(times)).await.unwrap().forget();
    }
}

/// A server of a stub.
struct Server {
    address: SocketAddr,
    stub: Arc<Stub>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

/// For what a test does not wait out.
const PATIENT: ClientTimeouts = ClientTimeouts {
    idle: Duration::from_mins(5),
    head: Duration::from_mins(5),
    write: Duration::from_mins(5),
};

fn limits() -> Limits {
    Limits { connections: 64, ..patient() }
}

/// For a test of what takes too long, in virtual time.
fn impatient() -> Limits {
    let timeouts = ClientTimeouts { idle: Duration::from_mins(1), head: HEAD_LIMIT, write: WRITE_LIMIT };
    Limits { timeouts, ..limits() }
}

impl Server {
    async fn start(chunks: Vec<Bytes>, limits: Limits) -> Self {
        let server = Self::gated(chunks, limits).await;
        server.stub.gate.cancel();
        server
    }

    /// A server whose scrapes wait until the gate is opened.
    async fn gated(chunks: Vec<Bytes>, limits: Limits) -> Self {
        let stub = Arc::new(Stub {
            chunks,
            gate: CancellationToken::new(),
            stopping: CancellationToken::new(),
            ready: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            scrapes: Semaphore::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let timeout = ScrapeTimeout {
            default: Duration::from_secs(10),
            offset: Duration::from_millis(500),
            longest: Duration::from_mins(2),
        };
        let stopped = shutdown.clone().cancelled_owned();
        let served = web::serve(listener, Arc::clone(&stub), timeout, limits, None, stopped);
        let task = tokio::spawn(async { served.await.unwrap() });
        Self { address, stub, shutdown, task }
    }

    async fn connect(&self) -> Raw {
        Raw::connect(self.address).await
    }

    /// The answer to a request on a connection of its own.
    async fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(request).await;
        if request.starts_with("HEAD") { client.answer_to_head().await } else { client.answer().await }
            .unwrap()
    }

    /// That it serves others as if nothing had been.
    async fn serves(&self) {
        let answer = self.ask("GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"Healthy.\n"[..]));
    }
}

fn exposition() -> Vec<Bytes> {
    EXPOSITION.split_inclusive('\n').map(|line| Bytes::from_static(line.as_bytes())).collect()
}

/// Many MiB, more than the kernel keeps for a client that does not read. The last chunk is the largest.
fn large() -> Vec<Bytes> {
    [4_000, 60_000, 8 << 20].map(|size| Bytes::from(vec![b'#'; size])).into()
}

fn undated(answer: Answer) -> Vec<(String, String)> {
    answer.headers.into_iter().filter(|(name, _)| name != "date").collect()
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let server = Server::start(exposition(), limits()).await;
    for path in ["/", "/metrics", "/-/healthy", "/-/ready", "/nothing"] {
        for coding in ["identity", "gzip"] {
            let request = format!("{path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {coding}\r\n\r\n");
            let get = server.ask(&format!("GET {request}")).await;
            assert!(!get.body.is_empty());
            // The second answer begins where the first one's headers end.
            let mut client = server.connect().await;
            client.send(format!("HEAD {request}GET {request}")).await;
            let head = client.answer_to_head().await.unwrap();
            assert_eq!(head.status, get.status, "{path}");
            let second = client.answer().await.unwrap();
            assert_eq!((second.status, &second.body), (get.status, &get.body), "{path}");
            assert_eq!(undated(head), undated(get), "{path}");
        }
    }
}

#[tokio::test]
async fn a_compressed_answer_unpacks_to_the_plain_one() {
    let server = Server::start(exposition(), limits()).await;
    let plain = server.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((plain.status, plain.header("content-encoding")), (200, None));
    assert_eq!(plain.body, EXPOSITION.as_bytes());
    let packed =
        server.ask("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip;q=0.5, *;q=0\r\n\r\n").await;
    assert_eq!((packed.status, packed.header("content-encoding")), (200, Some("gzip")));
    assert_eq!(unpacked(&packed), plain.body);
    for answer in [plain, packed] {
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    }
}

#[tokio::test]
async fn other_paths_are_not_found_and_other_methods_not_allowed() {
    let server = Server::start(exposition(), limits()).await;
    for target in ["/metric", "/metrics/", "//metrics", "/-/", "/-/reload", "/%2e%2e/metrics", "*", "x:80"] {
        let method = match target {
            "*" => "OPTIONS",
            "x:80" => "CONNECT",
            _ => "GET",
        };
        let answer = server.ask(&format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(answer.status, 404, "{target}");
    }
    for path in ["/", "/metrics", "/-/healthy", "/-/ready"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW", "get"] {
            let answer = server.ask(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    let absolute = server.ask("GET http://x/-/healthy?a=b HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(absolute.status, 200);
    let upgrade = "GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    assert_eq!(server.ask(upgrade).await.status, 200);
}

#[tokio::test]
async fn paths_are_compared_after_percent_decoding() {
    let server = Server::start(exposition(), limits()).await;
    for path in
        ["/%6detrics", "/%6D%65trics", "/metrics?a=%00", "/-/%68ealthy", "/%2D/healthy", "/api%2fv1/jobs"]
    {
        let answer = server.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    for path in ["/%256detrics", "/metrics%00", "/metric%", "/%ff"] {
        let answer = server.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_request_without_exactly_one_valid_host_is_refused_and_told_why() {
    let server = Server::start(exposition(), limits()).await;
    for (version, headers, expected) in [
        ("1.1", "", 400),
        ("1.1", "Host: x\r\nHost: x\r\n", 400),
        ("1.0", "Host: x\r\nHost: x\r\n", 400),
        ("1.1", "Host: a b\r\n", 400),
        ("1.1", "Host: x/y\r\n", 400),
        ("1.1", "Host: user@x\r\n", 400),
        ("1.1", "Host: x:port\r\n", 400),
        ("1.1", "Host: x, y\r\n", 400),
        ("1.1", "Host:\r\n", 200),
        ("1.0", "", 200),
        ("1.1", "Host: [::1]:9787\r\n", 200),
        ("1.1", "Host: x\r\nTransfer-Encoding: gzip, chunked\r\n", 501),
        ("1.1", "Host: x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501),
        ("1.1", "Host: x\r\nTransfer-Encoding: chunked\r\n", 200),
    ] {
        let mut client = server.connect().await;
        client.send(format!("GET /-/healthy HTTP/{version}\r\n{headers}\r\n0\r\n\r\n")).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, expected, "{version} {headers}");
        if expected != 200 {
            let text = String::from_utf8(answer.body).unwrap();
            assert!(text.contains("Host") || text.contains("Transfer-Encoding"), "{text}");
            assert!(client.rest().await.is_empty());
        }
    }
}

#[tokio::test]
async fn refusals_of_what_is_not_http_say_what_is_wrong() {
    let server = Server::start(exposition(), limits()).await;
    let large = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(17_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: a\r\n".repeat(101));
    for (request, status, expected) in [
        ("GET /metrics\r\n\r\n", 400, "The first line"),
        ("GET / HTTP/1.1\r\nBad Header: x\r\n\r\n", 400, "The name of a header"),
        ("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "Content-Length"),
        ("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400, "Transfer-Encoding"),
        ("GET / HTTP/2.0\r\n\r\n", 400, "This version of HTTP"),
        (&large, 431, "larger than 16 KiB"),
        (&many, 431, "more than 100 headers"),
    ] {
        for first in ["", "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"] {
            let mut client = server.connect().await;
            if !first.is_empty() {
                client.send(first).await;
                assert_eq!(client.answer().await.unwrap().status, 200);
            }
            client.send(request).await;
            let answer = client.answer().await.unwrap();
            let text = String::from_utf8(answer.body.clone()).unwrap();
            assert_eq!(answer.status, status, "{text}");
            assert!(text.contains(expected), "{text}");
            assert_eq!(answer.header("connection"), Some("close"));
            assert!(client.rest().await.is_empty());
        }
    }
}

#[tokio::test]
async fn page_and_json_are_compressed_when_asked_and_each_form_has_its_own_entity_tag() {
    let server = Server::start(exposition(), limits()).await;
    for path in ["/", "/api/v1/jobs"] {
        let ask = |headers: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let plain = server.ask(&ask("")).await;
        let packed = server.ask(&ask("Accept-Encoding: gzip\r\n")).await;
        assert_eq!((packed.status, packed.header("content-encoding")), (200, Some("gzip")));
        assert_eq!((plain.status, plain.header("content-encoding")), (200, None));
        assert_eq!(unpacked(&packed), plain.body);
        for answer in [&plain, &packed] {
            assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{path}");
        }
        let (Some(tag), Some(packed_tag)) = (plain.header("etag"), packed.header("etag")) else {
            assert_eq!(path, "/");
            continue;
        };
        assert_ne!(tag, packed_tag);
        for (tag, coding, expected) in [
            (tag, "identity", 304),
            (packed_tag, "gzip", 304),
            (tag, "gzip", 200),
            (packed_tag, "identity", 200),
            ("*", "gzip", 304),
        ] {
            let headers = format!("Accept-Encoding: {coding}\r\nIf-None-Match: {tag}\r\n");
            let mut client = server.connect().await;
            client.send(ask(&headers)).await;
            let answer = client.answer_to_head().await.unwrap();
            assert_eq!(answer.status, expected, "{tag} {coding}");
            assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        }
    }
}

#[tokio::test]
async fn it_is_not_ready_and_then_ready() {
    let server = Server::start(exposition(), limits()).await;
    let mut client = server.connect().await;
    for (ready, status) in [(false, 503), (true, 200)] {
        server.stub.ready.store(ready, Ordering::SeqCst);
        client.get("/-/ready").await;
        assert_eq!(client.answer().await.unwrap().status, status);
    }
}

#[tokio::test]
async fn a_head_of_more_than_16_kib_gets_431() {
    let server = Server::start(exposition(), limits()).await;
    let head = |size: usize| {
        let rest = "GET /-/healthy HTTP/1.1\r\nHost: x\r\nA: \r\n\r\n";
        format!("GET /-/healthy HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(size - rest.len()))
    };
    assert_eq!(server.ask(&head(16_000)).await.status, 200);
    assert_eq!(server.ask(&head(16 * 1024 + 1)).await.status, 431);
    let many = "A: a\r\n".repeat(1_000);
    assert_eq!(server.ask(&format!("GET /-/healthy HTTP/1.1\r\n{many}\r\n")).await.status, 431);
    server.serves().await;
}

#[tokio::test]
async fn the_body_of_a_request_does_not_confuse_the_next_one() {
    let server = Server::start(exposition(), limits()).await;
    let hidden = "GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = hidden.len();
    let next = "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for (name, framed) in [
        ("with a length", format!("Content-Length: {length}\r\n\r\n{hidden}")),
        ("in chunks", format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{hidden}\r\n0\r\n\r\n")),
    ] {
        for split in [false, true] {
            let mut client = server.connect().await;
            let (head, body) = framed.split_once("\r\n\r\n").unwrap();
            client.send(format!("GET /-/healthy HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n")).await;
            if split {
                sleep(Duration::from_millis(20)).await;
            }
            // It may have closed the connection meanwhile, rather than read the body.
            _ = client.try_send(format!("{body}{next}")).await;
            assert_eq!(client.answer().await.unwrap().status, 200, "{name}");
            let rest = String::from_utf8(client.rest().await).unwrap();
            assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 404 "), "{name}: {rest}");
            assert!(rest.matches("HTTP/1.1 ").count() < 2, "{name}: {rest}");
        }
    }
    // Together in one packet it is the next request that is answered.
    let mut client = server.connect().await;
    let both =
        format!("GET /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{hidden}{next}");
    client.send(both).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(client.answer().await.unwrap().status, 404);
}

#[tokio::test]
async fn a_huge_body_is_not_read() {
    let server = Server::start(exposition(), limits()).await;
    let mut client = server.connect().await;
    client.send("GET /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n").await;
    let mut sent = 0;
    while sent < 1_000_000_000 && client.try_send(vec![0; 65_536]).await.is_ok() {
        sent += 65_536;
    }
    assert!(sent < 100_000_000, "{sent} bytes were taken");
    server.serves().await;
}

#[test]
fn a_dripping_head_is_cut_and_a_resting_connection_is_not() {
    run_in_virtual_time(async {
        let server = Server::start(exposition(), impatient()).await;
        let mut resting = server.connect().await;
        resting.get("/metrics").await;
        resting.answer().await.unwrap();
        // One drips in its first request, one in its second, one begins its second in the packet of the first.
        let [mut first, mut second, mut third] =
            [server.connect().await, server.connect().await, server.connect().await];
        second.get("/metrics").await;
        second.answer().await.unwrap();
        third.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /metrics HTTP/1.1\r\n").await;
        third.answer().await.unwrap();
        let started = Instant::now();
        for client in [&mut first, &mut second, &mut third] {
            client.send("G").await;
        }
        let mut lasted = [None; 3];
        while lasted.contains(&None) {
            for (client, lasted) in [&mut first, &mut second, &mut third].into_iter().zip(&mut lasted) {
                _ = client.try_send("E").await;
                if lasted.is_none() && !client.rests_for(Duration::from_millis(10)).await {
                    *lasted = Some(started.elapsed());
                }
            }
            assert!(started.elapsed() < 10 * HEAD_LIMIT, "they lasted {lasted:?}");
        }
        for lasted in lasted.into_iter().flatten() {
            assert!(lasted + Duration::from_millis(20) >= HEAD_LIMIT, "cut after {lasted:?}");
        }
        assert!(resting.rests_for(HEAD_LIMIT).await);
        resting.get("/metrics").await;
        assert_eq!(resting.answer().await.unwrap().status, 200);
    });
}

#[test]
fn a_request_that_waited_for_the_one_before_it_has_its_own_time() {
    run_in_virtual_time(async {
        let server = Server::gated(exposition(), impatient()).await;
        let mut client = server.connect().await;
        client.get("/metrics").await;
        server.stub.scraped(1).await;
        client.get("/nothing").await;
        sleep(HEAD_LIMIT + Duration::from_millis(100)).await;
        server.stub.gate.cancel();
        assert_eq!(client.answer().await.unwrap().status, 200);
        assert_eq!(client.answer().await.unwrap().status, 404);
    });
}

#[test]
fn a_connection_that_rests_too_long_is_closed() {
    run_in_virtual_time(async {
        let mut limits = impatient();
        limits.timeouts.idle = Duration::from_millis(200);
        let server = Server::start(exposition(), limits).await;
        let (mut silent, mut kept) = (server.connect().await, server.connect().await);
        kept.get("/metrics").await;
        kept.answer().await.unwrap();
        assert!(kept.rests_for(Duration::from_millis(100)).await);
        assert!(silent.rest().await.is_empty());
        assert!(kept.rest().await.is_empty());
    });
}

#[test]
fn an_answer_is_whole_also_when_nobody_reads_the_body_of_its_request() {
    run_in_virtual_time(async {
        let server = Server::start(large(), impatient()).await;
        let mut client = Raw::connect_narrow(server.address).await;
        client.send("GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n").await;
        client.send(vec![0; 50_000]).await;
        assert_eq!(client.answer().await.unwrap().body.len(), large().concat().len());
        let started = Instant::now();
        assert!(client.rest().await.is_empty());
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    });
}

#[test]
fn a_client_that_does_not_take_its_answer_is_cut() {
    run_in_virtual_time(async {
        let server = Server::start(large(), impatient()).await;
        let mut client = Raw::connect_narrow(server.address).await;
        client.get("/metrics").await;
        let length: usize = client.answer_to_head().await.unwrap().length();
        assert!(length > 8 << 20);
        sleep(WRITE_LIMIT + WRITE_LIMIT).await;
        assert!(client.rest().await.len() < length);
    });
}

#[test]
fn a_client_that_takes_its_answer_slowly_is_not_cut() {
    run_in_virtual_time(async {
        let mut limits = impatient();
        limits.timeouts.idle = WRITE_LIMIT;
        let server = Server::start(large(), limits).await;
        let mut client = Raw::connect_narrow(server.address).await;
        client.get("/metrics").await;
        let mut left = client.answer_to_head().await.unwrap().length();
        let started = Instant::now();
        // Two MiB a second for a while, and then the rest.
        while left > 0 {
            if started.elapsed() < 4 * WRITE_LIMIT {
                sleep(Duration::from_millis(25)).await;
            }
            let read = client.read(48 * 1024).await.unwrap().len();
            assert!(read > 0, "{left} bytes are missing after {:?}", started.elapsed());
            left -= read;
        }
        assert!(started.elapsed() >= 4 * WRITE_LIMIT, "it was not slow: {:?}", started.elapsed());
    });
}

#[test]
fn the_connection_that_rested_longest_makes_room() {
    run_in_virtual_time(async {
        let server = Server::gated(exposition(), Limits { connections: 3, ..limits() }).await;
        let mut waiting = server.connect().await;
        waiting.get("/metrics").await;
        server.stub.scraped(1).await;
        let mut kept = server.connect().await;
        kept.get("/-/healthy").await;
        kept.answer().await.unwrap();
        let mut silent = server.connect().await;
        sleep(Duration::from_millis(50)).await;
        // Until its first request can no longer be on the way.
        tokio::time::advance(Duration::from_secs(1)).await;
        // The one that was served last has come before the silent one, and stays.
        kept.get("/-/healthy").await;
        kept.answer().await.unwrap();
        sleep(Duration::from_millis(1)).await;
        // Its scrape ends the wait of the other one, whose connection then rests too, but not as long as the one that was kept.
        let mut next = server.connect().await;
        next.get("/metrics").await;
        server.stub.scraped(1).await;
        assert!(silent.rest().await.is_empty());
        assert!(kept.rests_for(Duration::from_millis(50)).await);
        let mut last = server.connect().await;
        last.get("/metrics").await;
        server.stub.scraped(1).await;
        assert!(kept.rest().await.is_empty());
        drop((waiting, next, last));
    });
}

/// Connects from an address of loopback.
async fn connect_from(last: u8, server: SocketAddr) -> Raw {
    Raw::connect_from(Ipv4Addr::new(127, 0, 0, last), server).await
}

#[tokio::test]
async fn scrapes_of_others_go_on_while_one_address_holds_all_connections_with_answers_that_it_does_not_take()
{
    let limits = Limits { connections: 16, timeouts: PATIENT, ..limits() };
    let server = Server::start(large(), limits).await;
    let length = large().concat().len();
    let [mut kept, mut resting] =
        [connect_from(2, server.address).await, connect_from(2, server.address).await];
    resting.get("/-/healthy").await;
    assert_eq!(resting.answer().await.unwrap().status, 200);
    let mut greedy = Vec::new();
    for turn in 0..40 {
        let mut client = connect_from(1, server.address).await;
        // Large answers, and many small ones.
        client.get("/metrics").await;
        _ = client.try_send("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".repeat(300)).await;
        greedy.push(client);
        kept.get("/metrics").await;
        assert_eq!(kept.answer().await.unwrap().body.len(), length, "{turn}");
        let mut new = connect_from(3, server.address).await;
        new.get("/metrics").await;
        assert_eq!(new.answer().await.unwrap().body.len(), length, "{turn}");
    }
    // It has kept the server waiting longest, but its client has few connections.
    resting.get("/metrics").await;
    assert_eq!(resting.answer().await.unwrap().body.len(), length);
}

#[tokio::test]
async fn an_address_that_holds_all_connections_keeps_out_neither_its_own_health_checks_nor_its_scrapes() {
    let server = Server::start(large(), Limits { connections: 8, timeouts: PATIENT, ..limits() }).await;
    let length = large().concat().len();
    let (mut kept, mut slow) = (server.connect().await, Vec::new());
    for turn in 0..40 {
        let mut client = Raw::connect_narrow(server.address).await;
        client.get("/metrics").await;
        assert_eq!(client.answer_to_head().await.unwrap().length(), length);
        slow.push(client);
        server.serves().await;
        let mut new = server.connect().await;
        for client in [&mut kept, &mut new] {
            client.get("/metrics").await;
            let answer = client.answer().await.unwrap_or_else(|error| panic!("scrape {turn}: {error}"));
            assert_eq!(answer.body.len(), length);
        }
    }
    // The slow connections beyond the limit were cut, the furthest behind first.
    for (turn, client) in slow.iter_mut().enumerate().take(40 - 7) {
        assert_ne!(client.rest_of(length).await, length, "slow connection {turn} was left");
    }
}

#[tokio::test]
async fn waiting_scrapes_are_bounded_and_the_longest_wait_is_answered_at_once() {
    let server = Server::gated(exposition(), Limits { connections: 8, ..limits() }).await;
    let scrape = "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: 86400\r\n\r\n";
    let mut waiting = Vec::new();
    for turn in 0..20 {
        let mut client = server.connect().await;
        client.send(scrape).await;
        server.stub.scraped(1).await;
        waiting.push(client);
        if turn >= 2 {
            // A quarter of the connections may wait.
            assert_eq!(waiting.remove(0).answer().await.unwrap().body, EXPOSITION.as_bytes());
        }
        server.serves().await;
    }
    server.stub.gate.cancel();
    for mut client in waiting {
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answer() {
    let server = Server::gated(exposition(), limits()).await;
    let mut client = server.connect().await;
    client.get("/metrics").await;
    client.half_close().await;
    server.stub.scraped(1).await;
    sleep(Duration::from_millis(50)).await;
    server.stub.gate.cancel();
    assert_eq!(client.answer().await.unwrap().body, EXPOSITION.as_bytes());
    assert!(client.rest().await.is_empty());
}

#[test]
fn what_is_not_http_1_is_refused_and_the_next_client_is_served() {
    run_in_virtual_time(async {
        let server = Server::start(exposition(), impatient()).await;
        let hello =
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\r\n\r\n";
        let noise: Vec<u8> = (0..4_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
        for bytes in [
            &b"GET /metrics\r\n"[..],
            b"GET /metrics\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            b"GET /metrics HTTP/2.0\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nBad Header: x\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"GET /\0 HTTP/1.1\r\n\r\n",
            b"\r\n\r\n\r\n",
            b"\0",
            hello,
            &noise,
        ] {
            let mut client = server.connect().await;
            _ = client.try_send(bytes).await;
            let answer = client.rest().await;
            let refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 ");
            assert!(
                refused,
                "{:?} got {:?}",
                bytes.escape_ascii().to_string(),
                String::from_utf8_lossy(&answer)
            );
            server.serves().await;
        }
    });
}

#[tokio::test]
async fn a_scrape_that_panics_costs_its_connection_only() {
    let server = Server::start(exposition(), Limits { connections: 2, ..limits() }).await;
    let mut other = server.connect().await;
    other.get("/-/healthy").await;
    other.answer().await.unwrap();
    server.stub.panics.store(true, Ordering::SeqCst);
    // More often than there are places: they are free again.
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.get("/metrics").await;
        assert!(client.rest().await.is_empty());
    }
    server.stub.panics.store(false, Ordering::SeqCst);
    other.get("/metrics").await;
    assert_eq!(other.answer().await.unwrap().body, EXPOSITION.as_bytes());
}

#[test]
fn a_stop_answers_what_waits_and_closes_what_rests_at_once() {
    run_in_virtual_time(async {
        let server = Server::gated(exposition(), impatient()).await;
        let [mut waiting, mut rested, mut silent, mut dripping] =
            [server.connect().await, server.connect().await, server.connect().await, server.connect().await];
        waiting.get("/metrics").await;
        server.stub.scraped(1).await;
        rested.get("/-/healthy").await;
        rested.answer().await.unwrap();
        dripping.send("GET /metr").await;
        sleep(Duration::from_millis(20)).await;
        let started = Instant::now();
        server.shutdown.cancel();
        assert_eq!(waiting.answer().await.unwrap().body, EXPOSITION.as_bytes());
        for client in [&mut waiting, &mut rested, &mut silent, &mut dripping] {
            assert!(client.rest().await.is_empty());
        }
        within("the stop", server.task).await.unwrap();
        assert!(started.elapsed() + Duration::from_millis(50) < HEAD_LIMIT, "{:?}", started.elapsed());
        assert!(TcpStream::connect(server.address).await.is_err(), "it still listens");
    });
}

#[test]
fn a_stop_waits_for_answers_on_their_way_but_not_for_ever() {
    run_in_virtual_time(async {
        let timeouts = ClientTimeouts { write: Duration::from_secs(30), ..impatient().timeouts };
        let grace = Duration::from_secs(1);
        let server = Server::start(large(), Limits { grace, timeouts, ..impatient() }).await;
        let [mut taking, mut stuck] =
            [Raw::connect_narrow(server.address).await, Raw::connect_narrow(server.address).await];
        let mut lengths = [0; 2];
        for (client, length) in [&mut taking, &mut stuck].into_iter().zip(&mut lengths) {
            client.get("/metrics").await;
            *length = client.answer_to_head().await.unwrap().length();
        }
        let started = Instant::now();
        server.shutdown.cancel();
        sleep(grace / 10).await;
        assert_eq!(taking.rest().await.len(), lengths[0]);
        within("the stop", server.task).await.unwrap();
        assert!(started.elapsed() >= grace && started.elapsed() < 3 * grace, "{:?}", started.elapsed());
        assert!(stuck.rest().await.len() < lengths[1]);
    });
}
