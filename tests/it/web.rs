//! The server alone, with an exporter of the test's own behind it, over raw sockets.

use std::{
    io::Read as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use pinpoint_exporter::web::{self, Limits, Patience, ScrapeTimeout};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::support::house::run;

/// An exporter whose scrapes wait at a gate, and then are so large.
struct Gated {
    gate: Semaphore,
    waiting: Notify,
    stopping: CancellationToken,
    ready: AtomicBool,
    chunk: Bytes,
    chunks: usize,
}

impl web::Exporter for Gated {
    async fn scrape(&self, wait: Duration, gzip: bool) -> Vec<Bytes> {
        assert!(wait != Duration::from_secs(66), "a crash that is asked for");
        self.waiting.notify_one();
        tokio::select! {
            _ = self.gate.acquire() => {}
            () = self.stopping.cancelled() => return vec![Bytes::from_static(b"early\n")],
            () = sleep(wait) => {}
        }
        if gzip {
            let text: Vec<u8> =
                std::iter::repeat_n(&self.chunk[..], self.chunks).collect::<Vec<_>>().concat();
            let mut packed = Vec::new();
            let mut encoder = flate2::read::GzEncoder::new(&text[..], flate2::Compression::fast());
            encoder.read_to_end(&mut packed).unwrap();
            return vec![packed.into()];
        }
        vec![self.chunk.clone(); self.chunks]
    }

    fn stop_waiting(&self) {
        self.stopping.cancel();
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}

const SHORT: Limits = Limits {
    patience: Patience {
        idle: Duration::from_secs(20),
        head: Duration::from_millis(300),
        write: Duration::from_millis(300),
    },
    connections: 100,
    grace: Duration::from_millis(500),
};

struct Server {
    address: SocketAddr,
    exporter: Arc<Gated>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// A server whose answers are `chunks` times 64 KiB, or one line if that is 0.
    async fn with(limits: Limits, chunks: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let chunk = if chunks == 0 { "a 1\n".into() } else { "0123456789abcde\n".repeat(4096).into() };
        let exporter = Arc::new(Gated {
            gate: Semaphore::new(1_000_000),
            waiting: Notify::new(),
            stopping: CancellationToken::new(),
            ready: AtomicBool::new(false),
            chunk,
            chunks: chunks.max(1),
        });
        let timeout = ScrapeTimeout { default: Duration::from_secs(10), offset: Duration::ZERO };
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(web::serve(listener, Arc::clone(&exporter), timeout, limits, stopped));
        Self { address, exporter, stop, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What comes back until the server closes, for what is sent. The connection is to be closed by the server.
    async fn exchange(&self, request: impl AsRef<[u8]>) -> String {
        let mut socket = self.connect().await;
        // The server may have seen enough before all is sent.
        let _ = socket.write_all(request.as_ref()).await;
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(10), socket.read_to_end(&mut answer))
            .await
            .expect("it does not close");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")).await
    }

    async fn assert_serves(&self) {
        assert!(self.get("/metrics", "").await.ends_with("\r\n\r\na 1\n"));
    }
}

/// Reads one answer with a length from a connection that stays open.
async fn read_answer(socket: &mut TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.unwrap();
    (head, body)
}

fn head_of(answer: &str) -> Vec<String> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    head.lines().filter(|line| !line.starts_with("date:")).map(str::to_owned).collect()
}

#[test]
fn every_path_has_its_answer() {
    run(async {
        let server = Server::with(SHORT, 0).await;
        for (path, status, content_type, part) in [
            ("/metrics", "200 OK", "text/plain; version=0.0.4; charset=utf-8", "a 1\n"),
            ("/metrics?x=y", "200 OK", "text/plain; version=0.0.4; charset=utf-8", "a 1\n"),
            ("/", "200 OK", "text/html; charset=utf-8", "href=\"metrics\""),
            ("/-/healthy", "200 OK", "text/plain; charset=utf-8", "Healthy."),
            ("/-/ready", "503 Service Unavailable", "text/plain; charset=utf-8", "Looking"),
            ("/nothing", "404 Not Found", "text/plain; charset=utf-8", "/metrics"),
            ("/metrics/", "404 Not Found", "text/plain; charset=utf-8", "/metrics"),
            ("//metrics", "404 Not Found", "text/plain; charset=utf-8", "/metrics"),
        ] {
            let answer = server.get(path, "").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{path}: {answer}");
            assert!(answer.contains(&format!("content-type: {content_type}\r\n")), "{path}: {answer}");
            assert!(answer.split("\r\n\r\n").nth(1).unwrap().contains(part), "{path}: {answer}");
        }
        server.exporter.ready.store(true, Ordering::SeqCst);
        assert!(server.get("/-/ready", "").await.starts_with("HTTP/1.1 200 OK\r\n"));
    });
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    run(async {
        let server = Server::with(SHORT, 0).await;
        for path in ["/metrics", "/", "/-/healthy", "/-/ready", "/nothing"] {
            let get = server.get(path, "").await;
            let head = server
                .exchange(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
                .await;
            assert_eq!(head_of(&head), head_of(&get), "{path}");
            assert!(head.ends_with("\r\n\r\n") && !get.ends_with("\r\n\r\n"), "{path}");
        }
    });
}

#[test]
fn other_methods_are_refused_with_those_that_are_allowed() {
    run(async {
        let server = Server::with(SHORT, 0).await;
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
            let request = format!("{method} /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let answer = server.exchange(request).await;
            assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{method}: {answer}");
            assert!(answer.contains("allow: GET, HEAD\r\n"), "{method}: {answer}");
        }
    });
}

#[test]
fn gzip_is_sent_to_who_asks_and_unpacks_to_the_same() {
    run(async {
        let server = Server::with(SHORT, 3).await;
        let mut socket = server.connect().await;
        let mut answers = Vec::new();
        for accept in ["gzip", "identity"] {
            let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {accept}\r\n\r\n");
            socket.write_all(request.as_bytes()).await.unwrap();
            answers.push(read_answer(&mut socket).await);
        }
        let [(packed_head, packed), (plain_head, plain)] = &answers[..] else { unreachable!() };
        assert!(
            packed_head.contains("content-encoding: gzip") && packed_head.contains("vary: Accept-Encoding")
        );
        assert!(!plain_head.contains("content-encoding") && plain_head.contains("vary: Accept-Encoding"));
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(&unpacked, plain);
    });
}

#[test]
fn a_head_beyond_16_kib_is_refused_and_one_below_is_not() {
    run(async {
        let server = Server::with(SHORT, 0).await;
        let header = |bytes| format!("X-Much: {}\r\n", "x".repeat(bytes));
        assert!(server.get("/metrics", &header(15_000)).await.starts_with("HTTP/1.1 200 "));
        for bytes in [17_000, 1_000_000] {
            let answer = server.get("/metrics", &header(bytes)).await;
            // To one that still sends, the answer may be lost with the connection.
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{bytes}: {answer}");
        }
        assert!(server.get("/metrics", &"A: b\r\n".repeat(200)).await.starts_with("HTTP/1.1 431 "));
        server.assert_serves().await;
    });
}

#[test]
fn a_body_is_not_taken_for_the_next_request() {
    run(async {
        let server = Server::with(SHORT, 0).await;
        for body in
            ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
        {
            let mut socket = server.connect().await;
            for _ in 0..3 {
                socket
                    .write_all(format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{body}").as_bytes())
                    .await
                    .unwrap();
                let (head, answer) = read_answer(&mut socket).await;
                assert!(head.starts_with("HTTP/1.1 200 ") && answer == b"a 1\n");
            }
        }
        // One that is too long costs its connection: `exchange` ends when the server closes it.
        let endless = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n";
        server.exchange(format!("{endless}{}", "x".repeat(1_000_000))).await;
        server.assert_serves().await;
    });
}

#[test]
fn a_client_that_takes_too_long_over_its_head_is_cut_and_one_that_rests_is_not() {
    run(async {
        let server = Server::with(SHORT, 0).await;
        let mut resting = server.connect().await;
        resting.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        read_answer(&mut resting).await;
        let silent = server.connect().await;
        let start = Instant::now();
        let mut dripping = server.connect().await;
        while timeout(Duration::from_millis(20), dripping.read_u8()).await.is_err() {
            // Each byte is progress, and none gains more time.
            if dripping.write_all(b"G").await.is_err() {
                break;
            }
        }
        assert!((0.25..3.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
        // Longer than a head may take.
        for mut socket in [resting, silent] {
            socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            assert!(read_answer(&mut socket).await.0.starts_with("HTTP/1.1 200 "));
        }
    });
}

#[test]
fn a_client_that_does_not_take_its_answer_is_cut_and_a_slow_one_is_not() {
    run(async {
        // 64 MiB: more than the sockets' buffers hold.
        let server = Server::with(SHORT, 1024).await;
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut stuck = server.connect().await;
        stuck.write_all(request).await.unwrap();
        let mut slow = server.connect().await;
        slow.write_all(request).await.unwrap();
        let (mut taken, mut buffer) = (0, vec![0; 8 * 1024 * 1024]);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            // Enough for the kernel to tell the server that there is room again.
            sleep(Duration::from_millis(50)).await;
            taken += slow.read(&mut buffer[..1024 * 1024]).await.unwrap();
        }
        loop {
            match slow.read(&mut buffer).await.unwrap() {
                0 => break,
                more => taken += more,
            }
        }
        assert!(taken > 64 * 1024 * 1024, "the slow client got {taken} bytes");
        let mut rest = Vec::new();
        let got = stuck.read_to_end(&mut rest).await.map_or(0, |_| rest.len());
        assert!(got < 64 * 1024 * 1024, "the stuck client got {got} bytes");
    });
}

#[test]
fn when_all_places_are_taken_the_oldest_that_rests_makes_room() {
    run(async {
        let server = Server::with(Limits { connections: 3, ..SHORT }, 0).await;
        server.exporter.gate.forget_permits(1_000_000);
        let mut busy = server.connect().await;
        busy.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        server.exporter.waiting.notified().await;
        let (mut oldest, mut younger) = (server.connect().await, server.connect().await);
        let mut newest = server.connect().await;
        newest.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(read_answer(&mut newest).await.0.starts_with("HTTP/1.1 200 "));
        assert_eq!(oldest.read(&mut [0]).await.unwrap(), 0, "the oldest was closed");
        younger.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(read_answer(&mut younger).await.0.starts_with("HTTP/1.1 200 "));
        server.exporter.gate.add_permits(10);
        assert_eq!(read_answer(&mut busy).await.1, b"a 1\n", "one with a request never makes room");
    });
}

#[test]
fn a_client_that_closed_its_half_still_gets_its_answer() {
    run(async {
        let server = Server::with(SHORT, 0).await;
        server.exporter.gate.forget_permits(1_000_000);
        let mut socket = server.connect().await;
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        socket.shutdown().await.unwrap();
        server.exporter.waiting.notified().await;
        sleep(Duration::from_millis(50)).await;
        server.exporter.gate.add_permits(1);
        assert_eq!(read_answer(&mut socket).await.1, b"a 1\n");
    });
}

#[test]
fn what_is_no_http_1_request_is_refused_or_closed_and_the_next_client_is_served() {
    run(async {
        let server = Server::with(SHORT, 0).await;
        let mut noise = vec![0_u8; 4096];
        noise.iter_mut().enumerate().for_each(|(n, byte)| *byte = u8::try_from(n * 37 % 251).unwrap());
        for bytes in [
            b"GET /metrics\r\n\r\n".to_vec(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            b"GET http:// HTTP/1.1\r\n\r\n".to_vec(),
            b"GET /metrics HTTP/1.1\r\nBad Header: x\r\n\r\n".to_vec(),
            b"GET /metrics HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_vec(),
            b"\r\n\r\n\r\n".to_vec(),
            noise,
        ] {
            let answer = server.exchange(&bytes).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{bytes:?}: {answer}");
            server.assert_serves().await;
        }
    });
}

#[test]
fn a_crash_in_an_answer_costs_its_connection_only() {
    run(async {
        let server = Server::with(SHORT, 0).await;
        let answer = server.get("/metrics", "X-Prometheus-Scrape-Timeout-Seconds: 66\r\n").await;
        assert_eq!(answer, "");
        server.assert_serves().await;
    });
}

#[test]
fn ten_thousand_pipelined_requests_are_answered_one_after_the_other() {
    run(async {
        let server = Server::with(SHORT, 0).await;
        let (mut read, mut write) = server.connect().await.into_split();
        let requests = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(10_000);
        let send = tokio::spawn(async move {
            write.write_all(requests.as_bytes()).await.unwrap();
            write
        });
        let (mut answers, mut buffer, mut text) = (0, vec![0; 256 * 1024], Vec::new());
        while answers < 10_000 {
            let got = read.read(&mut buffer).await.unwrap();
            assert!(got > 0, "closed after {answers} answers");
            text.extend_from_slice(&buffer[..got]);
            let whole = text.windows(4).filter(|window| window == b"a 1\n").count();
            answers += whole;
            if whole > 0 {
                let keep = text.len().min(3);
                text.drain(..text.len() - keep);
            }
        }
        send.await.unwrap();
    });
}

#[test]
fn a_stopping_server_finishes_what_is_in_flight_and_closes_what_rests() {
    run(async {
        let server = Server::with(SHORT, 0).await;
        server.exporter.gate.forget_permits(1_000_000);
        let mut resting = server.connect().await;
        resting.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        read_answer(&mut resting).await;
        let mut waiting = server.connect().await;
        waiting.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        server.exporter.waiting.notified().await;
        server.stop.cancel();
        assert_eq!(read_answer(&mut waiting).await.1, b"early\n", "it does not wait for its refreshes");
        assert_eq!(resting.read(&mut [0]).await.unwrap(), 0);
        server.task.await.unwrap();
        assert!(TcpStream::connect(server.address).await.is_err(), "it accepts no more");
    });
}

#[test]
fn a_stuck_client_does_not_keep_a_server_from_stopping() {
    run(async {
        let patience = Patience { write: Duration::from_mins(1), ..SHORT.patience };
        let server = Server::with(Limits { patience, ..SHORT }, 1024).await;
        let mut stuck = server.connect().await;
        stuck.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        stuck.read_exact(&mut [0; 64]).await.unwrap();
        server.stop.cancel();
        let start = Instant::now();
        server.task.await.unwrap();
        assert!((0.4..3.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    });
}
