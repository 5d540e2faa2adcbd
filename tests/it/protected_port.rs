//! The port under the web configuration, over real sockets: TLS with and without certificates of clients, passwords, HTTP/2, and
//! what becomes of it all when the files change.

use std::{fs, io, net::SocketAddr, sync::Arc, time::Duration};

use base64::Engine as _;
use bytes::Bytes;
use fake_pinpoint::{FakePinpoint, Options, world::World};
use futures_util::future::join_all;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pinpoint_exporter::{
    clock::SystemClock,
    web::{self, Limits, Patience, ScrapeTimeout},
    web_config::Watched,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::support::{
    house::{patient, run, run_in_virtual_time},
    pki::{Client, Pki, san},
    program::{Program, command},
    raw::{Raw, within},
};

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

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
    web_config: Arc<Watched>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Stub;

/// More than the kernel keeps for a client that does not read.
const ANSWER_BYTES: usize = 8 << 20;

impl web::Exporter for Stub {
    async fn scrape(&self, _: Duration, _: bool) -> Vec<Bytes> {
        vec![Bytes::from(vec![b'#'; ANSWER_BYTES])]
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

    fn stop_waiting(&self) {}

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
        let web_config = Arc::new(Watched::open(path.as_ref(), Arc::new(SystemClock)).unwrap());
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
    let patience = Patience { idle: short, head: short, write: short };
    Limits { patience, ..patient() }
}

async fn handshake(address: SocketAddr, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    within("a handshake", TlsConnector::from(Arc::new(config)).connect(name, socket)).await
}

/// Asks over TLS and HTTP/1.1; the status. A server of TLS 1.3 refuses a certificate when the client thinks that all is well.
async fn ask(address: SocketAddr, config: ClientConfig, path: &str) -> Result<StatusCode, String> {
    let stream = handshake(address, config).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new()).unwrap();
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
        server.web_config.look();
        server.web_config.look();
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
        let slow = bcrypt::hash("secret", 10).unwrap();
        let server = Server::start(&pki, &format!("basic_auth_users:\n  alice: {slow}\n")).await;
        let mut known = Raw::connect(server.address).await;
        assert_eq!(status(&mut known, "/-/healthy", &basic("alice", "secret")).await, 200);
        let flood: Vec<_> = (0..100)
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
        let mut answers = [0, 0];
        for answer in flood {
            let answer = answer.await.unwrap();
            answers[[401, 429].iter().position(|known| *known == answer).expect("a refusal")] += 1;
        }
        assert!(answers[0] > 0 && answers[1] > 0, "{answers:?}");
        server.close().await;
    });
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
        let limits = Limits { connections: 2, ..patient() };
        let server = Server::start_with(&pki, TLS, limits).await;
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let mut socket = TcpStream::connect(server.address).await.unwrap();
            socket.write_all(&[22, 3, 1]).await.unwrap();
            waiting.push(socket);
        }
        assert_eq!(ask(server.address, pki.client("", &TLS13), "/-/healthy").await, Ok(StatusCode::OK));
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

/// A client that trusts one authority.
fn trusting(authority: &str) -> reqwest::Client {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config).build().unwrap()
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
        assert_eq!(log.matches("the old one stays in force").count(), 1, "{log}");
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
