//! The exporter as a process, and clients that mean it no good.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use fake_pinpoint::{FakePinpoint, Options, fault::Fault, world::Life, world::World};
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::support::{
    harness::HANG_SETTING,
    program::{Program, command_async},
    raw::{Answer, Raw, within},
    text_format,
};

const MIB: u64 = 1024 * 1024;

/// How much more memory than at rest rude clients may cost.
const MEMORY_LIMIT: u64 = 64 * MIB;

/// They are rude for at least so long, and until so much has come of it.
const RAGE: Duration = Duration::from_secs(5);
const SCRAPES: u32 = 20;
const ANNOYANCES: usize = 40;

/// How long the exporter lets a client take to send the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// What the exporter logs when it stops and clients hold it up.
const HELD_UP: &str = "had not read their response when the grace period ended";

/// An exporter of one segment of the fake. `limits` is for the shell, before it becomes the exporter.
fn start(fake: &FakePinpoint, limits: &str) -> Program {
    start_with(fake, limits, &[("PINPOINT_EXPORTER_TARGETS", "app/seg")])
}

/// One of all segments, which refreshes and shows all jobs at every scrape.
fn start_uncached(fake: &FakePinpoint, limits: &str) -> Program {
    let settings = [
        ("PINPOINT_EXPORTER_TARGETS", "app/*"),
        ("PINPOINT_EXPORTER_MAX_ATTEMPTS", "1"),
        ("PINPOINT_EXPORTER_CACHE_TTL", "0s"),
        ("PINPOINT_EXPORTER_FINISHED_JOBS_PER_SEGMENT", "0"),
        ("PINPOINT_EXPORTER_FINISHED_JOB_MAX_AGE", "0s"),
    ];
    start_with(fake, limits, &settings)
}

fn start_with(fake: &FakePinpoint, limits: &str, settings: &[(&str, &str)]) -> Program {
    let (key, url) = (Options::default_key(), fake.url());
    let mut variables = vec![
        ("AWS_ACCESS_KEY_ID", key.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", &key.secret_access_key),
        ("AWS_ENDPOINT_URL_PINPOINT", &url),
    ];
    variables.extend(settings);
    Program::start_under(limits, &variables)
}

async fn fake() -> FakePinpoint {
    let fake = FakePinpoint::start(World::default()).await.unwrap();
    let now = fake.clock().now();
    let job = Life::new("job", now - 60_000, 3_600_000);
    fake.world().segment("app", "seg").jobs.push(job.into());
    fake
}

/// That this is a scrape as it should be.
fn check(answer: &Answer) {
    assert_eq!(answer.status, 200);
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(text.contains("pinpoint_") && text.contains("\"seg\""), "{text}");
    text_format::parse(&text).unwrap();
}

/// Scrapes ten times a second, on a connection that it keeps and on new ones in turn, until the time has come and it is enough;
/// tells how often, and the slowest.
async fn scrape_until(address: SocketAddr, end: Instant, enough: impl Fn(u32) -> bool) -> (u32, Duration) {
    let mut kept = Raw::connect(address).await;
    let (mut scrapes, mut slowest) = (0, Duration::ZERO);
    while Instant::now() < end || !enough(scrapes) {
        let started = Instant::now();
        if scrapes % 2 == 0 {
            kept.get("/metrics").await;
            check(&kept.answer().await.unwrap());
        } else {
            let mut new = Raw::connect(address).await;
            new.get("/metrics").await;
            check(&new.answer().await.unwrap());
        }
        slowest = slowest.max(started.elapsed());
        scrapes += 1;
        sleep_until(started + Duration::from_millis(100)).await;
    }
    (scrapes, slowest)
}

/// Sends a byte a second, and begins anew when it is cut, which must not be before its time.
async fn drip(address: SocketAddr, calm: Arc<AtomicBool>) {
    while !calm.load(Ordering::SeqCst) {
        let mut client = Raw::connect(address).await;
        let begin = Instant::now();
        for byte in b"GET /metrics HTTP/1.1\r\nHost: exporter\r\n".iter().cycle() {
            if client.try_send([*byte]).await.is_err() || !client.rests_for(Duration::from_secs(1)).await {
                break;
            }
        }
        let lasted = begin.elapsed();
        assert!(lasted >= HEAD_LIMIT || calm.load(Ordering::SeqCst), "one was cut after {lasted:?}");
    }
}

/// So many requests at once, whose answers it takes later; the number of the answers.
async fn pipeline(address: SocketAddr, requests: usize) -> usize {
    let (read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let writer = tokio::spawn(async move {
        let all = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(requests);
        write.write_all(all.as_bytes()).await?;
        write.shutdown().await
    });
    sleep(RAGE / 5).await;
    let (mut lines, mut answers) = (tokio::io::BufReader::new(read).lines(), 0);
    while let Some(line) = lines.next_line().await.unwrap() {
        answers += usize::from(line.starts_with("HTTP/1.1 200 OK"));
    }
    writer.await.unwrap().unwrap();
    answers
}

/// One after the other of what is wrong.
async fn annoy(address: SocketAddr, turn: usize) {
    let mut client = Raw::connect(address).await;
    match turn % 8 {
        0 => _ = client.try_send("GET /metrics\r\n").await,
        1 => _ = client.try_send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await,
        2 => {
            client.get("/metrics").await;
            client.half_close().await;
            check(&client.answer().await.unwrap());
        }
        3 => {
            client.send("GET /metrics HTTP/1.1\r\nHo").await;
            return client.reset();
        }
        4 => {
            client.get("/metrics").await;
            return client.reset();
        }
        5 => {
            let body = "GET /-/ready HTTP/1.1\r\n\r\n".repeat(40);
            let head = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
            client.send(head + &body).await;
            check(&client.answer().await.unwrap());
            return;
        }
        6 => {
            let head = "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n";
            client.send(head).await;
            while client.try_send(vec![0; 8_192]).await.is_ok() {}
        }
        _ => {
            _ = client.try_send([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0x0a, 0x0d]).await;
            client.half_close().await;
        }
    }
    client.rest().await;
}

/// A head of a megabyte, as much of it as is taken.
async fn send_a_large_head(address: SocketAddr) {
    let mut client = Raw::connect(address).await;
    _ = client.try_send("GET /metrics HTTP/1.1\r\nA: ").await;
    _ = client.try_send(vec![b'a'; 1 << 20]).await;
    let answer = client.rest().await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the figures are wanted")]
async fn scrapes_go_on_while_clients_are_rude_and_memory_stays_bounded() {
    let fake = fake().await;
    let mut exporter = start(&fake, "");
    let address = exporter.address;
    scrape_until(address, Instant::now(), |scrapes| scrapes == 3).await;
    let idle = exporter.memory("VmRSS");

    let calm = Arc::new(AtomicBool::new(false));
    let annoyances = Arc::new(AtomicUsize::new(0));
    let stopping = Arc::new(AtomicBool::new(false));
    let mut dripping = JoinSet::new();
    for _ in 0..200 {
        dripping.spawn(drip(address, Arc::clone(&stopping)));
    }
    let mut rude = JoinSet::new();
    for _ in 0..20 {
        let calm = Arc::clone(&calm);
        rude.spawn(async move {
            while !calm.load(Ordering::SeqCst) {
                send_a_large_head(address).await;
                sleep(Duration::from_millis(250)).await;
            }
        });
    }
    for _ in 0..4 {
        let (calm, annoyances) = (Arc::clone(&calm), Arc::clone(&annoyances));
        rude.spawn(async move {
            while !calm.load(Ordering::SeqCst) {
                annoy(address, annoyances.fetch_add(1, Ordering::SeqCst)).await;
                sleep(Duration::from_millis(20)).await;
            }
        });
    }
    let pipelined = tokio::spawn(within("the pipeline", pipeline(address, 10_000)));
    let enough = |scrapes: u32| scrapes >= SCRAPES && annoyances.load(Ordering::SeqCst) >= ANNOYANCES;
    let scraping = scrape_until(address, Instant::now() + RAGE, enough);
    let (scrapes, slowest) = within("the scrapes", scraping).await;
    assert_eq!(within("the pipeline", pipelined).await.unwrap(), 10_000);
    calm.store(true, Ordering::SeqCst);
    while let Some(ended) = within("the rude clients", rude.join_next()).await {
        ended.unwrap();
    }
    let (rss, peak) = (exporter.memory("VmRSS"), exporter.memory("VmHWM"));
    println!(
        "idle {} KiB, then {} KiB, at most {} KiB; {scrapes} scrapes, the slowest {slowest:?}; {} annoyances",
        idle / 1024,
        rss / 1024,
        peak / 1024,
        annoyances.load(Ordering::SeqCst)
    );
    assert!(peak <= idle + MEMORY_LIMIT, "{peak} bytes, from {idle}");

    // Those who drip are still there, and do not hold up the end.
    stopping.store(true, Ordering::SeqCst);
    exporter.terminate();
    assert_eq!(exporter.end().await.code(), Some(0), "{}", exporter.log());
    while let Some(ended) = within("those who drip", dripping.join_next()).await {
        ended.unwrap();
    }
    let log = exporter.log();
    assert!(!log.contains(HELD_UP) && !log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn a_scrape_that_waits_is_answered_at_once_when_the_process_is_to_end() {
    let fake = fake().await;
    fake.fault(Fault::Hang.always());
    let mut exporter = start(&fake, "");
    let (mut waiting, mut resting) =
        (Raw::connect(exporter.address).await, Raw::connect(exporter.address).await);
    resting.get("/-/healthy").await;
    assert_eq!(resting.answer().await.unwrap().status, 200);
    waiting.send("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: 60\r\n\r\n").await;
    within("the request", fake.wait_for_requests(1)).await;
    assert!(waiting.rests_for(Duration::from_millis(200)).await);
    // It would wait beyond the time that the exporter gives itself to stop.
    exporter.terminate();
    let answer = waiting.answer().await.unwrap();
    assert_eq!(answer.status, 200);
    text_format::parse(&String::from_utf8(answer.body).unwrap()).unwrap();
    assert!(resting.rest().await.is_empty());
    assert_eq!(exporter.end().await.code(), Some(0), "{}", exporter.log());
    assert!(!exporter.log().contains(HELD_UP), "{}", exporter.log());
}

#[tokio::test]
async fn without_file_descriptors_it_does_not_spin_and_who_waits_longest_makes_room() {
    let fake = fake().await;
    let mut exporter = start(&fake, "ulimit -n 48;");
    scrape_until(exporter.address, Instant::now(), |scrapes| scrapes == 2).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(Raw::connect(exporter.address).await);
    }
    let ticks = exporter.ticks();
    let mut client = Raw::connect(exporter.address).await;
    client.get("/metrics").await;
    check(&client.answer().await.unwrap());
    sleep(Duration::from_secs(1)).await;
    let ticks = exporter.ticks() - ticks;
    assert!(ticks < 30, "{ticks} hundredths of a second");
    exporter.terminate();
    assert_eq!(exporter.end().await.code(), Some(0), "{}", exporter.log());
}

/// The text of a scrape by a client with an address of its own.
async fn scrape(address: SocketAddr) -> String {
    let mut client = Raw::connect_from(Ipv4Addr::new(127, 0, 0, 2), address).await;
    client.get("/metrics").await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the figures are wanted")]
async fn sixty_clients_that_take_old_data_slowly_keep_at_most_64_mib_of_it() {
    let fake = fake().await;
    let now = fake.clock().now();
    let push = |from: usize, to: usize| {
        let mut world = fake.world();
        let jobs = &mut world.segment("app", "seg").jobs;
        jobs.extend((from..to).map(|number| Life::new(format!("job{number}"), now - 60_000, 30_000).into()));
    };
    push(0, 1_200);
    let mut exporter = start_uncached(&fake, "");
    for _ in 0..5 {
        let text = scrape(exporter.address).await;
        assert!(text.len() > 3_000_000, "{} bytes", text.len());
    }
    let idle = exporter.memory("VmHWM");
    let mut slow = Vec::new();
    for number in 0..60 {
        push(1_200 + number, 1_201 + number);
        let mut client = Raw::connect_narrow(exporter.address).await;
        client.get("/metrics").await;
        assert!(client.answer_to_head().await.unwrap().length() > 3_000_000);
        slow.push(client);
    }
    let peak = exporter.memory("VmHWM");
    println!("{} KiB, then at most {} KiB", idle / 1024, peak / 1024);
    assert!(peak <= idle + MEMORY_LIMIT, "{peak} bytes, from {idle}");
    // The last of them is not among those that were cut.
    assert_eq!(slow[59].rest_of(3_000_000).await, 3_000_000);
    exporter.terminate();
    drop(slow);
    assert_eq!(exporter.end().await.code(), Some(0), "{}", exporter.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_64_file_descriptors_a_flood_of_clients_leaves_enough_for_the_api() {
    let fake = fake().await;
    // For eight requests at once.
    for number in 0..20 {
        fake.world().segment("app", &format!("segment{number}"));
    }
    let mut exporter = start_uncached(&fake, "ulimit -n 64;");
    let mut flood = Vec::new();
    for turn in 0..200 {
        let mut client = Raw::connect_narrow(exporter.address).await;
        // At first they only connect: the first request to the API comes when the flood has taken all that it can.
        if turn >= 100 && turn % 2 == 0 {
            _ = client.try_send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20)).await;
        }
        flood.push(client);
        if turn >= 99 && turn % 20 == 19 {
            let text = scrape(exporter.address).await;
            assert!(
                text.contains("\npinpoint_target_up{") && !text.contains("pinpoint_target_error{"),
                "{text}"
            );
        }
    }
    exporter.terminate();
    drop(flood);
    assert_eq!(exporter.end().await.code(), Some(0), "{}", exporter.log());
    assert!(!exporter.log().contains("Too many open files"), "{}", exporter.log());
}

#[tokio::test]
async fn targets_that_are_added_take_file_descriptors_from_clients() {
    let fake = fake().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("targets");
    let target = |region| format!("arn:aws:mobiletargeting:{region}:111122223333:apps/app/segments/seg\n");
    std::fs::write(&path, target("eu-west-1")).unwrap();
    let settings = [("PINPOINT_EXPORTER_TARGETS_FILE", path.to_str().unwrap())];
    let mut exporter = start_with(&fake, "ulimit -n 64;", &settings);
    let mut clients = Vec::new();
    for _ in 0..24 {
        let mut client = Raw::connect(exporter.address).await;
        client.get("/-/healthy").await;
        assert_eq!(client.answer().await.unwrap().status, 200);
        clients.push(client);
    }
    // In each of these regions, eight requests may be sent to AWS at once.
    let more = ["eu-west-1", "us-east-1", "us-west-2"].map(target).concat();
    std::fs::write(&path, more).unwrap();
    exporter.signal(Signal::HUP);
    let mut open = 24;
    within("the end of connections", async {
        while open > 16 {
            let mut left = Vec::new();
            for mut client in clients.drain(..) {
                if !client.is_closed().await {
                    left.push(client);
                }
            }
            open = left.len();
            clients = left;
        }
    })
    .await;
    assert_eq!(open, 16);
    assert!(scrape(exporter.address).await.contains("pinpoint_target_up"));
    exporter.terminate();
    drop(clients);
    assert_eq!(exporter.end().await.code(), Some(0), "{}", exporter.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_api_hangs_and_scrapes_wait_for_a_day_health_is_answered() {
    let fake = fake().await;
    fake.fault(Fault::Hang.always());
    // Fewer connections than scrapes, none of which the refresh timeout ends.
    let settings = [
        ("PINPOINT_EXPORTER_TARGETS", "app/seg"),
        ("PINPOINT_EXPORTER_CACHE_TTL", "0s"),
        ("PINPOINT_EXPORTER_REFRESH_TIMEOUT", HANG_SETTING),
    ];
    let mut exporter = start_with(&fake, "ulimit -n 200;", &settings);
    exporter.ready().await;
    let mut waiting = Vec::new();
    for turn in 0..300 {
        let mut client = Raw::connect(exporter.address).await;
        client
            .send("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: 86400\r\n\r\n")
            .await;
        waiting.push(client);
        if turn % 20 == 19 {
            for path in ["/-/healthy", "/-/ready"] {
                let mut client = Raw::connect(exporter.address).await;
                client.get(path).await;
                assert_eq!(client.answer().await.unwrap().status, 200, "{path} after {turn}");
            }
        }
    }
    // 160 connections fit, and a quarter of them may wait. The other scrapes were answered, and none was disconnected.
    // If two scrapes arrive together, the exporter may answer either of them first.
    let mut answers = waiting.iter_mut().map(Raw::answer).collect::<FuturesUnordered<_>>();
    for _ in 0..300 - 160 / 4 {
        assert_eq!(answers.next().await.unwrap().unwrap().status, 200);
    }
    assert!(answers.next().now_or_never().is_none());
    drop(answers);
    let address = exporter.address.to_string();
    let variables = [
        ("PINPOINT_EXPORTER_LISTEN_ADDRESS", address.as_str()),
        ("PINPOINT_EXPORTER_TARGETS", "app/seg"),
        ("AWS_REGION", "eu-west-1"),
    ];
    let output = command_async(&["healthcheck"], &variables).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Another address scrapes, and is answered when its own time is over.
    let mut other = Raw::connect_from(Ipv4Addr::new(127, 0, 0, 2), exporter.address).await;
    other.send("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: 1\r\n\r\n").await;
    assert_eq!(other.answer().await.unwrap().status, 200);
    exporter.terminate();
    drop(waiting);
    assert_eq!(exporter.end().await.code(), Some(0), "{}", exporter.log());
}

/// One connection after the other of a flood: large answers that are read at 8 KB/s or not at all, small ones of which 300 are
/// asked for at once, and connections that ask for nothing.
async fn flood(address: SocketAddr, turn: usize, end: Instant) {
    while Instant::now() < end {
        let mut client = Raw::connect_narrow(address).await;
        let requests = match turn % 4 {
            0 | 1 => "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            2 => "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".repeat(300),
            _ => String::new(),
        };
        if client.try_send(requests).await.is_err() {
            continue;
        }
        if turn % 4 == 1 {
            while Instant::now() < end && client.read(8_192).await.is_ok_and(|read| !read.is_empty()) {
                sleep(Duration::from_secs(1)).await;
            }
        } else {
            // Until it is cut.
            while Instant::now() < end && client.try_send("").await.is_ok() && !client.is_closed().await {
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes ten minutes: make proof"]
#[expect(clippy::print_stdout, reason = "the figures are wanted")]
async fn ten_minutes_of_a_flood_fail_no_scrape_of_another_address() {
    let fake = fake().await;
    let now = fake.clock().now();
    let jobs = (0..450).map(|number| Life::new(format!("job{number}"), now - 60_000, 30_000).into());
    fake.world().segment("app", "seg").jobs.extend(jobs);
    let mut exporter = start_uncached(&fake, "ulimit -n 1024;");
    let address = exporter.address;
    for _ in 0..5 {
        scrape(address).await;
    }
    let idle = exporter.memory("VmHWM");
    let end = Instant::now() + Duration::from_mins(10);
    let mut rude = JoinSet::new();
    for turn in 0..600 {
        rude.spawn(flood(address, turn, end));
    }
    let (mut scrapes, mut slowest, mut descriptors) = (0, Duration::ZERO, 0);
    while Instant::now() < end {
        let started = Instant::now();
        let text = scrape(address).await;
        assert!(text.contains("\npinpoint_target_up{") && !text.contains("pinpoint_target_error{"), "{text}");
        slowest = slowest.max(started.elapsed());
        descriptors = descriptors.max(exporter.descriptors());
        scrapes += 1;
        sleep_until(started + Duration::from_secs(1)).await;
    }
    rude.abort_all();
    let peak = exporter.memory("VmHWM");
    println!(
        "{scrapes} scrapes, the slowest {slowest:?}; {} KiB, then at most {} KiB; {descriptors} file descriptors",
        idle / 1024,
        peak / 1024
    );
    assert!(peak <= idle + MEMORY_LIMIT, "{peak} bytes, from {idle}");
    assert!(descriptors < 600, "{descriptors}");
    exporter.terminate();
    assert_eq!(exporter.end().await.code(), Some(0), "{}", exporter.log());
}
