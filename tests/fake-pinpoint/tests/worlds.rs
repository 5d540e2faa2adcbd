//! The format of world files: what the README shows is understood, what is wrong is refused with a cure, and nothing in a
//! world makes the fake panic.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use fake_pinpoint::{
    FakePinpoint, HANG_LIMIT, Options,
    world::{Job, Life, World},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const SAMPLE: &str = include_str!("../worlds/sample.json");
const README: &str = include_str!("../README.md");

/// The items of a listing, asked for without a signature.
async fn items(fake: &FakePinpoint, path: &str) -> Vec<Value> {
    page(fake, path).await["Item"].as_array().unwrap().clone()
}

/// A page of it.
async fn page(fake: &FakePinpoint, path: &str) -> Value {
    let exchange = async {
        let mut socket = TcpStream::connect(fake.address()).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: fake\r\nconnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(HANG_LIMIT, exchange).await.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str(body).unwrap()
}

async fn fake_of(world: World) -> FakePinpoint {
    FakePinpoint::start_with(world, Options { keys: Vec::new(), ..Options::default() }).await.unwrap()
}

#[tokio::test]
async fn the_sample_is_a_world_with_a_job_of_every_kind() {
    let fake = fake_of(serde_json::from_str(SAMPLE).unwrap()).await;
    let jobs = items(&fake, "/v1/apps/6e0b7591a90841d2b5d93fa11143e5a7/jobs/export").await;
    let statuses: Vec<&str> = jobs.iter().filter_map(|job| job["JobStatus"].as_str()).collect();
    let [failed, stuck, odd, nightly @ .., running, of_all] = &statuses[..] else { panic!("{statuses:?}") };
    assert_eq!(
        [*failed, *stuck, *odd, *running, *of_all],
        ["FAILED", "PROCESSING", "PAUSED", "PROCESSING", "COMPLETED"]
    );
    // The fifteenth begins now.
    assert_eq!(nightly.len(), 15);
    assert!(nightly[..14].iter().all(|status| *status == "COMPLETED"), "{nightly:?}");
}

#[test]
fn the_readme_names_every_member_of_a_job_and_the_sample_shows_it() {
    let life = serde_json::to_value(Life::new("x", 0, 1)).unwrap();
    let members = life.as_object().unwrap();
    assert!(members.len() > 10);
    for member in members.keys() {
        assert!(README.contains(&format!("`{member}`")), "the README does not name {member}");
        assert!(SAMPLE.contains(&format!("\"{member}\"")), "the sample does not show {member}");
    }
}

#[test]
fn a_wrong_world_is_refused_with_its_place_and_a_cure() {
    let job = |members: &str| format!("{{\"applications\":\n{{\"a\": {{\"jobs\": [{{{members}}}]}}}}}}");
    for (world, problem) in [
        (r#"{"apps": {}}"#.to_owned(), "unknown field `apps`, expected `applications`"),
        ("{}".to_owned(), "missing field `applications`"),
        (
            r#"{"applications": {"a": {"segmnets": {}}}}"#.to_owned(),
            "expected one of `name`, `tags`, `segments`, `jobs`",
        ),
        (job(r#""id": "x", "created": "-26x", "lasts": "1h""#), "a time from now such as -26h"),
        (job(r#""id": "x", "created": "yesterday", "lasts": "1h""#), "write a date such as"),
        (job(r#""id": "x", "created": "-26h", "lasts": "soon""#), "write 90s, 5m, 26h or 7d"),
        (job(r#""id": "x", "created": "-26h", "lasts": "1h", "every": true"#), "write 90s, 5m, 26h or 7d"),
        (job(r#""id": "x", "created": "-26h""#), "missing field `lasts`"),
        (job(r#""id": "x", "created": "-26h", "lasts": "1h", "end": "LOST""#), "expected one of `COMPLETED`"),
        (job(r#""id": "x", "created": "-26h", "lasts": "1h", "peaces": 1"#), "unknown field `peaces`"),
        (job(r#""item": {"Id": "x"}, "id": "x""#), "nothing beside it"),
    ] {
        let error = serde_json::from_str::<World>(&world).unwrap_err().to_string();
        assert!(error.contains(problem), "{world}: {error}");
        assert!(error.contains(" at line "), "{world}: {error}");
    }
}

#[tokio::test]
async fn numbers_at_the_ends_of_their_range_are_listed_and_end_no_connection() {
    let ends = [i64::MIN, -1, 0, 1, i64::MAX];
    let mut world = World::default();
    let mut count = 0;
    for created in ends {
        for lasts in ends {
            let mut life = Life::new(format!("{created}/{lasts}"), created, lasts);
            (life.endpoints, life.pieces) = (i64::MAX, i64::MIN);
            (life.failed_endpoints, life.failed_pieces) = (i64::MAX, i64::MAX);
            world.segment("app", "seg").jobs.push(life.into());
            count += usize::from(created < i64::MAX);
        }
    }
    let mut rare = Life::new("rare", i64::MIN, 1);
    (rare.every, rare.times) = (Some(i64::MAX), Some(i64::MAX));
    world.segment("app", "rare").jobs.push(rare.into());
    let fake = fake_of(world).await;
    let jobs = items(&fake, "/v1/apps/app/segments/seg/jobs/export?page-size=1000").await;
    assert_eq!(jobs.len(), count);
    assert!(!items(&fake, "/v1/apps/app/segments/rare/jobs/export").await.is_empty());
    fake.clock().advance(i64::MAX);
    fake.clock().advance(i64::MAX);
    assert_eq!(items(&fake, "/v1/apps/app/segments/seg/jobs/export?page-size=1000").await.len(), count + 5);
}

#[tokio::test]
async fn a_page_of_a_long_listing_costs_no_more_than_itself() {
    let mut world = World::default();
    let mut row = Life::new("job", 0, 1);
    (row.every, row.times) = (Some(1), Some(1_000_000_000));
    world.segment("app", "seg").jobs.push(row.into());
    let fake = fake_of(world).await;
    // Written out as a whole, a page would take more memory than there is.
    let last = items(&fake, "/v1/apps/app/segments/seg/jobs/export?page-size=3").await;
    assert_eq!(
        last.iter().map(|job| job["Id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["job0000", "job0001", "job0002"]
    );
}

#[tokio::test]
async fn a_verbatim_item_is_listed_as_it_is() {
    let odd = [
        Value::Null,
        Value::from(7),
        serde_json::json!({"Id": "é\n\"", "TotalPieces": 1e300, "New": [null]}),
    ];
    let mut world = World::default();
    world.segment("app", "seg").jobs.extend(odd.iter().map(|item| Job::Verbatim { item: item.clone() }));
    let fake = fake_of(world).await;
    assert_eq!(items(&fake, "/v1/apps/app/segments/seg/jobs/export").await, odd);
}

#[tokio::test]
async fn pinned_pages_show_the_instant_of_the_first_one() {
    let mut world = World::default();
    let mut row = Life::new("job-", 0, 1_000);
    row.every = Some(1_000);
    world.segment("a", "s").jobs.push(row.into());
    let options = Options { keys: Vec::new(), pinned_pages: true, ..Options::default() };
    let fake = FakePinpoint::start_with(world, options).await.unwrap();
    fake.clock().stop_at(3_500);
    let path = "/v1/apps/a/segments/s/jobs/export?page-size=2";
    let first = page(&fake, path).await;
    let token = first["NextToken"].as_str().unwrap();
    fake.clock().advance(60_000);
    let token: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let second = page(&fake, &format!("{path}&token={token}")).await;
    assert_eq!(second["Item"].as_array().unwrap().len(), 2, "{second}");
    assert!(second["NextToken"].is_null(), "{second}");
    let shown: Vec<_> = fake.requests().iter().map(|request| request.shown_at).collect();
    assert_eq!(shown, [Some(3_500); 2]);
}
