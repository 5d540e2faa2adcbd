//! Sources of credentials: each speaks its own protocol on loopback, and what it gives expires while the exporter runs.

use std::{
    convert::Infallible,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use fake_pinpoint::{FakePinpoint, Key, Options, fault::Fault, world::World};
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use pinpoint_exporter::model::clock::Clock as _;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::secrets::{assert_lacks, forms};
use crate::support::{
    harness::{APP, Harness, Plan, client, closed_address, credentials, run},
    program::{Program, command, command_async},
    text_format::Scrape,
};

const TARGET: (&str, &str) = ("PINPOINT_EXPORTER_TARGETS", "app/segment");
const EVERY_SCRAPE_FETCHES: (&str, &str) = ("PINPOINT_EXPORTER_CACHE_TTL", "0s");
const EXPIRY: &str = "pinpoint_exporter_credentials_expiry_timestamp_seconds";

/// How long credentials live here, in seconds: less than the margin at which others are asked for, and longer than any of them is
/// needed here, however busy the machine is.
const LIFE: i64 = 200;
/// A source that gives such credentials is not asked again before, in milliseconds.
const PAUSE: i64 = 10_000;

/// Credentials that were given out.
#[derive(Debug, Clone)]
struct Issued {
    /// To whom.
    to: &'static str,
    key: Key,
    /// When, in milliseconds since the Unix epoch.
    at: i64,
    /// In seconds.
    expires: i64,
}

impl Issued {
    fn date(&self) -> String {
        OffsetDateTime::from_unix_timestamp(self.expires).unwrap().format(&Rfc3339).unwrap()
    }

    fn token(&self) -> &str {
        self.key.session_token.as_deref().unwrap()
    }

    /// As containers and instances get them.
    fn json(&self) -> String {
        let answer = json!({
            "Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC",
            "AccessKeyId": self.key.access_key_id, "SecretAccessKey": self.key.secret_access_key,
            "Token": self.token(), "Expiration": self.date(),
        });
        answer.to_string()
    }

    /// As STS answers.
    fn xml(&self, operation: &str, account: &str) -> String {
        format!(
            "<{operation}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{operation}Result><AssumedRoleUser>\
             <AssumedRoleId>AROA:session</AssumedRoleId><Arn>arn:aws:sts::{account}:assumed-role/reader/session</Arn>\
             </AssumedRoleUser><Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
             <SessionToken>{}</SessionToken><Expiration>{}</Expiration></Credentials></{operation}Result>\
             <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{operation}Response>",
            self.key.access_key_id,
            self.key.secret_access_key,
            self.token(),
            self.date()
        )
    }
}

/// Gives out credentials, which the fake knows from then on.
struct Mint {
    fake: FakePinpoint,
    issued: Mutex<Vec<Issued>>,
}

impl Mint {
    async fn new() -> Arc<Self> {
        let mut world = World::default();
        world.segment("app", "segment");
        let options = Options { keys: vec![Options::default_key()], ..Options::default() };
        let fake = FakePinpoint::start_with(world, options).await.unwrap();
        Arc::new(Self { fake, issued: Mutex::default() })
    }

    fn issue(&self, to: &'static str, life: i64) -> Issued {
        let mut issued = self.issued.lock().unwrap();
        let number = issued.len();
        let key = Key {
            access_key_id: format!("ASIANUMBER{number:010}"),
            secret_access_key: format!("secret/number+{number}/of+the/mint"),
            session_token: Some(format!("token/number+{number}/of+the/mint==")),
            ..Key::default()
        };
        let at = now();
        let new = Issued { to, key, at, expires: at / 1000 + life };
        issued.push(new.clone());
        self.fake.set_keys(issued.iter().map(|issued| issued.key.clone()).collect());
        new
    }

    fn issued(&self, to: &str) -> Vec<Issued> {
        let issued = self.issued.lock().unwrap();
        issued.iter().filter(|issued| issued.to == to).cloned().collect()
    }

    /// Scrapes until two sets of credentials were given to each of them, and used. No scrape may lack anything, no request go
    /// out with credentials that expired, and nobody be asked too often.
    async fn is_outlived(&self, program: &Program, all: &[&str]) -> Scrape {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        let scrape = loop {
            ticks.tick().await;
            let scrape = program.scrape().await;
            assert_eq!(scrape.sum("pinpoint_api_errors_total", &[]), 0, "{}", program.log());
            assert_eq!(scrape.sum("pinpoint_target_up", &[]), all.len() as u64, "{}", program.log());
            if all.iter().all(|to| self.has_used_the_second(to)) {
                break scrape;
            }
        };
        for request in self.fake.requests() {
            let issued = self.signer(&request).expect("credentials that were given out");
            assert!(all.contains(&issued.to), "{issued:?}");
            assert!(request.at < issued.expires * 1000, "{request:?} with {issued:?}");
        }
        for to in all {
            for pair in self.issued(to).windows(2) {
                assert!(pair[1].at >= pair[0].at + PAUSE, "{pair:?}");
            }
        }
        let log = program.log();
        for issued in self.issued.lock().unwrap().iter() {
            assert!(!log.contains(issued.token()) && !log.contains(&issued.key.secret_access_key), "{log}");
        }
        scrape
    }

    /// Whether a request was signed with the second set of credentials that was given to them.
    fn has_used_the_second(&self, to: &str) -> bool {
        let issued = self.issued(to);
        let is_second = |by: Issued| by.key.access_key_id == issued[1].key.access_key_id;
        issued.len() >= 2 && self.fake.requests().iter().filter_map(|it| self.signer(it)).any(is_second)
    }

    /// With which credentials a request is signed.
    fn signer(&self, request: &fake_pinpoint::Request) -> Option<Issued> {
        let (_, credential) = request.header("authorization")?.split_once("Credential=")?;
        let (id, _) = credential.split_once('/')?;
        self.issued.lock().unwrap().iter().find(|issued| issued.key.access_key_id == id).cloned()
    }

    /// Whether the expiry that is shown is that of credentials given to them.
    fn assert_expiry(&self, scrape: &Scrape, account: &str, to: &str) {
        let shown = scrape.value(EXPIRY, &[("aws_account_id", account)]);
        let all = self.issued(to);
        #[expect(clippy::cast_precision_loss, reason = "seconds of this century")]
        let known = all.iter().any(|issued| shown == Some(issued.expires as f64));
        assert!(known, "{account}: {shown:?} is none of {all:?}");
    }

    /// An exporter that reads the fake.
    fn program(&self, variables: &[(&str, &str)]) -> Program {
        let endpoint = self.fake.url();
        let own = [TARGET, EVERY_SCRAPE_FETCHES, ("AWS_ENDPOINT_URL_PINPOINT", &endpoint)];
        Program::start(&[&own, variables].concat())
    }
}

#[expect(clippy::disallowed_methods, reason = "the program lives by the machine's date")]
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// What a source is asked.
#[derive(Debug)]
struct Ask {
    method: String,
    path: String,
    headers: http::HeaderMap,
    body: String,
}

impl Ask {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// A parameter of STS's.
    fn parameter(&self, name: &str) -> String {
        let pairs = url::form_urlencoded::parse(self.body.as_bytes());
        pairs
            .into_iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    }
}

fn ok(body: impl Into<String>) -> Response<String> {
    Response::new(body.into())
}

fn refused() -> Response<String> {
    Response::builder().status(401).body("nothing for you".to_owned()).unwrap()
}

/// A source: a server whose answers this gives. Its address as a URL.
async fn source(answer: impl Fn(&Ask) -> Response<String> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = Arc::clone(&answer);
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let ask = Ask {
                        method: head.method.to_string(),
                        path: head.uri.to_string(),
                        headers: head.headers,
                        body: String::from_utf8(body.to_vec()).unwrap(),
                    };
                    Ok::<_, Infallible>(answer(&ask).map(|body| Full::new(Bytes::from(body))))
                }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            tokio::spawn(connection);
        }
    });
    url
}

/// A file whose text is another one each time.
struct Rotating {
    folder: tempfile::TempDir,
    rotations: Mutex<usize>,
}

impl Rotating {
    fn new() -> Self {
        let rotating = Self { folder: tempfile::tempdir().unwrap(), rotations: Mutex::new(0) };
        rotating.write(0);
        rotating
    }

    fn path(&self) -> String {
        self.folder.path().join("token").to_str().unwrap().to_owned()
    }

    fn write(&self, rotation: usize) {
        let new = self.folder.path().join("new");
        fs::write(&new, format!("the-token-{rotation}")).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    /// Whether this is what the file holds. If so it holds something else from now on.
    fn takes(&self, text: &str) -> bool {
        let mut rotations = self.rotations.lock().unwrap();
        let known = text == format!("the-token-{rotations}");
        if known {
            *rotations += 1;
            self.write(*rotations);
        }
        known
    }
}

/// A profile in a file of its own.
fn profile(folder: &Path, text: &str) -> String {
    let config = folder.join("config");
    fs::write(&config, text).unwrap();
    config.to_str().unwrap().to_owned()
}

#[test]
fn eks_pod_identity_with_a_token_that_rotates() {
    run(async {
        let (mint, file) = (Mint::new().await, Arc::new(Rotating::new()));
        let (own_mint, own_file) = (Arc::clone(&mint), Arc::clone(&file));
        let agent = source(move |ask| {
            if ask.path != "/v1/credentials" || !own_file.takes(ask.header("authorization")) {
                return refused();
            }
            ok(own_mint.issue("pod", LIFE).json())
        });
        let url = format!("{}/v1/credentials", agent.await);
        let program = mint.program(&[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &file.path()),
        ]);
        let scrape = mint.is_outlived(&program, &["pod"]).await;
        mint.assert_expiry(&scrape, "", "pod");
    });
}

#[test]
fn web_identity_with_a_token_that_rotates_from_variables_or_a_profile() {
    for from_profile in [false, true] {
        run(async move {
            let (mint, file) = (Mint::new().await, Arc::new(Rotating::new()));
            let (own_mint, own_file) = (Arc::clone(&mint), Arc::clone(&file));
            let sts = source(move |ask| {
                let role = ask.parameter("RoleArn");
                if (ask.parameter("Action").as_str(), role.as_str())
                    != ("AssumeRoleWithWebIdentity", "arn:aws:iam::123456789012:role/reader")
                    || !own_file.takes(&ask.parameter("WebIdentityToken"))
                {
                    return refused();
                }
                ok(own_mint.issue("web", LIFE).xml("AssumeRoleWithWebIdentity", "123456789012"))
            });
            let (sts, path) = (sts.await, file.path());
            let folder = tempfile::tempdir().unwrap();
            let role = "arn:aws:iam::123456789012:role/reader";
            let text = format!("[default]\nrole_arn = {role}\nweb_identity_token_file = {path}\n");
            let config = profile(folder.path(), &text);
            let variables = if from_profile {
                vec![("AWS_CONFIG_FILE", config.as_str())]
            } else {
                vec![("AWS_WEB_IDENTITY_TOKEN_FILE", path.as_str()), ("AWS_ROLE_ARN", role)]
            };
            let program = mint.program(&[&variables[..], &[("AWS_ENDPOINT_URL_STS", sts.as_str())]].concat());
            mint.is_outlived(&program, &["web"]).await;
        });
    }
}

#[test]
fn instance_metadata_of_the_second_version() {
    run(async {
        const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
        let mint = Mint::new().await;
        let own_mint = Arc::clone(&mint);
        let service = source(move |ask| match (ask.method.as_str(), ask.path.as_str()) {
            ("PUT", "/latest/api/token")
                if !ask.header("x-aws-ec2-metadata-token-ttl-seconds").is_empty() =>
            {
                let answer = Response::builder().header("x-aws-ec2-metadata-token-ttl-seconds", "21600");
                answer.body("of-this-session".to_owned()).unwrap()
            }
            ("GET", _) if ask.header("x-aws-ec2-metadata-token") != "of-this-session" => refused(),
            ("GET", ROLES) => ok("the-role"),
            ("GET", path) if path == format!("{ROLES}the-role") => {
                ok(own_mint.issue("instance", LIFE).json())
            }
            _ => refused(),
        });
        let program = mint.program(&[
            ("AWS_EC2_METADATA_DISABLED", "false"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &service.await),
        ]);
        mint.is_outlived(&program, &["instance"]).await;
    });
}

#[test]
fn a_credential_process() {
    run(async {
        let mint = Mint::new().await;
        let own_mint = Arc::clone(&mint);
        let server = source(move |_| {
            let issued = own_mint.issue("process", LIFE);
            let answer = json!({
                "Version": 1, "AccessKeyId": issued.key.access_key_id, "SessionToken": issued.token(),
                "SecretAccessKey": issued.key.secret_access_key, "Expiration": issued.date(),
            });
            ok(answer.to_string())
        });
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[profile mine]\ncredential_process = curl --silent --fail {}\n", server.await);
        let program = mint.program(&[
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("AWS_PROFILE", "mine"),
            ("AWS_CONFIG_FILE", &profile(folder.path(), &text)),
        ]);
        mint.is_outlived(&program, &["process"]).await;
    });
}

/// The portal of SSO, which knows one access token.
async fn portal(mint: &Arc<Mint>, access_token: &'static str) -> String {
    let mint = Arc::clone(mint);
    source(move |ask| {
        let path = "/federation/credentials?role_name=reader&account_id=123456789012";
        if ask.path != path || ask.header("x-amz-sso_bearer_token") != access_token {
            return refused();
        }
        let issued = mint.issue("sso", LIFE);
        let answer = json!({"roleCredentials": {
            "accessKeyId": issued.key.access_key_id, "secretAccessKey": issued.key.secret_access_key,
            "sessionToken": issued.token(), "expiration": issued.expires * 1000,
        }});
        ok(answer.to_string())
    })
    .await
}

/// Where the AWS CLI keeps the access token of a session or start URL.
fn cached_token(home: &Path, sha1: &str, text: &serde_json::Value) -> std::path::PathBuf {
    let cache = home.join(".aws/sso/cache");
    fs::create_dir_all(&cache).unwrap();
    let file = cache.join(format!("{sha1}.json"));
    fs::write(&file, text.to_string()).unwrap();
    file
}

#[test]
fn an_sso_session_whose_cached_token_is_refreshed_when_it_is_about_to_expire() {
    run(async {
        let mint = Mint::new().await;
        let portal = portal(&mint, "the-next-token").await;
        let refreshed = Arc::new(Mutex::new(0));
        let count = Arc::clone(&refreshed);
        let oidc = source(move |ask| {
            let body: serde_json::Value = serde_json::from_str(&ask.body).unwrap_or_default();
            if ask.path != "/token" || body["refreshToken"] != "of-the-login" {
                return refused();
            }
            *count.lock().unwrap() += 1;
            ok(r#"{"accessToken": "the-next-token", "expiresIn": 28800, "tokenType": "Bearer"}"#)
        });
        let home = tempfile::tempdir().unwrap();
        let soon = OffsetDateTime::from_unix_timestamp(now() / 1000 + 60).unwrap().format(&Rfc3339).unwrap();
        let login = json!({
            "accessToken": "the-first-token", "expiresAt": soon, "refreshToken": "of-the-login",
            "clientId": "client", "clientSecret": "secret-of-the-client",
            "registrationExpiresAt": "2099-01-01T00:00:00Z", "region": "eu-west-1",
        });
        // Of "test".
        let file = cached_token(home.path(), "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3", &login);
        let text = "[profile mine]\nsso_session = test\nsso_account_id = 123456789012\nsso_role_name = reader\n\
                    [sso-session test]\nsso_region = eu-west-1\nsso_start_url = https://portal.example.com/start\n";
        let program = mint.program(&[
            ("HOME", home.path().to_str().unwrap()),
            ("AWS_PROFILE", "mine"),
            ("AWS_CONFIG_FILE", &profile(home.path(), text)),
            ("AWS_ENDPOINT_URL_SSO", &portal),
            ("AWS_ENDPOINT_URL_SSO_OIDC", &oidc.await),
        ]);
        mint.is_outlived(&program, &["sso"]).await;
        assert_eq!(*refreshed.lock().unwrap(), 1);
        assert!(fs::read_to_string(file).unwrap().contains("the-next-token"));
    });
}

#[test]
fn sso_as_it_was_before_sessions() {
    run(async {
        let mint = Mint::new().await;
        let portal = portal(&mint, "of-the-login").await;
        let home = tempfile::tempdir().unwrap();
        let login = json!({"accessToken": "of-the-login", "expiresAt": "2099-01-01T00:00:00Z"});
        // Of the start URL.
        cached_token(home.path(), "f99d968d2b4037e9fb98a14ff5546d9ef0c014b8", &login);
        let text = "[default]\nsso_start_url = https://portal.example.com/start\nsso_region = eu-west-1\n\
                    sso_account_id = 123456789012\nsso_role_name = reader\n";
        let program = mint.program(&[
            ("HOME", home.path().to_str().unwrap()),
            ("AWS_CONFIG_FILE", &profile(home.path(), text)),
            ("AWS_ENDPOINT_URL_SSO", &portal),
        ]);
        mint.is_outlived(&program, &["sso"]).await;
    });
}

#[test]
fn a_profile_with_a_role_and_a_source_profile() {
    run(async {
        let mint = Mint::new().await;
        let own_mint = Arc::clone(&mint);
        let sts = source(move |ask| {
            let is_base = ask.header("authorization").contains("Credential=AKIAOFTHEBASE0000000/");
            if !is_base || ask.parameter("ExternalId") != "between-us" {
                return refused();
            }
            ok(own_mint.issue("role", LIFE).xml("AssumeRole", "123456789012"))
        });
        let folder = tempfile::tempdir().unwrap();
        let text = "[profile base]\naws_access_key_id = AKIAOFTHEBASE0000000\naws_secret_access_key = of+the/base\n\
                    [profile mine]\nrole_arn = arn:aws:iam::123456789012:role/reader\nsource_profile = base\n\
                    external_id = between-us\n";
        let program = mint.program(&[
            ("AWS_PROFILE", "mine"),
            ("AWS_CONFIG_FILE", &profile(folder.path(), text)),
            ("AWS_ENDPOINT_URL_STS", &sts.await),
        ]);
        mint.is_outlived(&program, &["role"]).await;
    });
}

const ACCOUNTS: [&str; 2] = ["111111111111", "222222222222"];

impl Mint {
    /// An exporter of two accounts, which assumes a role in each with the credentials of a container. STS calls the first
    /// of those expired if so wanted.
    async fn program_with_roles(self: &Arc<Self>, life: i64, refuses_the_first: bool) -> Program {
        let mint = Arc::clone(self);
        let container = source(move |_| ok(mint.issue("the container", 3_600).json())).await;
        let mint = Arc::clone(self);
        let sts = source(move |ask| {
            let bases = mint.issued("the container");
            let is_signed_with = |base: &Issued| {
                ask.header("authorization").contains(&base.key.access_key_id)
                    && ask.header("x-amz-security-token") == base.token()
            };
            if refuses_the_first && is_signed_with(&bases[0]) {
                let body = "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>no</Message></Error></ErrorResponse>";
                return Response::builder().status(403).body(body.to_owned()).unwrap();
            }
            let account = ACCOUNTS.into_iter().find(|account| ask.parameter("RoleArn").contains(account));
            let is_base = is_signed_with(bases.last().unwrap());
            match account {
                Some(account) if is_base => ok(mint.issue(account, life).xml("AssumeRole", account)),
                _ => refused(),
            }
        });
        let targets = ACCOUNTS
            .map(|account| format!("arn:aws:mobiletargeting:eu-west-1:{account}:apps/app/segments/segment"));
        let roles = ACCOUNTS.map(|account| format!("arn:aws:iam::{account}:role/reader"));
        self.program(&[
            ("PINPOINT_EXPORTER_TARGETS", &targets.join(" ")),
            ("PINPOINT_EXPORTER_ROLE_ARNS", &roles.join(" ")),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container),
            ("AWS_ENDPOINT_URL_STS", &sts.await),
        ])
    }
}

#[test]
fn roles_of_two_accounts_are_assumed_with_credentials_that_are_asked_for_once() {
    run(async {
        let mint = Mint::new().await;
        let program = mint.program_with_roles(LIFE, false).await;
        let scrape = mint.is_outlived(&program, &ACCOUNTS).await;
        for account in ACCOUNTS {
            mint.assert_expiry(&scrape, account, account);
        }
        mint.assert_expiry(&scrape, "", "the container");
        assert_eq!(scrape.samples(EXPIRY, &[]).len(), 3);
        assert_eq!(mint.issued("the container").len(), 1);
    });
}

#[test]
fn a_role_that_is_still_needed_is_kept_when_targets_change_and_the_expiry_of_another_goes() {
    run(async {
        let issued = Issued {
            to: "the roles",
            key: Key { session_token: Some("of-the-role".to_owned()), ..Options::default_key() },
            at: 0,
            expires: now() / 1000 + 3_600,
        };
        let (key, assumed) = (issued.key.clone(), Arc::new(Mutex::new(Vec::new())));
        let all = Arc::clone(&assumed);
        let sts = source(move |ask| {
            let role = ask.parameter("RoleArn");
            let account = role.split(':').nth(4).unwrap().to_owned();
            let answer = issued.xml("AssumeRole", &account);
            all.lock().unwrap().push(account);
            ok(answer)
        });
        let arn =
            |account: &str| format!("arn:aws:mobiletargeting:eu-west-1:{account}:apps/{APP}/segments/s");
        let accounts = ["111111111111", "222222222222", "333333333333"];
        let roles = accounts.map(|account| format!("arn:aws:iam::{account}:role/reader")).join(" ");
        let harness = Plan::new()
            .world(|world| {
                world.segment(APP, "s");
            })
            .fake(|options| options.keys = vec![key])
            .set("TARGETS", &[arn(accounts[0]), arn(accounts[1])].join(" "))
            .set("ROLE_ARNS", &roles)
            .aws("AWS_ENDPOINT_URL_STS", &sts.await)
            .build()
            .await;
        let shown = |scrape: &Scrape| -> Vec<String> {
            scrape.samples(EXPIRY, &[]).iter().map(|sample| sample.labels["aws_account_id"].clone()).collect()
        };
        let scrape = harness.scrape().await;
        assert_eq!(scrape.sum("pinpoint_target_up", &[]), 2);
        assert_eq!(shown(&scrape), accounts[..2]);
        harness.set_targets(&[arn(accounts[0]), arn(accounts[2])].join(" ")).unwrap();
        let scrape = harness.scrape().await;
        assert_eq!(scrape.sum("pinpoint_target_up", &[]), 2);
        assert_eq!(shown(&scrape), [accounts[0], accounts[2]]);
        let mut assumed = assumed.lock().unwrap().clone();
        assumed.sort();
        assert_eq!((assumed, harness.source.asked()), (accounts.map(str::to_owned).to_vec(), 1));
    });
}

#[test]
fn credentials_that_sts_does_not_take_are_asked_for_anew_before_a_scrape_is_lost() {
    run(async {
        let mint = Mint::new().await;
        let program = mint.program_with_roles(3_600, true).await;
        let scrape = program.scrape().await;
        assert_eq!(scrape.sum("pinpoint_target_up", &[]), 2, "{}", program.log());
        assert_eq!(mint.issued("the container").len(), 2);
    });
}

#[test]
fn a_wrong_clock_is_corrected_and_told_under_assumed_roles() {
    run(async {
        let mint = Mint::new().await;
        mint.fake.server_clock().advance(600_000);
        let program = mint.program_with_roles(3_600, false).await;
        let scrape = program.scrape().await;
        assert_eq!(scrape.sum("pinpoint_target_up", &[]), 2, "{}", program.log());
        // Each account has a client of its own, which finds out with its first request.
        assert_eq!(scrape.sum("pinpoint_api_retries_total", &[]), 2);
        let skew = scrape.value("pinpoint_exporter_clock_skew_seconds", &[]).unwrap();
        assert!((500.0..700.0).contains(&skew), "{skew}");
        for account in ACCOUNTS {
            mint.assert_expiry(&scrape, account, account);
        }
    });
}

#[test]
fn what_a_file_holds_is_read_anew_when_aws_calls_it_expired() {
    run(async {
        let mint = Mint::new().await;
        let folder = tempfile::tempdir().unwrap();
        let write = |issued: &Issued| {
            let Key { access_key_id, secret_access_key, .. } = &issued.key;
            let text = format!(
                "[default]\naws_access_key_id = {access_key_id}\naws_secret_access_key = {secret_access_key}\n\
                 aws_session_token = {}\n",
                issued.token()
            );
            profile(folder.path(), &text)
        };
        let first = mint.issue("the file", LIFE);
        let program = mint.program(&[("AWS_CONFIG_FILE", &write(&first))]);
        assert_eq!(program.scrape().await.sum("pinpoint_target_up", &[]), 1);
        let second = mint.issue("the file", LIFE);
        mint.fake.set_keys(vec![Key { expired: true, ..first.key }, second.key.clone()]);
        write(&second);
        let scrape = program.scrape().await;
        assert_eq!(scrape.sum("pinpoint_target_up", &[]), 1, "{}", program.log());
        assert_eq!(mint.fake.requests().len(), 3);
    });
}

// Renewal, and what a source may do meanwhile.

#[test]
fn a_container_that_hangs_when_it_is_asked_anew_delays_no_scrape() {
    run(async {
        let mint = Mint::new().await;
        let (own_mint, asked) = (Arc::clone(&mint), Arc::new(Mutex::new(0)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/creds", listener.local_addr().unwrap());
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                let mut head = [0; 4096];
                let read = socket.read(&mut head).await.unwrap();
                assert!(head[..read].ends_with(b"\r\n\r\n"));
                if open.is_empty() {
                    // To be renewed at once, and valid for long enough.
                    let body = own_mint.issue("container", 240).json();
                    let length = body.len();
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                    );
                    socket.write_all(answer.as_bytes()).await.unwrap();
                }
                open.push(socket);
            }
        });
        let program = mint.program(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)]);
        let mut scrapes = 0;
        while *asked.lock().unwrap() < 2 || scrapes < 20 {
            let scrape = program.scrape().await;
            assert_eq!(scrape.sum("pinpoint_target_up", &[]), 1, "{}", program.log());
            assert_eq!(scrape.sum("pinpoint_api_errors_total", &[]), 0, "{}", program.log());
            scrapes += 1;
        }
        assert_eq!(mint.issued("container").len(), 1);
    });
}

#[test]
fn the_exporter_gets_ready_whatever_the_first_look_for_credentials_does() {
    run(async {
        let mint = Mint::new().await;
        let old = source(|_| {
            let answer = json!({
                "AccessKeyId": "a", "SecretAccessKey": "b", "Token": "c", "Expiration": "0001-01-01T00:00:00Z",
            });
            ok(answer.to_string())
        });
        // The life of the token makes `aws-config` panic.
        let endless = source(|_| {
            let answer = Response::builder().header("x-aws-ec2-metadata-token-ttl-seconds", u64::MAX);
            answer.body("a-token".to_owned()).unwrap()
        });
        let (old, endless) = (old.await, endless.await);
        for variables in [
            vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", old.as_str())],
            vec![("AWS_EC2_METADATA_DISABLED", "false"), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endless)],
        ] {
            let program = mint.program(&variables);
            program.ready().await;
            let scrape = program.scrape().await;
            let labels = [("exception", "CredentialsError")];
            assert_eq!(scrape.sum("pinpoint_target_error", &labels), 1, "{}", program.log());
            assert_eq!(scrape.sum("pinpoint_api_requests_total", &[]), 0);
        }
    });
}

#[test]
fn a_date_of_expiry_is_read_with_any_offset() {
    run(async {
        let mint = Mint::new().await;
        for zone in ["Z", "+00:00", "+0000", "UTC", " UTC", ""] {
            let own_mint = Arc::clone(&mint);
            let container = source(move |_| {
                let issued = own_mint.issue("container", 3_600);
                ok(issued.json().replace(&issued.date(), &issued.date().replace('Z', zone)))
            });
            let program = mint.program(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container.await)]);
            let scrape = program.scrape().await;
            assert_eq!(scrape.sum("pinpoint_target_up", &[]), 1, "{zone:?}: {}", program.log());
            mint.assert_expiry(&scrape, "", "container");
        }
    });
}

#[test]
fn an_answer_without_end_is_given_up_after_a_mebibyte() {
    run(async {
        let mint = Mint::new().await;
        let (sent, listener) = (Arc::new(Mutex::new(0)), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let url = format!("http://{}/creds", listener.local_addr().unwrap());
        let count = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let read = socket.read(&mut head).await.unwrap();
                assert!(head[..read].ends_with(b"\r\n\r\n"));
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 524288000\r\n\r\n";
                let _ = socket.write_all(head.as_bytes()).await;
                while socket.write_all(&vec![b'x'; 65_536]).await.is_ok() {
                    *count.lock().unwrap() += 65_536;
                }
            }
        });
        let program = mint.program(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)]);
        let scrape = program.scrape().await;
        assert_eq!(scrape.sum("pinpoint_target_error", &[("exception", "CredentialsError")]), 1);
        let log = program.last_words().await;
        assert!(log.contains(&format!("GET {url} failed: the answer exceeds 1 MiB")), "{log}");
        // What the exporter read, and what the system keeps for both ends.
        let sent = *sent.lock().unwrap();
        assert!(sent < 100 << 20, "{sent} bytes");
    });
}

#[test]
fn a_role_for_an_account_that_no_target_names_is_a_warning() {
    run(async {
        let mint = Mint::new().await;
        let roles = [
            ("PINPOINT_EXPORTER_ROLE_ARNS", "arn:aws:iam::111111111111:role/reader"),
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        let warning = "the role arn:aws:iam::111111111111:role/reader is never used, because no target is in account \
                       111111111111";
        let log = mint.program(&roles).last_words().await;
        assert!(log.contains(warning), "{log}");
        let endpoint = ("AWS_ENDPOINT_URL_PINPOINT", "http://127.0.0.1:9");
        let output =
            command(&["check"], &[&roles[..], &[TARGET, ("AWS_REGION", "eu-west-1"), endpoint]].concat());
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains(warning), "{log}");
        let target = "arn:aws:mobiletargeting:eu-west-1:111111111111:apps/app/segments/segment";
        let named = mint.program(&[&roles[..], &[("PINPOINT_EXPORTER_TARGETS", target)]].concat());
        assert!(!named.last_words().await.contains("is never used"));
    });
}

// What goes wrong, in words.

/// A URL that refuses every connection.
fn nobody() -> String {
    format!("http://{}", closed_address())
}

async fn always(status: u16, body: &str) -> String {
    let body = body.to_owned();
    source(move |_| Response::builder().status(status).body(body.clone()).unwrap()).await
}

type Variables = Vec<(&'static str, String)>;

/// Surroundings in which there are no credentials, and what the error must say.
type Case = (Variables, Vec<String>);

/// What `check` says about the caller. It ends with status 1, and neither its report nor its log shows a debug form.
async fn checked(variables: Variables) -> String {
    let own = [
        TARGET,
        ("AWS_REGION", "eu-west-1"),
        ("AWS_MAX_ATTEMPTS", "1"),
        ("AWS_ENDPOINT_URL_PINPOINT", "http://127.0.0.1:9"),
    ];
    let more: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output = command_async(&["check", "--json"], &[&own, &more[..]].concat()).await;
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let words = report["identity"][0]["error"].as_str().unwrap().to_owned();
    for text in [&words, &log] {
        for debug in [" { ", "Some(", "Err(", "Error(", "AttemptError(", "Other(", "StatusCode("] {
            assert!(!text.contains(debug), "{debug}: {text}");
        }
    }
    words
}

async fn assert_words(cases: Vec<Case>) {
    // Only two checks run at once. If all ran at once on a busy machine, each could take longer than the exporter waits for a source.
    let checks = cases.into_iter().map(async |(variables, expected)| (checked(variables).await, expected));
    let mut checks = std::pin::pin!(futures_util::stream::iter(checks).buffered(2));
    let mut wrong = Vec::new();
    while let Some((words, expected)) = checks.next().await {
        let lacks = expected.iter().find(|part| !words.contains(part.as_str()));
        // What was sent, or stands in an answer, and control characters.
        let holds = ["of-the-query", "of-the-login", "of-the-answer", "\u{1b}"];
        let holds = holds.iter().find(|secret| words.contains(**secret));
        if lacks.is_some() || holds.is_some() {
            wrong.push(format!("{words}\n  lacks {lacks:?}, holds {holds:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const REFUSED: &str = "the server refused the connection";
const HTML: &str = "<html>Bad Gateway</html>";
const GARBAGE: &str = "not what was asked for";

#[test]
fn a_container_that_fails_is_named_with_what_came_back_in_words() {
    run(async {
        let container = |url: &str| {
            vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{url}/creds?secret=of-the-query"))]
        };
        let expiring = |date: &str| {
            let answer = json!({
                "AccessKeyId": "a", "SecretAccessKey": "of-the-answer", "Token": "c", "Expiration": date,
            });
            answer.to_string()
        };
        let mut cases: Vec<Case> = Vec::new();
        let nobody = nobody();
        cases.push((container(&nobody), vec![format!("GET {nobody}/creds failed: "), REFUSED.to_owned()]));
        let nested = format!(r#"{{"a": {}"#, "[".repeat(900_000));
        for (status, body, expected) in [
            (502, HTML, "GET URL/creds was answered with status 502 Bad Gateway"),
            (
                403,
                "(AccessDeniedException): EKS has no permission, fault: client",
                "GET URL/creds was answered with status 403 Forbidden: (AccessDeniedException): EKS has no permission",
            ),
            (
                400,
                r#"{"code": "InvalidParameter", "message": "no such\u001b task"}"#,
                "GET URL/creds was answered with status 400 Bad Request: InvalidParameter: no such task",
            ),
            (302, "", "GET URL/creds was answered with status 302 Found"),
            (200, GARBAGE, "the answer to GET URL/creds cannot be used: invalid JSON"),
            (200, &nested, "the answer to GET URL/creds cannot be used: "),
            (200, &"x".repeat(2 << 20), "GET URL/creds failed: the answer exceeds 1 MiB"),
            (200, &expiring("0001-01-01T00:00:00Z"), "the credentials that were found expire at 0001-01-01"),
            (
                200,
                &expiring("tomorrow"),
                "GET URL/creds failed: the Expiration in the answer is not an ISO 8601 date",
            ),
        ] {
            let url = always(status, body).await;
            cases.push((container(&url), vec![expected.replace("URL", &url)]));
        }
        assert_words(cases).await;
    });
}

#[test]
fn a_token_file_that_is_no_file_or_too_large_is_named_and_not_read() {
    run(async {
        let (folder, nobody) = (tempfile::tempdir().unwrap(), nobody());
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(made.success());
        fs::write(path("large"), "x".repeat(300 * 1024)).unwrap();
        let mut cases: Vec<Case> = Vec::new();
        for (name, why) in [
            ("", "it is not a regular file"),
            ("pipe", "it is not a regular file"),
            ("none", "no such file or directory"),
            ("large", "it is larger than 256 KiB"),
        ] {
            let container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", nobody.clone());
            let file = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path(name));
            cases.push((
                vec![container, file],
                vec![format!(
                    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={}: the token cannot be read ({why})",
                    path(name)
                )],
            ));
        }
        for (name, why) in [
            ("", "not a regular file"),
            ("pipe", "not a regular file"),
            ("large", "it is larger than 256 KiB"),
        ] {
            let role = ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r".to_owned());
            cases.push((
                vec![role, ("AWS_WEB_IDENTITY_TOKEN_FILE", path(name))],
                vec![path(name), why.to_owned()],
            ));
        }
        assert_words(cases).await;
    });
}

#[test]
fn instance_metadata_that_fail_are_named_before_what_was_never_configured() {
    run(async {
        let instance = |url: &str| {
            let service = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.to_owned());
            vec![("AWS_EC2_METADATA_DISABLED", "false".to_owned()), service]
        };
        // The answer to the session's token panics in `aws-config`, which adds its life to the date.
        let endless = source(|_| {
            let answer = Response::builder().header("x-aws-ec2-metadata-token-ttl-seconds", u64::MAX);
            answer.body("a-token".to_owned()).unwrap()
        });
        let (nobody, html, endless) = (nobody(), always(502, HTML).await, endless.await);
        let tried =
            format!("no credentials were found (instance metadata: PUT {nobody}/latest/api/token failed: ");
        assert_words(vec![
            (instance(&nobody), vec![tried, REFUSED.to_owned(), "; set AWS_ACCESS_KEY_ID".to_owned()]),
            (
                instance(&html),
                vec![format!("PUT {html}/latest/api/token was answered with status 502 Bad Gateway")],
            ),
            (
                instance(&endless),
                vec![format!("ended with an internal error after PUT {endless}/latest/api/token")],
            ),
        ])
        .await;
    });
}

#[test]
fn sts_and_sso_that_fail_are_named_with_what_came_back_in_words() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token").to_str().unwrap().to_owned();
        fs::write(&token, "a-token").unwrap();
        let text = format!(
            "[profile role]\nrole_arn = {ROLE}\nsource_profile = base\n[profile base]\naws_access_key_id = a\n\
             aws_secret_access_key = b\n[profile sso]\nsso_start_url = https://portal.example.com/start\n\
             sso_region = eu-west-1\nsso_account_id = 123456789012\nsso_role_name = reader\n"
        );
        let config = profile(folder.path(), &text);
        let login = json!({"accessToken": "of-the-login", "expiresAt": "2099-01-01T00:00:00Z"});
        cached_token(folder.path(), "f99d968d2b4037e9fb98a14ff5546d9ef0c014b8", &login);
        let sts = |url: &str| ("AWS_ENDPOINT_URL_STS", url.to_owned());
        let web = |url: &str| {
            let file = ("AWS_WEB_IDENTITY_TOKEN_FILE", token.clone());
            vec![file, ("AWS_ROLE_ARN", ROLE.to_owned()), sts(url)]
        };
        let with_profile = |name: &str, endpoint: (&'static str, String)| {
            let home = ("HOME", folder.path().to_str().unwrap().to_owned());
            vec![home, ("AWS_CONFIG_FILE", config.clone()), ("AWS_PROFILE", name.to_owned()), endpoint]
        };
        let role = |url: &str| with_profile("role", sts(url));
        let sso = |url: &str| with_profile("sso", ("AWS_ENDPOINT_URL_SSO", url.to_owned()));
        let (nobody, html, garbage) = (nobody(), always(502, HTML).await, always(200, GARBAGE).await);
        let nested = always(200, &"<a>".repeat(340_000)).await;
        let expired = always(401, r#"{"message": "Session token not found or invalid"}"#).await;
        let no_connection = |url: &str| vec![format!("POST {url}/ failed: "), REFUSED.to_owned()];
        let bad_gateway = |url: &str| vec![format!("POST {url}/ was answered with status 502 Bad Gateway")];
        let unusable = |url: &str| vec![format!("the answer to POST {url}/ cannot be used: ")];
        assert_words(vec![
            (web(&nobody), no_connection(&nobody)),
            (web(&html), bad_gateway(&html)),
            (web(&garbage), unusable(&garbage)),
            (web(&nested), unusable(&nested)),
            (role(&nobody), no_connection(&nobody)),
            (role(&html), bad_gateway(&html)),
            (role(&garbage), unusable(&garbage)),
            (sso(&nobody), vec![format!("GET {nobody}/federation/credentials failed: "), REFUSED.to_owned()]),
            (
                sso(&expired),
                vec![
                    "status 401 Unauthorized: Session token not found or invalid; run aws sso login"
                        .to_owned(),
                ],
            ),
        ])
        .await;
    });
}

const ROLE: &str = "arn:aws:iam::123456789012:role/r";
const KEY: &str = "AKIAREPEATED00000001";
const SECRET: &str = "se/cr+et=REPEATED/SECRET+KEY/REPEATED/SECRET";
const TOKEN: &str = "FwoGZXIvYXdzE/REPEATED+TOKEN/with==odd%characters";
const EXTERNAL_ID: &str = "external/id+repeated=by/STS";
const IDENTITY: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyZXBlYXRlZCJ9.c2ln/bmF0+dXJl";
const AUTHORIZATION: &str = "authorization/token+repeated=by/container";

/// A message that repeats a secret in every form.
fn message_with(secret: &str) -> String {
    format!("the request with {} is refused", forms(secret).join(" and "))
}

/// An STS that repeats a secret in its refusals.
async fn sts_that_repeats(secret: &'static str) -> String {
    source(move |_| {
        let message = message_with(secret).replace('&', "&amp;");
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{message}</Message></Error>\
             </ErrorResponse>"
        );
        Response::builder().status(403).body(body).unwrap()
    })
    .await
}

/// A container's service that repeats the authorization token in its answers.
async fn container_that_repeats(status: u16, as_json: bool) -> String {
    source(move |_| {
        let message = message_with(AUTHORIZATION);
        let json = json!({"Code": "Refused", "Message": message}).to_string();
        Response::builder().status(status).body(if as_json { json } else { message }).unwrap()
    })
    .await
}

/// Settings for each kind of request with a secret in it, and a service that repeats this secret.
async fn settings_with_services_that_repeat_secrets(folder: &Path) -> Vec<Variables> {
    let file = |name: &str, text: &str| {
        let path = folder.join(name).to_str().unwrap().to_owned();
        fs::write(&path, text).unwrap();
        path
    };
    let keys = [
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ("AWS_SESSION_TOKEN", TOKEN.to_owned()),
    ];
    let target = (
        "PINPOINT_EXPORTER_TARGETS",
        "arn:aws:mobiletargeting:eu-west-1:123456789012:apps/app/segments/segment".to_owned(),
    );
    let pinpoint = ("AWS_ENDPOINT_URL_PINPOINT", "http://127.0.0.1:9".to_owned());
    let config = profile(
        folder,
        &format!(
            "[profile role]\nrole_arn = {ROLE}\nexternal_id = {EXTERNAL_ID}\nsource_profile = base\n[profile base]\n\
             aws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\naws_session_token = {TOKEN}\n"
        ),
    );
    let mut cases: Vec<Variables> = Vec::new();
    for secret in [KEY, SECRET, TOKEN, EXTERNAL_ID] {
        let roles = [
            target.clone(),
            ("PINPOINT_EXPORTER_ROLE_ARNS", ROLE.to_owned()),
            ("PINPOINT_EXPORTER_ROLE_EXTERNAL_ID", EXTERNAL_ID.to_owned()),
            ("AWS_ENDPOINT_URL_STS", sts_that_repeats(secret).await),
        ];
        cases.push([&keys[..], &roles].concat());
        cases.push(vec![
            pinpoint.clone(),
            ("AWS_CONFIG_FILE", config.clone()),
            ("AWS_PROFILE", "role".to_owned()),
            ("AWS_ENDPOINT_URL_STS", sts_that_repeats(secret).await),
        ]);
    }
    // For a target with an account and without a role, the exporter asks whose the credentials are.
    cases.push([&keys[..], &[target, ("AWS_ENDPOINT_URL_STS", sts_that_repeats(TOKEN).await)]].concat());
    cases.push(vec![
        pinpoint.clone(),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file("identity", IDENTITY)),
        ("AWS_ROLE_ARN", ROLE.to_owned()),
        ("AWS_ENDPOINT_URL_STS", sts_that_repeats(IDENTITY).await),
    ]);
    let bearer = format!("Bearer {AUTHORIZATION}");
    for (status, as_json) in [(403, true), (403, false), (200, true)] {
        for token in [
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", bearer.clone()),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file("authorization", &bearer)),
        ] {
            let url = container_that_repeats(status, as_json).await;
            cases.push(vec![pinpoint.clone(), ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url), token]);
        }
    }
    cases
}

#[test]
fn what_sources_of_credentials_repeat_of_secrets_is_masked_everywhere() {
    let all = [KEY, SECRET, TOKEN, EXTERNAL_ID, IDENTITY, AUTHORIZATION];
    let all: Vec<String> = all.iter().flat_map(|secret| forms(secret)).collect();
    run(async {
        let folder = tempfile::tempdir().unwrap();
        for case in settings_with_services_that_repeat_secrets(folder.path()).await {
            let mut variables =
                vec![TARGET, ("AWS_MAX_ATTEMPTS", "1"), ("PINPOINT_EXPORTER_LOG_LEVEL", "trace")];
            variables.extend(case.iter().map(|(name, value)| (*name, value.as_str())));
            let program = Program::start(&variables);
            let mut shown = String::new();
            for path in ["/metrics", "/", "/api/v1/jobs"] {
                let answer = client().get(format!("{}{path}", program.url)).send().await.unwrap();
                shown.push_str(&answer.text().await.unwrap());
            }
            shown.push_str(&program.last_words().await);
            let output = command(&["check"], &variables);
            shown.push_str(&String::from_utf8(output.stdout).unwrap());
            shown.push_str(&String::from_utf8(output.stderr).unwrap());
            assert!(
                shown.contains("the request with ***"),
                "the message is shown without its secrets: {shown}"
            );
            assert_lacks(&format!("{case:?}"), &shown, &all);
        }
    });
}

// The rules, on a clock that is turned.

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A harness whose fake knows the credentials that it was given until they expire.
struct Turning {
    harness: Harness,
    given: Mutex<Vec<(Key, SystemTime)>>,
}

impl Turning {
    async fn new(plan: Plan) -> Self {
        Self { harness: plan.build().await, given: Mutex::default() }
    }

    /// From now on the source gives others, which live so long.
    fn give(&self, life: u64) {
        let mut given = self.given.lock().unwrap();
        let number = given.len();
        let key = Key {
            access_key_id: format!("ASIANUMBER{number:010}"),
            session_token: Some(format!("token-{number}")),
            ..Options::default_key()
        };
        let expiry = self.harness.clock.now() + seconds(life);
        self.harness.source.give(Some(credentials(&key, Some(expiry))));
        given.push((key, expiry));
        drop(given);
        self.turn(0);
    }

    fn turn(&self, by: u64) {
        self.harness.turn(seconds(by));
        let now = self.harness.clock.now();
        let given = self.given.lock().unwrap();
        let keys = given.iter().map(|(key, expiry)| Key { expired: *expiry <= now, ..key.clone() });
        self.harness.fake.set_keys(keys.collect());
    }
}

#[test]
fn credentials_that_are_given_when_they_have_expired_are_not_used() {
    run(async {
        let turning = Turning::new(Plan::new()).await;
        turning.give(0);
        let scrape = turning.harness.scrape().await;
        assert_eq!(scrape.sum("pinpoint_target_error", &[("exception", "CredentialsError")]), 1);
        assert_eq!((turning.harness.fake.requests().len(), turning.harness.source.asked()), (0, 1));
        assert!(scrape.family(EXPIRY).is_none());
    });
}

fn many_segments(segments: usize) -> Plan {
    let world = |world: &mut World| {
        for segment in 0..segments {
            world.segment(APP, &format!("segment-{segment}"));
        }
    };
    let targets: Vec<_> = (0..segments).map(|segment| format!("{APP}/segment-{segment}")).collect();
    Plan::new().world(world).set("TARGETS", &targets.join(" ")).set("CACHE_TTL", "0s")
}

#[test]
fn a_source_that_gives_nothing_is_asked_once_for_all_targets_of_a_scrape() {
    run(async {
        let harness = many_segments(30).build().await;
        harness.source.give(None);
        for asked in 1..=3 {
            let scrape = harness.scrape().await;
            assert_eq!(scrape.sum("pinpoint_target_error", &[("exception", "CredentialsError")]), 30);
            assert_eq!(harness.source.asked(), asked);
            harness.turn(seconds(1));
        }
    });
}

#[test]
fn a_source_is_asked_once_more_when_all_targets_are_told_that_the_token_expired() {
    run(async {
        let harness = many_segments(30).set("MAX_ATTEMPTS", "3").build().await;
        harness.fake.fault(Fault::error("ExpiredTokenException").always());
        let scrape = harness.scrape().await;
        let labels = [("exception", "ExpiredTokenException")];
        assert_eq!(scrape.sum("pinpoint_target_error", &labels), 30);
        assert_eq!((harness.source.asked(), harness.fake.requests().len()), (2, 30));
        harness.turn(seconds(1));
        harness.scrape().await;
        assert_eq!(
            (harness.source.asked(), harness.fake.requests().len()),
            (2, 60),
            "never twice with the same"
        );
    });
}

#[test]
fn credentials_that_expire_while_a_request_waits_its_turn_are_not_used() {
    run(async {
        let turning = Turning::new(many_segments(3).set("MAX_REQUESTS_PER_SECOND", "1")).await;
        turning.give(3_600);
        let scrape = turning.harness.scrape();
        let expire = async {
            turning.harness.fake.wait_for_requests(1).await;
            turning.give(7_200);
            turning.turn(3_600);
        };
        let (scrape, ()) = tokio::join!(scrape, expire);
        let tokens: Vec<_> = turning
            .harness
            .fake
            .requests()
            .iter()
            .map(|request| request.header("x-amz-security-token").unwrap().to_owned())
            .collect();
        assert_eq!(tokens, ["token-0", "token-1", "token-1"]);
        assert_eq!(scrape.sum("pinpoint_api_retries_total", &[]), 0);
    });
}
