//! The port under the web configuration, over real sockets: TLS with and without certificates of clients, passwords, HTTP/2, and
//! what becomes of it all when the files change.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
    time::Duration,
};

use base64::Engine as _;
use bytes::Bytes;
use fake_pinpoint::{FakePinpoint, HANG_LIMIT, Options, world::World};
use futures_util::future::join_all;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pinpoint_exporter::{
    model::clock::SystemClock,
    web::{self, ClientTimeouts, Content, Limits, ScrapeTimeout, config::WatchedWebConfig},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::support::{
    harness::{patient, run, run_in_virtual_time},
    pki::{Client, Pki, TLS, san, trusting},
    program::{Program, command},
    raw::{Raw, within},
};

/// A password's hash that is quickly made.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// A server that has one large answer to everything, and a web configuration.
struct Server {
    address: SocketAddr,
    web_config: Arc<WatchedWebConfig>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Stub;

/// More than the kernel keeps for a client that does not read.
const ANSWER_BYTES: usize = 8 << 20;

/// The data do not change, so all answers share them.
static ANSWER: LazyLock<Bytes> = LazyLock::new(|| vec![b'#'; ANSWER_BYTES].into());

impl web::Exporter for Stub {
    async fn scrape(&self, _: Duration, _: impl Future<Output = ()> + Send, _: bool) -> Content {
        vec![ANSWER.clone()].into()
    }

    fn page(&self, _: &str) -> Result<String, String> {
        Ok(String::new())
    }

    fn page_policy(&self) -> &'static str {
        "default-src 'none'"
    }

    fn jobs(&self, _: &str) -> Result<String, String> {
        Ok("{}".to_owned())
    }

    fn gzip(&self, document: String) -> Vec<Bytes> {
        vec![document.into()]
    }

    fn stop_waiting(&self) {}

    fn requests_to_aws(&self) -> watch::Receiver<usize> {
        watch::channel(0).1
    }

    fn is_ready(&self) -> bool {
        true
    }
}

impl Server {
    async fn start(pki: &Pki, text: &str) -> Self {
        Self::start_with(pki, text, patient()).await
    }

    async fn start_with(pki: &Pki, text: &str, limits: Limits) -> Self {
        let path = pki.write("web.yml", text);
        let web_config = Arc::new(WatchedWebConfig::open(path.as_ref(), Arc::new(SystemClock)).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let timeout = ScrapeTimeout {
            default: Duration::from_secs(10),
            offset: Duration::from_millis(500),
            longest: Duration::from_mins(2),
        };
        let (config, stopped) = (Arc::clone(&web_config), stop.clone().cancelled_owned());
        let served = web::serve(listener, Arc::new(Stub), timeout, limits, Some(config), stopped);
        let task = tokio::spawn(async { served.await.unwrap() });
        Self { address, web_config, stop, task }
    }

    async fn close(self) {
        self.stop.cancel();
        within("the end of the server", self.task).await.unwrap();
    }
}

/// Short, for what a test has to wait out.
fn impatient() -> Limits {
    let short = Duration::from_millis(300);
    let timeouts = ClientTimeouts { idle: short, head: short, write: short };
    Limits { timeouts, ..patient() }
}

async fn handshake(address: SocketAddr, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    within("a handshake", TlsConnector::from(Arc::new(config)).connect(name, socket)).await
}

/// Asks over TLS and HTTP/1.1; the status. A server of TLS 1.3 refuses a certificate when the client thinks that all is well.
async fn ask(address: SocketAddr, config: ClientConfig, path: &str) -> Result<StatusCode, String> {
    ask_as(address, config, path, "").await
}

/// The same, with credentials.
async fn ask_as(
    address: SocketAddr,
    config: ClientConfig,
    path: &str,
    authorization: &str,
) -> Result<StatusCode, String> {
    let stream = handshake(address, config).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header("host", "localhost").header("authorization", authorization);
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    match within("an answer", sender.send_request(request)).await {
        Ok(response) => Ok(response.status()),
        Err(error) => Err(format!("{error}: {:?}", connection.await)),
    }
}

#[test]
fn each_client_auth_type_lets_in_whom_it_should() {
    use Client::{Nobody, OfTheAuthority, SelfSigned, Stranger};
    run(async {
        let pki = Pki::new();
        // Two authorities: one that signs clients, and one client that is its own.
        pki.write("authorities.pem", &(pki.read("ca.pem") + &pki.read("SelfSigned.pem")));
        let authorities = "  client_ca_file: authorities.pem\n";
        for (policy, authorities, let_in) in [
            ("NoClientCert", "", &[Nobody, OfTheAuthority, SelfSigned, Stranger][..]),
            ("RequestClientCert", "", &[Nobody, OfTheAuthority, SelfSigned, Stranger]),
            ("RequestClientCert", authorities, &[Nobody, OfTheAuthority, SelfSigned, Stranger]),
            ("RequireAnyClientCert", "", &[OfTheAuthority, SelfSigned, Stranger]),
            ("RequireAnyClientCert", authorities, &[OfTheAuthority, SelfSigned, Stranger]),
            ("VerifyClientCertIfGiven", "", &[Nobody]),
            ("VerifyClientCertIfGiven", authorities, &[Nobody, OfTheAuthority, SelfSigned]),
            ("RequireAndVerifyClientCert", authorities, &[OfTheAuthority, SelfSigned]),
        ] {
            let server =
                Server::start(&pki, &format!("{TLS}  client_auth_type: {policy}\n{authorities}")).await;
            for client in [Nobody, OfTheAuthority, SelfSigned, Stranger] {
                let name = if client == Nobody { String::new() } else { format!("{client:?}") };
                for version in [&TLS12, &TLS13] {
                    let asked = ask(server.address, pki.client(&name, version), "/-/healthy").await;
                    let expected = let_in.contains(&client);
                    assert_eq!(
                        asked == Ok(StatusCode::OK),
                        expected,
                        "{policy} {client:?} {version:?}: {asked:?}"
                    );
                }
            }
            server.close().await;
        }
    });
}

#[test]
fn allowed_names_are_those_of_hosts_addresses_mailboxes_and_uris_and_everyone_needs_one() {
    run(async {
        let pki = Pki::new();
        let names = ["DNS:one", "IP:192.0.2.7", "IP:2001:db8::7", "email:a@example.com", "URI:spiffe://x/y"];
        for (number, name) in names.iter().enumerate() {
            pki.issue(&format!("client{number}"), vec![san("DNS:other"), san(name)]);
        }
        pki.issue("without", Vec::new());
        let verify = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n";
        let request = "  client_auth_type: RequestClientCert\n";
        let list = "  client_allowed_sans: [one, 192.0.2.7, '2001:db8::7', a@example.com, 'spiffe://x/y']\n";
        for policy in [verify, request] {
            let server = Server::start(&pki, &format!("{TLS}{policy}{list}")).await;
            for (client, expected) in (0..names.len())
                .map(|number| (format!("client{number}"), true))
                .chain(["OfTheAuthority", "without", ""].map(|name| (name.to_owned(), false)))
            {
                let asked = ask(server.address, pki.client(&client, &TLS13), "/-/healthy").await;
                assert_eq!(asked == Ok(StatusCode::OK), expected, "{policy} {client:?}: {asked:?}");
            }
            server.close().await;
        }
    });
}

#[test]
fn versions_suites_and_order_are_those_of_the_file() {
    run(async {
        let pki = Pki::new();
        let server = Server::start(&pki, &format!("{TLS}  min_version: TLS13\n")).await;
        assert!(handshake(server.address, pki.client("", &TLS12)).await.is_err());
        assert!(handshake(server.address, pki.client("", &TLS13)).await.is_ok());
        server.close().await;
        let (small, large) =
            ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
        for (suites, server_prefers, expected) in [
            (format!("[{large}, {small}]"), true, large),
            (format!("[{small}, {large}]"), true, small),
            // rustls's client likes the large one best.
            (format!("[{small}, {large}]"), false, large),
        ] {
            let text = format!(
                "{TLS}  max_version: TLS12\n  cipher_suites: {suites}\n  prefer_server_cipher_suites: {server_prefers}\n"
            );
            let server = Server::start(&pki, &text).await;
            let stream = handshake(server.address, pki.client("", &TLS12)).await.unwrap();
            let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
            assert_eq!(format!("{suite:?}"), expected, "{suites}");
            drop(stream);
            server.close().await;
        }
    });
}

#[test]
fn who_speaks_no_tls_is_told() {
    run(async {
        let pki = Pki::new();
        let server = Server::start(&pki, TLS).await;
        let mut client = Raw::connect(server.address).await;
        client.get("/metrics").await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, 400);
        assert!(String::from_utf8(answer.body).unwrap().contains("write https"));
        assert!(client.rest().await.is_empty());
        server.close().await;
    });
}

async fn status(client: &mut Raw, path: &str, authorization: &str) -> u16 {
    let header =
        if authorization.is_empty() { String::new() } else { format!("Authorization: {authorization}\r\n") };
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n")).await;
    client.answer().await.unwrap().status
}

#[test]
fn without_a_right_password_there_is_nothing_to_see_on_any_path() {
    run(async {
        let pki = Pki::new();
        let users = format!("basic_auth_users:\n  alice: {}\n  bob: {}\n", hash("secret"), hash("other"));
        let server = Server::start(&pki, &users).await;
        let mut client = Raw::connect(server.address).await;
        for path in ["/", "/metrics", "/api/v1/jobs", "/-/healthy", "/-/ready", "/nothing"] {
            for authorization in
                ["", "Bearer x", "Basic %", &basic("alice", "other"), &basic("nobody", "secret")]
            {
                assert_eq!(status(&mut client, path, authorization).await, 401, "{path} {authorization}");
            }
        }
        client.get("/-/healthy").await;
        let refusal = client.answer().await.unwrap();
        assert!(refusal.header("www-authenticate").unwrap().starts_with("Basic "), "{refusal:?}");
        for authorization in [basic("alice", "secret"), basic("bob", "other"), basic("alice", "secret")] {
            assert_eq!(status(&mut client, "/-/healthy", &authorization).await, 200);
        }
        // Who is struck off is out, on connections that are open too.
        pki.write("web.yml", &format!("basic_auth_users:\n  bob: {}\n", hash("other")));
        server.web_config.reload_if_changed();
        server.web_config.reload_if_changed();
        assert_eq!(status(&mut client, "/-/healthy", &basic("alice", "secret")).await, 401);
        assert_eq!(status(&mut client, "/-/healthy", &basic("bob", "other")).await, 200);
        server.close().await;
    });
}

#[test]
fn a_flood_of_wrong_passwords_is_turned_away_and_keeps_out_nobody_who_is_known() {
    run(async {
        let pki = Pki::new();
        // Slow enough for the flood to fill its places.
        let slow = bcrypt::hash("secret", 8).unwrap();
        let server = Server::start(&pki, &format!("basic_auth_users:\n  alice: {slow}\n")).await;
        let mut known = Raw::connect(server.address).await;
        assert_eq!(status(&mut known, "/-/healthy", &basic("alice", "secret")).await, 200);
        // On a busy machine the passwords may be verified as soon as they come, and none is turned away.
        let mut refusals = BTreeSet::new();
        within("refusals of both kinds", async {
            while refusals.len() < 2 {
                let flood: Vec<_> = (0..200)
                    .map(|number| {
                        let address = server.address;
                        tokio::spawn(async move {
                            let mut client = Raw::connect(address).await;
                            status(&mut client, "/metrics", &basic("alice", &number.to_string())).await
                        })
                    })
                    .collect();
                for _ in 0..20 {
                    assert_eq!(status(&mut known, "/-/healthy", &basic("alice", "secret")).await, 200);
                }
                refusals.extend(join_all(flood).await.into_iter().map(Result::unwrap));
            }
        })
        .await;
        assert_eq!(refusals, BTreeSet::from([401, 429]));
        server.close().await;
    });
}

#[test]
fn the_right_password_sent_by_many_at_once_after_a_start_lets_all_of_them_in() {
    run(async {
        let pki = Pki::new();
        // If each request were verified by itself, 150 would be more than can wait, and the first would take long enough for
        // the others to come.
        let slow = bcrypt::hash("secret", 12).unwrap();
        let server = Server::start(&pki, &format!("{TLS}basic_auth_users:\n  alice: {slow}\n")).await;
        let (mut sender, connection) = http2_client(&pki, server.address).await;
        // After an answer the client knows how many requests it may have under way.
        let unknown = Request::get("https://localhost/-/healthy").body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(sender.send_request(unknown).await.unwrap().status(), StatusCode::UNAUTHORIZED);
        let mut many = Vec::new();
        for _ in 0..150 {
            let (mut sender, config, address) = (sender.clone(), pki.client("", &TLS13), server.address);
            many.push(tokio::spawn(async move {
                let alice = basic("alice", "secret");
                let http2 = Request::get("https://localhost/-/healthy").header("authorization", &alice);
                let http2 = sender.send_request(http2.body(Empty::<Bytes>::new()).unwrap());
                let http1 = ask_as(address, config, "/-/healthy", &alice);
                let (http2, http1) = tokio::join!(http2, http1);
                (http2.unwrap().status(), http1.unwrap())
            }));
        }
        for answers in join_all(many).await {
            assert_eq!(answers.unwrap(), (StatusCode::OK, StatusCode::OK));
        }
        connection.abort();
        server.close().await;
    });
}

/// Sends one wrong password after the other from an address of loopback, until it is told to stop.
async fn guess(last: u8, server: SocketAddr, number: usize, stop: CancellationToken) {
    let guessing = async {
        for turn in 0.. {
            let mut client = Raw::connect_from(Ipv4Addr::new(127, 0, 0, last), server).await;
            let guess = basic("alice", &format!("{number} {turn}"));
            let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: {guess}\r\n\r\n");
            if client.try_send(request).await.is_ok() {
                _ = client.answer().await;
            }
        }
    };
    stop.run_until_cancelled(guessing).await;
}

#[test]
fn a_fresh_client_gets_in_behind_the_address_of_a_flood_and_beside_one_from_twenty_addresses() {
    run(async {
        let pki = Pki::new();
        let slow = bcrypt::hash("secret", 8).unwrap();
        // From 20 addresses come more passwords than can wait.
        for (addresses, clients, fresh) in [(1, 60, 100), (20, 400, 99)] {
            // Right after a restart: nobody is known.
            let server = Server::start(&pki, &format!("basic_auth_users:\n  alice: {slow}\n")).await;
            let stop = CancellationToken::new();
            let mut flood = Vec::new();
            for number in 0..clients {
                let last = 100 + u8::try_from(number % addresses).unwrap();
                flood.push(tokio::spawn(guess(last, server.address, number, stop.clone())));
            }
            for _ in 0..3 {
                let mut client = Raw::connect_from(Ipv4Addr::new(127, 0, 0, fresh), server.address).await;
                let status = status(&mut client, "/-/healthy", &basic("alice", "secret")).await;
                assert_eq!(status, 200, "{addresses} addresses");
            }
            stop.cancel();
            for ended in flood {
                ended.await.unwrap();
            }
            server.close().await;
        }
    });
}

#[test]
fn scrapes_of_others_go_on_over_tls_and_http2_while_one_address_takes_none_of_its_answers() {
    run(async {
        let pki = Pki::new();
        let long = 2 * HANG_LIMIT;
        let timeouts = ClientTimeouts { idle: long, head: long, write: long };
        let limits = Limits { connections: 8, timeouts, ..Limits::default() };
        let server = Server::start_with(&pki, TLS, limits).await;
        let (mut slow1, mut slow2) = (Vec::new(), Vec::new());
        for turn in 0..20 {
            let stream = handshake(server.address, pki.client("", &TLS13)).await.unwrap();
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            let connection = tokio::spawn(connection);
            let request = Request::get("/metrics").header("host", "x").body(Empty::<Bytes>::new()).unwrap();
            let answer = within("an answer", sender.send_request(request)).await.unwrap();
            slow1.push((sender, connection, answer));
            let (mut sender, connection) = http2_client(&pki, server.address).await;
            let answer = within("an answer", sender.send_request(get("/metrics"))).await.unwrap();
            slow2.push((sender, connection, answer));
            // From another address, over both.
            let other = Ipv4Addr::new(127, 0, 0, 2);
            for protocol in [&b"http/1.1"[..], b"h2"] {
                let length = scrape_from(other, &pki, server.address, protocol).await;
                assert_eq!(length, ANSWER_BYTES, "{turn}");
            }
        }
        // Its own, too.
        assert_eq!(ask(server.address, pki.client("", &TLS13), "/-/healthy").await, Ok(StatusCode::OK));
        drop((slow1, slow2));
        server.close().await;
    });
}

/// The length of a scrape over TLS, by a client with an address of its own.
async fn scrape_from(client: Ipv4Addr, pki: &Pki, server: SocketAddr, protocol: &[u8]) -> usize {
    let mut config = pki.client("", &TLS13);
    config.alpn_protocols = vec![protocol.to_vec()];
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((client, 0).into()).unwrap();
    let stream = socket.connect(server).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = TokioIo::new(within("a handshake", connecting).await.unwrap());
    let scrape = async {
        let answer = if protocol == b"h2" {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(get("/metrics")).await.unwrap()
        } else {
            let (mut sender, connection) = http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let request = Request::get("/metrics").header("host", "x").body(Empty::<Bytes>::new()).unwrap();
            sender.send_request(request).await.unwrap()
        };
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body().collect().await.unwrap().to_bytes().len()
    };
    within("a scrape", scrape).await
}

#[test]
fn the_rate_limit_counts_every_request_and_headers_stand_on_every_answer() {
    run(async {
        let pki = Pki::new();
        let text = "rate_limit:\n  interval: 1h\n  burst: 3\nhttp_server_config:\n  headers:\n    \
                    X-Frame-Options: deny\n    Content-Security-Policy: default-src 'self'\n";
        let server = Server::start(&pki, text).await;
        let mut client = Raw::connect(server.address).await;
        for (path, expected) in [("/", 200), ("/nothing", 404), ("/-/healthy", 200), ("/-/healthy", 429)] {
            client.get(path).await;
            let answer = client.answer().await.unwrap();
            assert_eq!(answer.status, expected);
            assert_eq!(answer.header("x-frame-options"), Some("deny"));
            assert_eq!(answer.header("content-security-policy"), Some("default-src 'self'"));
        }
        server.close().await;
    });
}

/// A client of HTTP/2.
async fn http2_client(
    pki: &Pki,
    address: SocketAddr,
) -> (http2::SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let mut config = pki.client("", &TLS13);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = handshake(address, config).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("https://localhost{path}")).body(Empty::new()).unwrap()
}

#[test]
fn a_response_to_head_over_http2_has_a_length_and_no_body() {
    run(async {
        let pki = Pki::new();
        let server = Server::start(&pki, TLS).await;
        let (mut sender, _connection) = http2_client(&pki, server.address).await;
        for path in ["/metrics", "/-/healthy", "/nowhere"] {
            let mut ask = async |method| {
                let mut request = get(path);
                *request.method_mut() = method;
                let answer = within("an answer", sender.send_request(request)).await.unwrap();
                let (status, length) = (answer.status(), answer.headers()["content-length"].clone());
                let body = within("a body", answer.into_body().collect()).await;
                (status, length, body.expect("a valid response").to_bytes().len())
            };
            let (whole, head) = (ask(Method::GET).await, ask(Method::HEAD).await);
            assert_eq!(whole.1, whole.2.to_string(), "{path}");
            assert_eq!(head, (whole.0, whole.1, 0), "{path}");
        }
        server.close().await;
    });
}

#[test]
fn http2_is_served_over_tls_unless_the_file_says_no() {
    run(async {
        let pki = Pki::new();
        let server = Server::start(&pki, TLS).await;
        let (mut sender, connection) = http2_client(&pki, server.address).await;
        // All at once: those that are not taken would fill the window of the connection.
        let answers = (0..10).map(|_| {
            let answer = sender.send_request(get("/metrics"));
            async { answer.await.unwrap().into_body().collect().await.unwrap().to_bytes().len() }
        });
        assert_eq!(within("ten answers", join_all(answers)).await, [ANSWER_BYTES; 10]);
        // The server is stopped while an answer is on its way, and the answer comes whole.
        let answer = within("an answer", sender.send_request(get("/metrics"))).await.unwrap();
        let closed = tokio::spawn(server.close());
        let body = within("a body", answer.into_body().collect()).await.unwrap().to_bytes();
        assert_eq!(body.len(), ANSWER_BYTES);
        closed.await.unwrap();
        within("the end", connection).await.unwrap().unwrap();

        let server = Server::start(&pki, &format!("{TLS}http_server_config:\n  http2: false\n")).await;
        let mut config = pki.client("", &TLS13);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = handshake(server.address, config).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        drop(stream);
        server.close().await;
    });
}

#[test]
fn a_client_of_http2_that_takes_nothing_or_asks_nothing_is_let_go() {
    run_in_virtual_time(async {
        let pki = Pki::new();
        let server = Server::start_with(&pki, TLS, impatient()).await;
        let (mut sender, connection) = http2_client(&pki, server.address).await;
        let answer = within("an answer", sender.send_request(get("/metrics"))).await.unwrap();
        // Its window is full, and it never opens.
        _ = within("the end", connection).await.unwrap();
        drop(answer);
        let (sender, connection) = http2_client(&pki, server.address).await;
        _ = within("the end", connection).await.unwrap();
        drop(sender);
        server.close().await;
    });
}

#[test]
fn a_slow_handshake_is_cut_off_and_gives_way_to_others() {
    run_in_virtual_time(async {
        let pki = Pki::new();
        let server = Server::start_with(&pki, TLS, impatient()).await;
        for begin in [&b""[..], &[22], &[22, 3, 1, 2, 0, 1, 0]] {
            let mut socket = TcpStream::connect(server.address).await.unwrap();
            socket.write_all(begin).await.unwrap();
            let ended = within("the end", socket.read_to_end(&mut Vec::new())).await;
            assert!(ended.is_ok_and(|read| read == 0) || !begin.is_empty(), "{begin:?}");
        }
        server.close().await;
        let long = 2 * HANG_LIMIT;
        let timeouts = ClientTimeouts { idle: long, head: long, write: long };
        let server = Server::start_with(&pki, TLS, Limits { connections: 2, timeouts, ..patient() }).await;
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let mut socket = TcpStream::connect(server.address).await.unwrap();
            socket.write_all(&[22, 3, 1]).await.unwrap();
            waiting.push(socket);
        }
        assert_eq!(ask(server.address, pki.client("", &TLS13), "/-/healthy").await, Ok(StatusCode::OK));
        _ = within("the end of the first", waiting.remove(0).read_to_end(&mut Vec::new())).await;
        server.close().await;
    });
}

fn variables<'a>(fake: &'a str, path: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("AWS_ENDPOINT_URL_PINPOINT", fake),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("PINPOINT_EXPORTER_TARGETS", "app/seg"),
        ("PINPOINT_EXPORTER_WEB_CONFIG_FILE", path),
    ]
}

#[test]
fn certificates_are_replaced_under_scrapes_and_none_of_them_fails() {
    run(async {
        let fake = FakePinpoint::start_with(World::default(), Options::default()).await.unwrap();
        let url = fake.url();
        let pki = Pki::new();
        let path = pki.write("web.yml", TLS);
        let program = Program::start(&variables(&url, &path));
        let authority = pki.read("ca.pem");
        let kept = trusting(&authority);
        let scrape = async |client: &reqwest::Client| {
            let url = format!("https://localhost:{}/metrics", program.address.port());
            let answer =
                client.get(url).header("X-Prometheus-Scrape-Timeout-Seconds", "0.1").send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.text().await.unwrap()
        };
        let value = |text: &str, name: &str| -> f64 {
            let name = format!("pinpoint_exporter_config_last_reload_{name} ");
            text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
        };
        let mut last = value(&scrape(&kept).await, "success_timestamp_seconds");
        for _ in 0..2 {
            pki.renew_server();
            loop {
                // On a connection that is kept, and on a new one.
                scrape(&kept).await;
                let text = scrape(&trusting(&authority)).await;
                assert!((value(&text, "successful") - 1.0).abs() < f64::EPSILON, "{text}");
                let now = value(&text, "success_timestamp_seconds");
                if now > last {
                    last = now;
                    break;
                }
            }
        }
        // A broken file is said once, and shows.
        pki.write("web.yml", "tls_server_config: [");
        while value(&scrape(&kept).await, "successful") > 0.0 {}
        for _ in 0..20 {
            scrape(&trusting(&authority)).await;
        }
        fs::write(&path, TLS).unwrap();
        while value(&scrape(&kept).await, "successful") < 1.0 {}
        let log = program.last_words().await;
        assert_eq!(log.matches("its last valid version stays in force").count(), 1, "{log}");
        assert_eq!(log.matches("has been read again and is in force").count(), 3, "{log}");
    });
}

/// Settings that stop every other command.
const INVALID: [(&str, &str); 7] = [
    ("AWS_REGION", "?"),
    ("AWS_ENDPOINT_URL", "nowhere"),
    ("PINPOINT_EXPORTER_TARGETS", "app/**"),
    ("PINPOINT_EXPORTER_CACHE_TTL", "soon"),
    ("PINPOINT_EXPORTER_WEB_CONFIG_FILE", "/nowhere"),
    ("PINPOINT_EXPORTER_LOG_LEVEL", "loud"),
    ("PINPOINT_EXPORTER_LISTEN", "0.0.0.0:1"),
];

#[test]
fn healthcheck_needs_no_password_certificate_or_setting_but_the_address_and_finds_tls_by_itself() {
    run(async {
        let fake = FakePinpoint::start_with(World::default(), Options::default()).await.unwrap();
        let url = fake.url();
        let pki = Pki::new();
        let users = format!("basic_auth_users:\n  alice: {}\n", hash("secret"));
        let certificates = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n";
        for text in [
            String::new(),
            users.clone(),
            TLS.to_owned(),
            format!("{TLS}{users}"),
            format!("{TLS}{certificates}{users}"),
            format!("{TLS}{certificates}  max_version: TLS12\n"),
            format!("{TLS}  min_version: TLS13\nhttp_server_config:\n  http2: false\n"),
            "rate_limit:\n  interval: 1h\n  burst: 1\n".to_owned(),
        ] {
            let path = pki.write("web.yml", &text);
            let mut program = Program::start(&variables(&url, &path));
            let address = program.address.to_string();
            let address = [("PINPOINT_EXPORTER_LISTEN_ADDRESS", address.as_str())];
            let healthcheck =
                |others: &[(&str, &str)]| command(&["healthcheck"], &[&address, others].concat());
            for others in [&[][..], &INVALID, &variables(&url, &path)] {
                let output = healthcheck(others);
                assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
                assert!(output.stderr.is_empty(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
            }
            program.terminate();
            program.end().await;
            let output = healthcheck(&[]);
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("no server listens"), "{output:?}");
        }
        let output = command(&["healthcheck"], &[("PINPOINT_EXPORTER_LISTEN_ADDRESS", "localhost")]);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
    });
}

#[test]
fn a_clients_certificate_may_be_for_any_purpose_and_not_for_servers_only() {
    run(async {
        use rcgen::ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
        let pki = Pki::new();
        let policy = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n";
        let server = Server::start(&pki, &format!("{TLS}{policy}")).await;
        for (name, purposes, expected) in [
            ("any", &[Any][..], true),
            ("several", &[ServerAuth, Any], true),
            ("client", &[ServerAuth, ClientAuth], true),
            ("none", &[], true),
            ("server", &[ServerAuth], false),
        ] {
            pki.issue_for(name, vec![san("DNS:client")], purposes);
            for version in [&TLS12, &TLS13] {
                let asked = ask(server.address, pki.client(name, version), "/-/healthy").await;
                assert_eq!(asked == Ok(StatusCode::OK), expected, "{name}: {asked:?}");
            }
        }
        // Whoever signed it.
        let stranger = Pki::new();
        stranger.issue_for("any", vec![san("DNS:client")], &[Any]);
        pki.write("stranger.pem", &stranger.read("any.pem"));
        pki.write("stranger.key", &stranger.read("any.key"));
        assert!(ask(server.address, pki.client("stranger", &TLS13), "/-/healthy").await.is_err());
        server.close().await;
    });
}

#[test]
fn each_failed_handshake_is_logged_once_with_what_the_client_did_wrong() {
    run(async {
        let fake = FakePinpoint::start_with(World::default(), Options::default()).await.unwrap();
        let url = fake.url();
        let pki = Pki::new();
        let policy = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  min_version: TLS13\n";
        let path = pki.write("web.yml", &format!("{TLS}{policy}"));
        let program = Program::start(&variables(&url, &path));
        pki.issue_for("server_only", Vec::new(), &[rcgen::ExtendedKeyUsagePurpose::ServerAuth]);
        let stranger = Pki::new();
        for file in ["OfTheAuthority.pem", "OfTheAuthority.key"] {
            pki.write(&file.replace("OfTheAuthority", "OfAnother"), &stranger.read(file));
        }
        for (name, certificate) in [
            ("v1", include_str!("certificates/v1.pem")),
            ("rsa1024", include_str!("certificates/rsa1024.pem")),
        ] {
            pki.write(&format!("{name}.pem"), certificate);
            pki.write(&format!("{name}.key"), &pki.read("Stranger.key"));
        }
        for _ in 0..3 {
            for name in ["", "OfAnother", "Stranger", "server_only", "v1", "rsa1024"] {
                assert!(
                    ask(program.address, pki.client(name, &TLS13), "/-/healthy").await.is_err(),
                    "{name}"
                );
            }
            assert!(handshake(program.address, pki.client("OfTheAuthority", &TLS12)).await.is_err());
            let distrusting =
                ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
            assert!(handshake(program.address, distrusting).await.is_err());
            let mut socket = TcpStream::connect(program.address).await.unwrap();
            socket.write_all(&[22; 100]).await.unwrap();
            _ = within("the end", socket.read_to_end(&mut Vec::new())).await;
            // Who only hangs up did nothing wrong.
            drop(TcpStream::connect(program.address).await.unwrap());
        }
        let log = program.last_words().await;
        for cause in [
            "the client shows no certificate",
            "the client's certificate is signed by no authority of client_ca_file",
            "the client's certificate is a CA certificate",
            "the client's certificate is not meant for clients",
            "the client's certificate has X.509 version 1",
            "the client's certificate's RSA key has 1024 bits",
            "the client offers no version of TLS that is enabled here",
            "the client does not trust the certificate of this server",
            "the client does not send TLS",
        ] {
            assert_eq!(log.matches(cause).count(), 1, "{cause}: {log}");
        }
        assert_eq!(log.matches("a TLS handshake failed").count(), 9, "{log}");
        assert!(log.contains("client=127.0.0.1"), "{log}");
    });
}

#[test]
fn the_expiry_of_the_served_certificate_is_a_metric_with_tls_only() {
    run(async {
        let fake = FakePinpoint::start_with(World::default(), Options::default()).await.unwrap();
        let url = fake.url();
        let pki = Pki::new();
        pki.renew_server_until(2100);
        let path = pki.write("web.yml", TLS);
        let program = Program::start(&variables(&url, &path));
        let expiry = async || {
            let url = format!("https://localhost:{}/metrics", program.address.port());
            let scrape =
                trusting(&pki.read("ca.pem")).get(url).header("X-Prometheus-Scrape-Timeout-Seconds", "0.1");
            let text = scrape.send().await.unwrap().text().await.unwrap();
            let name = "pinpoint_exporter_tls_certificate_expiry_timestamp_seconds ";
            text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
        };
        assert_eq!(expiry().await.as_deref(), Some("4102444800"));
        pki.renew_server_until(2101);
        while expiry().await.as_deref() != Some("4133980800") {}
        drop(program);
        let path = pki.write("plain.yml", "rate_limit:\n  interval: 1s\n  burst: 100\n");
        let program = Program::start(&variables(&url, &path));
        let mut client = Raw::connect(program.address).await;
        client.get("/metrics").await;
        let text = String::from_utf8(client.answer().await.unwrap().body).unwrap();
        assert!(text.contains("config_last_reload_successful") && !text.contains("tls_certificate_expiry"));
    });
}
