//! Rude clients by the hundred against the program itself, while legitimate scrapes go on.

use std::{fs, net::SocketAddr, time::Duration};

use fake_pinpoint::{
    FakePinpoint, Options,
    fault::Fault,
    world::{Life, World},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::support::{
    house::{client, run},
    program::Program,
    text_format::parse,
};

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

async fn start() -> (FakePinpoint, Program) {
    let mut world = World::default();
    for n in 0..50 {
        world
            .segment("app", "segment")
            .jobs
            .push(Life::new(format!("job-{n}"), i64::MAX / 2_000_000, 1).into());
        world.segment("app", "segment").jobs.push(Life::new(format!("old-{n}"), 0, 1).into());
    }
    let fake = FakePinpoint::start(world).await.unwrap();
    let (key, url) = (Options::default_key(), fake.url());
    let program = Program::start(&[
        ("AWS_ACCESS_KEY_ID", &key.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &key.secret_access_key),
        ("AWS_ENDPOINT_URL_PINPOINT", &url),
        ("PINPOINT_EXPORTER_TARGETS", "app/segment"),
        ("PINPOINT_EXPORTER_FINISHED_JOB_MAX_AGE", "0s"),
        ("PINPOINT_EXPORTER_LOG_LEVEL", "debug"),
    ]);
    (fake, program)
}

/// A figure of `/proc/PID/status`, in KiB.
fn memory(program: &Program, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// Sends, and reads what comes, until either end has had enough.
async fn throw(address: SocketAddr, bytes: Vec<u8>) {
    let Ok(mut socket) = TcpStream::connect(address).await else { return };
    let _ = socket.write_all(&bytes).await;
    let mut sink = vec![0; 4096];
    while let Ok(Ok(1..)) = timeout(Duration::from_secs(1), socket.read(&mut sink)).await {}
}

async fn drip(address: SocketAddr) {
    loop {
        let Ok(mut socket) = TcpStream::connect(address).await else { return };
        for byte in REQUEST.iter().cycle().take(10_000) {
            if socket.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn pipeline(address: SocketAddr) {
    let Ok(socket) = TcpStream::connect(address).await else { return };
    let (mut read, mut write) = socket.into_split();
    let requests = REQUEST.repeat(10_000);
    let send = tokio::spawn(async move {
        let _ = write.write_all(&requests).await;
        write
    });
    let mut sink = vec![0; 64 * 1024];
    while let Ok(1..) = read.read(&mut sink).await {}
    drop(send.await);
}

async fn half_close(address: SocketAddr) {
    let Ok(mut socket) = TcpStream::connect(address).await else { return };
    let _ = socket.write_all(REQUEST).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "a half-closed client gets its answer");
}

async fn reset(address: SocketAddr) {
    let Ok(mut socket) = TcpStream::connect(address).await else { return };
    let _ = socket.write_all(&REQUEST[..20]).await;
    let _ = socket.set_zero_linger();
}

#[test]
fn legitimate_scrapes_go_on_among_rude_clients_and_memory_stays_bounded() {
    run(async {
        let (_fake, mut program) = start().await;
        let address: SocketAddr = program.url.trim_start_matches("http://").parse().unwrap();
        let client = client();
        let url = format!("{}/metrics", program.url);
        let scrape = async || client.get(&url).send().await.unwrap().text().await.unwrap();
        let first = scrape().await;
        let idle = memory(&program, "VmRSS");

        let mut rude = JoinSet::new();
        for _ in 0..200 {
            rude.spawn(drip(address));
        }
        for n in 0..20 {
            let head =
                format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-{n}: {}\r\n\r\n", "x".repeat(1_000_000));
            rude.spawn(throw(address, head.into_bytes()));
            let body = format!(
                "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{}",
                "x".repeat(1_000_000)
            );
            rude.spawn(throw(address, body.into_bytes()));
            rude.spawn(throw(address, b"GET /metrics\r\n".to_vec()));
            rude.spawn(throw(address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()));
            rude.spawn(half_close(address));
            rude.spawn(reset(address));
        }
        rude.spawn(pipeline(address));

        let start = Instant::now();
        let mut scrapes = 0;
        while start.elapsed() < Duration::from_secs(5) {
            let text = timeout(Duration::from_secs(5), scrape()).await.expect("a scrape among rude clients");
            let seen = parse(&text).unwrap();
            assert_eq!(seen.value("pinpoint_target_up", &[]), Some(1.0));
            scrapes += 1;
            sleep(Duration::from_millis(100)).await;
        }
        let most = memory(&program, "VmHWM");
        let added = most.saturating_sub(idle);
        #[expect(clippy::print_stdout, reason = "the figures are what a reader of the test wants to see")]
        {
            println!("{scrapes} scrapes of {} bytes; {idle} KiB idle, {most} KiB at most", first.len());
        }
        assert!(added < 64 * 1024, "{added} KiB above idle");
        assert!(scrapes >= 10, "{scrapes} scrapes in 5 s");
        rude.abort_all();
        while let Some(ended) = rude.join_next().await {
            assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
        }
        let text = scrape().await;
        assert!(parse(&text).is_ok());
        assert!(program.terminate().success());
        assert!(!program.log().contains("panicked"), "{}", program.log());
    });
}

#[test]
fn a_signal_answers_the_scrapes_that_wait_and_ends_the_program_well() {
    run(async {
        let (fake, mut program) = start().await;
        fake.fault(Fault::Hang.always());
        let client = client();
        let request = client.get(format!("{}/metrics", program.url));
        let scrape = tokio::spawn(request.header("X-Prometheus-Scrape-Timeout-Seconds", "20").send());
        fake.wait_for_requests(1).await;
        let begin = Instant::now();
        let ended = tokio::task::spawn_blocking(move || program.terminate()).await.unwrap();
        assert!(ended.success());
        let answer = scrape.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        assert!(parse(&answer.text().await.unwrap()).is_ok());
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    });
}
