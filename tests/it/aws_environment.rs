//! AWS's variables, files and proxies around the real program: what it asks, whom, and with whose key. Everything is on loopback.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use fake_pinpoint::{FakePinpoint, Options, world::World};
use futures_util::future::join_all;
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::support::{
    harness::run,
    program::{Program, command, command_async},
    raw::within,
    text_format::Scrape,
};

const TARGET: (&str, &str) = ("PINPOINT_EXPORTER_TARGETS", "app/segment");
const ARN: (&str, &str) =
    ("PINPOINT_EXPORTER_TARGETS", "arn:aws:mobiletargeting:eu-west-1:123456789012:apps/app/segments/segment");
const NOBODY: &str = "http://127.0.0.1:9";

fn key() -> [(&'static str, &'static str); 2] {
    [
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ]
}

fn profile_with_key(header: &str) -> String {
    let [(_, id), (_, secret)] = key();
    format!("{header}\naws_access_key_id = {id}\naws_secret_access_key = {secret}\nregion = eu-west-1\n")
}

/// A proxy that refuses whatever it is asked, and keeps the first line of each request.
async fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = vec![0; 16 * 1024];
            let read = socket.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            kept.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
            let _ = socket
                .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await;
        }
    });
    (address, asked)
}

/// The hosts that `check` asks for with these variables: each once, in the order of the first request.
async fn hosts(variables: &[(&str, &str)]) -> Vec<String> {
    let (proxy, asked) = proxy().await;
    let all = [("HTTPS_PROXY", proxy.as_str()), ("NO_PROXY", ""), ("PINPOINT_EXPORTER_MAX_ATTEMPTS", "1")];
    command_async(&["check"], &[&all, variables].concat()).await;
    let mut hosts = Vec::new();
    for line in asked.lock().unwrap().iter() {
        let host = line.split_whitespace().nth(1).unwrap_or_default().trim_end_matches(":443").to_owned();
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The problems that the settings of this environment have.
fn problems(variables: &[(&str, &str)]) -> String {
    let output = command(&["check"], &[&[TARGET], variables].concat());
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn up(scrape: &Scrape) -> u64 {
    scrape.sum("pinpoint_target_up", &[])
}

async fn fake() -> FakePinpoint {
    let mut world = World::default();
    world.segment("app", "segment");
    FakePinpoint::start(world).await.unwrap()
}

async fn scrape(program: &Program) -> Scrape {
    program.scrape().await
}

#[test]
fn sts_is_asked_at_the_fips_and_dual_stack_addresses_also_for_web_identity() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let token = write(folder.path(), "token", "a-token\n");
        let role = "arn:aws:iam::123456789012:role/r";
        let identity = [("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()), ("AWS_ROLE_ARN", role)];
        let text = format!(
            "[profile web]\nweb_identity_token_file = {token}\nrole_arn = {role}\n{}",
            profile_with_key("[profile base]")
        ) + &format!("[profile role]\nrole_arn = {role}\nsource_profile = base\n");
        let config = write(folder.path(), "config", &text);
        let of_profile = |name| vec![("AWS_CONFIG_FILE", config.as_str()), ("AWS_PROFILE", name)];
        let own_role = [&key()[..], &[("PINPOINT_EXPORTER_ROLE_ARNS", role)]].concat();
        for source in [identity.to_vec(), of_profile("web"), of_profile("role"), own_role] {
            let checks = [
                ("", "", "sts.eu-west-1.amazonaws.com"),
                ("true", "", "sts-fips.eu-west-1.amazonaws.com"),
                ("", "true", "sts.eu-west-1.api.aws"),
                ("true", "true", "sts-fips.eu-west-1.api.aws"),
            ]
            .map(async |(fips, dualstack, host)| {
                let chosen =
                    [ARN, ("AWS_USE_FIPS_ENDPOINT", fips), ("AWS_USE_DUALSTACK_ENDPOINT", dualstack)];
                (hosts(&[&source[..], &chosen].concat()).await, host)
            });
            for (asked, host) in join_all(checks).await {
                assert_eq!(asked, [host], "{source:?}");
            }
        }
    });
}

#[test]
fn sts_is_asked_in_the_configured_region_and_without_one_in_that_of_the_target() {
    run(async {
        let targets = ["ap-south-1", "eu-west-1"]
            .map(|region| format!("arn:aws:mobiletargeting:{region}:123456789012:apps/app/segments/segment"));
        let targets = ("PINPOINT_EXPORTER_TARGETS", targets.join(","));
        let role = ("PINPOINT_EXPORTER_ROLE_ARNS", "arn:aws:iam::123456789012:role/r");
        for (region, host) in
            [("us-east-1", "sts.us-east-1.amazonaws.com"), ("", "sts.ap-south-1.amazonaws.com")]
        {
            for roles in [&[role][..], &[]] {
                let own = [(targets.0, targets.1.as_str()), ("AWS_REGION", region)];
                assert_eq!(hosts(&[&key()[..], &own, roles].concat()).await, [host], "{roles:?}");
            }
        }
    });
}

#[test]
fn endpoints_of_the_profile_are_used_unless_a_variable_goes_before_them() {
    run(async {
        let fake = fake().await;
        let folder = tempfile::tempdir().unwrap();
        let url = fake.url();
        let services =
            format!("services = ours\n[services ours]\npinpoint =\n  # ours\n  endpoint_url = {url}\n");
        let nested = profile_with_key("[default]") + &services;
        let general = profile_with_key("[default]") + &format!("endpoint_url = {url}\n");
        let both = profile_with_key("[default]") + &format!("endpoint_url = {NOBODY}\n{services}");
        let none = profile_with_key("[default]") + &format!("endpoint_url = {NOBODY}\n");
        for (text, variables) in [
            (&nested, vec![]),
            (&general, vec![]),
            (&both, vec![]),
            (&none, vec![("AWS_ENDPOINT_URL", url.as_str())]),
            (&none, vec![("AWS_ENDPOINT_URL_PINPOINT", url.as_str())]),
        ] {
            let config = write(folder.path(), "config", text);
            let own = [TARGET, ("AWS_REGION", ""), ("AWS_CONFIG_FILE", config.as_str())];
            let program = Program::start(&[&own[..], &variables].concat());
            assert_eq!(up(&scrape(&program).await), 1, "{text}\n{}", program.log());
        }
        let ignored = nested + "[profile other]\n" + "ignore_configured_endpoint_urls = true\n";
        let ignored =
            ignored.replace("services = ours", "services = ours\nignore_configured_endpoint_urls = true");
        let config = write(folder.path(), "config", &ignored);
        assert_eq!(
            hosts(&[TARGET, ("AWS_CONFIG_FILE", &config)]).await,
            ["sts.eu-west-1.amazonaws.com", "pinpoint.eu-west-1.amazonaws.com"]
        );
    });
}

#[test]
fn fips_and_dual_stack_of_the_profile_are_used_for_pinpoint_and_sts() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let text =
            profile_with_key("[default]") + "use_fips_endpoint = true\nuse_dualstack_endpoint = TRUE\n";
        let config = write(folder.path(), "config", &text);
        let hosts = hosts(&[TARGET, ("AWS_CONFIG_FILE", &config)]).await;
        assert_eq!(hosts, ["sts-fips.eu-west-1.api.aws", "pinpoint-fips.eu-west-1.api.aws"]);
    });
}

#[test]
fn a_custom_endpoint_with_fips_is_refused_with_the_places_of_both() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[default]\nregion = eu-west-1\nuse_fips_endpoint = true\nendpoint_url = http://u:hush@h\n";
    let config = write(folder.path(), "config", text);
    let found = problems(&[("AWS_CONFIG_FILE", &config)]);
    let expected = format!(
        "endpoint_url of the AWS profile default ({config}, line 4)=\"http://***@h\": it cannot be combined with \
         use_fips_endpoint of the AWS profile default ({config}, line 3)=\"true\""
    );
    assert!(found.contains(&expected) && !found.contains("hush"), "{found}");
    let found = problems(&[("AWS_CONFIG_FILE", &config), ("AWS_ENDPOINT_URL_STS", NOBODY)]);
    assert!(found.contains("AWS_ENDPOINT_URL_STS=\"http://127.0.0.1:9\": it cannot be combined"), "{found}");
}

#[test]
fn what_aws_files_lack_or_cannot_say_is_named_with_file_line_and_cure() {
    let folder = tempfile::tempdir().unwrap();
    let rubbish = write(folder.path(), "rubbish", "[default]\nregion = eu-west-1\n\nhush\n");
    let named = write(folder.path(), "named", "[default]\nregion = eu-west-1\nservices = none\n[mine]\n");
    let folder = folder.path().to_str().unwrap();
    for (variables, expected) in [
        (
            [("AWS_CONFIG_FILE", rubbish.as_str()), ("AWS_PROFILE", "")],
            format!("AWS_CONFIG_FILE: {rubbish}, line 4: the line is neither"),
        ),
        (
            [("AWS_SHARED_CREDENTIALS_FILE", rubbish.as_str()), ("AWS_PROFILE", "")],
            format!("AWS_SHARED_CREDENTIALS_FILE: {rubbish}, line 4"),
        ),
        (
            [("AWS_CONFIG_FILE", folder), ("AWS_PROFILE", "")],
            format!("AWS_CONFIG_FILE: {folder} cannot be read (is a directory); name the file itself"),
        ),
        (
            [("AWS_CONFIG_FILE", named.as_str()), ("AWS_PROFILE", "mine")],
            format!("{named}, line 4 has [mine], write [profile mine]"),
        ),
        (
            [("AWS_CONFIG_FILE", named.as_str()), ("AWS_PROFILE", "none")],
            "AWS_PROFILE=\"none\": the profile is neither in".to_owned(),
        ),
        ([("AWS_CONFIG_FILE", named.as_str()), ("AWS_PROFILE", "")], "the section does not exist".to_owned()),
    ] {
        let found = problems(&variables);
        assert!(
            found.contains(&expected) && !found.contains("hush") && !found.contains("AWS_REGION"),
            "{found}"
        );
    }
}

#[test]
fn empty_variables_of_aws_count_as_unset() {
    run(async {
        let (fake, home) = (fake().await, tempfile::tempdir().unwrap());
        fs::create_dir(home.path().join(".aws")).unwrap();
        write(&home.path().join(".aws"), "credentials", &profile_with_key("[default]"));
        let url = fake.url();
        let mut variables =
            vec![TARGET, ("HOME", home.path().to_str().unwrap()), ("AWS_ENDPOINT_URL_PINPOINT", &url)];
        variables.extend(
            [
                "AWS_REGION",
                "AWS_DEFAULT_REGION",
                "AWS_PROFILE",
                "AWS_CONFIG_FILE",
                "AWS_SHARED_CREDENTIALS_FILE",
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_SESSION_TOKEN",
                "AWS_ENDPOINT_URL",
                "AWS_ENDPOINT_URL_STS",
                "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
                "AWS_USE_FIPS_ENDPOINT",
                "AWS_USE_DUALSTACK_ENDPOINT",
                "AWS_CA_BUNDLE",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "AWS_ROLE_ARN",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                "AWS_EC2_METADATA_SERVICE_ENDPOINT",
                "HTTPS_PROXY",
                "ALL_PROXY",
            ]
            .map(|name| (name, " ")),
        );
        let program = Program::start(&variables);
        assert_eq!(up(&scrape(&program).await), 1, "{}", program.log());
    });
}

#[test]
fn an_empty_variable_that_keeps_a_container_from_being_asked_is_named() {
    for name in ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] {
        let container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", NOBODY);
        let variables =
            [TARGET, ("AWS_REGION", "eu-west-1"), container, (name, ""), ("AWS_ENDPOINT_URL", NOBODY)];
        let output = command(&["check", "--json"], &variables);
        let found = String::from_utf8(output.stdout).unwrap();
        assert!(
            found.contains(&format!("{name} is set, but empty")) && found.contains("unset it"),
            "{found}"
        );
    }
}

#[test]
fn a_proxy_that_is_none_is_a_settings_error_without_its_password() {
    for (value, why) in [
        ("htttp://u:hush@proxy:3128", "its scheme is not one of"),
        ("\"http://u:hush@proxy:3128\"", "it is in quotes; remove them"),
        ("http://u:hush hush@proxy:3128", "write %20 for a blank"),
    ] {
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"] {
            let found = problems(&[("AWS_REGION", "eu-west-1"), (name, value)]);
            assert!(found.contains(name) && found.contains(why) && !found.contains("hush"), "{found}");
        }
    }
}

#[test]
fn a_proxy_serves_plain_endpoints_and_sts_and_white_space_around_it_is_nothing() {
    run(async {
        let (proxy, asked) = proxy().await;
        let value = format!(" http://{proxy}\n");
        let variables = [
            ARN,
            ("HTTP_PROXY", value.as_str()),
            ("NO_PROXY", ""),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL_STS", "http://sts.example.com"),
            ("AWS_ENDPOINT_URL_PINPOINT", "http://pinpoint.example.com"),
        ];
        command(&["check"], &[&key()[..], &variables].concat());
        let asked = asked.lock().unwrap().clone();
        assert!(asked.iter().any(|line| line.starts_with("POST http://sts.example.com/")), "{asked:?}");
        assert!(
            asked.iter().any(|line| line.starts_with("GET http://pinpoint.example.com/v1/")),
            "{asked:?}"
        );
    });
}

#[test]
fn a_socks_proxy_resolves_the_name_of_the_endpoint() {
    run(async {
        let fake = fake().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("socks5h://{}", listener.local_addr().unwrap());
        let names = Arc::new(Mutex::new(Vec::new()));
        let (kept, to) = (Arc::clone(&names), fake.address());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut greeting = [0; 3];
                socket.read_exact(&mut greeting).await.unwrap();
                socket.write_all(&[5, 0]).await.unwrap();
                let mut request = [0; 5];
                socket.read_exact(&mut request).await.unwrap();
                let mut name = vec![0; usize::from(request[4]) + 2];
                socket.read_exact(&mut name).await.unwrap();
                name.truncate(name.len() - 2);
                kept.lock().unwrap().push(String::from_utf8(name).unwrap());
                socket.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                tokio::spawn(async move {
                    let mut upstream = TcpStream::connect(to).await.unwrap();
                    let _ = copy_bidirectional(&mut socket, &mut upstream).await;
                });
            }
        });
        let endpoint = ("AWS_ENDPOINT_URL_PINPOINT", "http://pinpoint.example.com");
        let variables = [TARGET, ("ALL_PROXY", &proxy), ("NO_PROXY", ""), endpoint];
        let program = Program::start(&[&key()[..], &variables].concat());
        assert_eq!(up(&scrape(&program).await), 1, "{}", program.log());
        assert_eq!(*names.lock().unwrap(), ["pinpoint.example.com"]);
    });
}

fn printed() -> String {
    let [(_, id), (_, secret)] = key();
    format!(
        r#"{{"Version": 1, "AccessKeyId": "{id}", "SecretAccessKey": "{secret}", "Expiration": "2099-01-01T00:00:00+0000"}}"#
    )
}

#[test]
fn a_credential_process_runs_without_a_shell_also_as_the_source_of_a_role() {
    run(async {
        let (fake, folder) = (fake().await, tempfile::tempdir().unwrap());
        let output = write(folder.path(), "with blank", &printed());
        let text = format!(
            "[profile process]\ncredential_process = /bin/cat '{output}'\n[profile role]\nsource_profile = process\n\
             role_arn = arn:aws:iam::123456789012:role/r\n"
        );
        let (config, url) = (write(folder.path(), "config", &text), fake.url());
        let own = [
            TARGET,
            ("PATH", "/no/such/folder"),
            ("AWS_CONFIG_FILE", config.as_str()),
            ("AWS_PROFILE", "process"),
            ("AWS_ENDPOINT_URL_PINPOINT", &url),
        ];
        let program = Program::start(&own);
        assert_eq!(up(&scrape(&program).await), 1, "{}", program.log());
        let of_role = [("AWS_PROFILE", "role"), ("AWS_REGION", "eu-west-1")];
        assert_eq!(hosts(&[&own, &of_role[..]].concat()).await, ["sts.eu-west-1.amazonaws.com"]);
    });
}

#[test]
fn a_credential_process_that_gives_nothing_is_named_and_what_it_wrote_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let hush = write(folder.path(), "hush", "hush");
    let script = write(folder.path(), "script", "echo hush; echo hush >&2; exit 3");
    let path = ("PATH", "/no/such/folder");
    for (command_line, path, expected) in [
        ("/no/such/program --x".to_owned(), path, "the program /no/such/program is not there"),
        ("program".to_owned(), path, "the program program is not there; write its whole path"),
        (hush.clone(), path, "may not be run; make it executable"),
        (format!("/bin/cat {hush} | /bin/cat"), path, "the command needs the shell sh, which is not there"),
        (format!("/bin/cat {hush}"), path, "the output is not a JSON object with credentials"),
        (format!("/bin/sh {script}"), path, "/bin/sh failed with exit status: 3"),
        ("/bin/cat /dev/zero".to_owned(), path, "printed more than 1 MiB"),
        ("/bin/cat 'x".to_owned(), path, "close the quote"),
    ] {
        let text = format!("[default]\n\ncredential_process = {command_line}\n");
        let config = write(folder.path(), "config", &text);
        let variables = [
            TARGET,
            path,
            ("AWS_REGION", "eu-west-1"),
            ("AWS_CONFIG_FILE", &config),
            ("AWS_ENDPOINT_URL", NOBODY),
        ];
        let output = command(&["check", "--json"], &variables);
        let found = String::from_utf8(output.stdout).unwrap();
        assert!(found.contains(expected) && found.contains("config, line 3)"), "{command_line}: {found}");
        assert!(!found.contains("hush\""), "{found}");
    }
}

fn is_there(process: &str) -> bool {
    // A zombie has ended.
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn a_credential_process_that_hangs_ends_with_the_exporter_and_so_does_its_child() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let text = format!("sleep 1000 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", pids.display());
        let script = write(folder.path(), "script", &text);
        let config =
            write(folder.path(), "config", &format!("[default]\ncredential_process = /bin/sh {script}\n"));
        let mut program = Program::start(&[
            TARGET,
            ("PATH", "/usr/bin:/bin"),
            ("AWS_CONFIG_FILE", &config),
            ("AWS_ENDPOINT_URL", NOBODY),
        ]);
        let started = within("the start of the process", async {
            loop {
                match fs::read_to_string(&pids) {
                    Ok(text) => return text,
                    Err(_) => sleep(Duration::from_millis(5)).await,
                }
            }
        });
        let started = started.await;
        assert_eq!(started.split_whitespace().filter(|process| is_there(process)).count(), 2, "{started}");
        program.terminate();
        assert!(program.end().await.success());
        within("the end of the processes", async {
            while started.split_whitespace().any(is_there) {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    });
}

/// A server with a certificate for a name, marked as an authority's as `openssl req -x509` does, and that certificate in PEM.
fn self_signed_authority(name: &str) -> (Arc<ServerConfig>, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], der)
        .unwrap();
    (Arc::new(config), certificate.pem())
}

#[test]
fn a_server_certificate_in_the_bundle_is_accepted_and_only_under_its_name() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let (server, pem) = self_signed_authority("localhost");
        let (elsewhere, other_name) = self_signed_authority("example.com");
        let (_, other_key) = self_signed_authority("localhost");
        for (server, pem, expected) in
            [(&server, &pem, 1), (&elsewhere, &other_name, 0), (&server, &other_key, 0)]
        {
            let mut world = World::default();
            world.segment("app", "segment");
            let options = Options { tls: Some(Arc::clone(server)), ..Options::default() };
            let fake = FakePinpoint::start_with(world, options).await.unwrap();
            let (bundle, url) = (write(folder.path(), "bundle.pem", pem), fake.url());
            let config = write(folder.path(), "config", &format!("[default]\nca_bundle = {bundle}\n"));
            for trusted in [("AWS_CA_BUNDLE", &bundle), ("AWS_CONFIG_FILE", &config)] {
                let trusted = (trusted.0, trusted.1.as_str());
                let endpoint = ("AWS_ENDPOINT_URL_PINPOINT", url.as_str());
                let retries = ("PINPOINT_EXPORTER_MAX_ATTEMPTS", "1");
                let program = Program::start(&[&key()[..], &[TARGET, trusted, endpoint, retries]].concat());
                let scrape = scrape(&program).await;
                assert_eq!(up(&scrape), expected, "{}", program.log());
                let exception = scrape.sum("pinpoint_target_error", &[("exception", "TlsError")]);
                assert_eq!(exception, 1 - expected);
            }
        }
    });
}

#[test]
fn the_page_shows_what_the_profile_sets_and_where_and_no_secret() {
    run(async {
        let (fake, folder) = (fake().await, tempfile::tempdir().unwrap());
        let text = profile_with_key("[profile ours]") + &format!("endpoint_url = {}\n", fake.url());
        let config = write(folder.path(), "config", &text);
        let proxy = ("HTTPS_PROXY", "http://u:hush@proxy:1");
        let program = Program::start(&[
            TARGET,
            ("AWS_REGION", ""),
            ("AWS_PROFILE", "ours"),
            ("AWS_CONFIG_FILE", &config),
            proxy,
        ]);
        let client = crate::support::harness::client();
        for path in ["/", "/api/v1/jobs"] {
            let answer = client.get(format!("{}{path}", program.url)).send().await.unwrap();
            let text = answer.text().await.unwrap();
            for shown in [
                &format!("AWS profile ours ({config}, line 4)"),
                "AWS_REGION",
                "AWS_ENDPOINT_URL",
                "http://***@proxy:1",
            ] {
                assert!(text.contains(shown), "{path} lacks {shown}: {text}");
            }
            assert!(!text.contains("hush") && !text.contains(key()[1].1), "{text}");
        }
    });
}
