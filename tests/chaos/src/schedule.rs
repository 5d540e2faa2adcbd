//! The faults of a run and their times, drawn from a seed, so that a run can be repeated.

use std::{fmt, time::Duration};

use fake_pinpoint::{
    Operation,
    fault::{Fault, Place, Rule},
};
use fastrand::Rng;

use crate::{
    credentials::Supply,
    process::{Log, Program},
    proxy::Mode,
    world::{ALL, NAMES},
};

/// Something that is done to the exporter's environment.
#[derive(Clone)]
pub(crate) enum Action {
    /// The API misbehaves.
    Api(Rule),
    /// The API is well again.
    ApiIsWell,
    Network(Mode),
    /// The API ends, and is there again after so long.
    Restart(Duration),
    /// The next key, which alone is valid from now on.
    RotateKeys,
    Credentials(Supply),
    /// The exporter's date is wrong by so many milliseconds.
    Date(i64),
    /// So much time passes at once for the exporter.
    Pass(Duration),
    /// The API's date is wrong by so many milliseconds.
    ServerDate(i64),
    /// A segment is deleted, or there again.
    Delete(&'static str),
    Restore(&'static str),
    /// A segment has another of its names.
    Rename(&'static str, usize),
    /// So many connections that say nothing.
    IdleConnections(usize),
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Action {
    /// Its kind, as the report counts them.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Api(rule) => format!("API: {}", kind(&rule.fault)),
            Self::ApiIsWell => "API: none".to_owned(),
            Self::Network(mode) => mode.name().to_owned(),
            Self::Restart(_) => "API: restart".to_owned(),
            Self::RotateKeys => "credentials: changed".to_owned(),
            Self::Credentials(Supply::Good(_)) => "credentials: short-lived".to_owned(),
            Self::Credentials(Supply::Stale) => "credentials: expired".to_owned(),
            Self::Credentials(Supply::Broken | Supply::Garbage) => "credentials: none to be had".to_owned(),
            Self::Credentials(Supply::Hang) => "credentials: source hangs".to_owned(),
            Self::Credentials(Supply::Until(_)) => "credentials: extreme expiration".to_owned(),
            Self::Credentials(Supply::Endless) => "credentials: endless answer".to_owned(),
            Self::Date(_) => "clock: exporter's date".to_owned(),
            Self::Pass(_) => "clock: exporter slept".to_owned(),
            Self::ServerDate(_) => "clock: API's date".to_owned(),
            Self::Delete(_) => "world: segment deleted".to_owned(),
            Self::Restore(_) => "world: segment restored".to_owned(),
            Self::Rename(..) => "world: segment renamed".to_owned(),
            Self::IdleConnections(_) => "client: idle connections".to_owned(),
        }
    }
}

fn kind(fault: &Fault) -> String {
    match fault {
        Fault::Error { name, .. } if name.is_empty() => "error without a name".to_owned(),
        Fault::Error { name, .. } => name.clone(),
        other => {
            let text = format!("{other:?}");
            text.split([' ', '{']).next().unwrap_or_default().to_owned()
        }
    }
}

/// The kinds of runs. Each has faults that the others lack, so that a few runs cover everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Faults of the API alone: every request can be accounted for.
    Api,
    /// Faults of the network, restarts of the API.
    Network,
    /// Credentials and clocks.
    CredentialsAndClocks,
    /// A log that nobody reads, few descriptors.
    FewDescriptors,
    /// A full disk, little memory, huge answers.
    LittleMemory,
    /// All of it.
    Everything,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Network,
        Self::Api,
        Self::CredentialsAndClocks,
        Self::FewDescriptors,
        Self::LittleMemory,
        Self::Everything,
    ];

    pub(crate) fn of_run(number: u64) -> Self {
        Self::ALL[usize::try_from(number % 6).unwrap_or(0)]
    }

    pub(crate) fn program(self) -> Program {
        match self {
            Self::CredentialsAndClocks | Self::Everything => Program::Turned,
            _ => Program::Real,
        }
    }

    pub(crate) fn log(self) -> Log {
        match self {
            Self::FewDescriptors => Log::Unread,
            Self::LittleMemory => Log::FullDisk,
            _ => Log::Read,
        }
    }

    pub(crate) fn limits(self) -> &'static str {
        match self {
            Self::FewDescriptors => "ulimit -n 48;",
            // Of address space, of which a thread's stack takes some at once.
            Self::LittleMemory => "ulimit -v 1500000;",
            _ => "",
        }
    }

    /// Whether all that the exporter sends reaches the API, and all that the API answers the exporter.
    pub(crate) fn is_accountable(self) -> bool {
        self == Self::Api
    }

    /// Whether answers can be huge.
    pub(crate) fn is_huge(self) -> bool {
        matches!(self, Self::LittleMemory | Self::Everything)
    }

    /// Whether bytes are damaged on the way: an error may then bear any name.
    pub(crate) fn damages(self) -> bool {
        matches!(self, Self::Network | Self::Everything)
    }

    fn draws(self, rng: &mut Rng) -> Action {
        let sorts: &[fn(&mut Rng) -> Action] = match self {
            Self::Api => &[api, api, api, world_change],
            Self::Network => &[network, network, network, restart, world_change],
            Self::CredentialsAndClocks => &[credentials, clock, clock, api],
            Self::FewDescriptors => &[idle_connections, network_without_damage, api, restart],
            Self::LittleMemory => &[huge, huge, api, network_without_damage],
            Self::Everything => &[
                api,
                api,
                network,
                network,
                restart,
                credentials,
                clock,
                world_change,
                idle_connections,
                huge,
            ],
        };
        sorts[rng.usize(..sorts.len())](rng)
    }
}

/// The actions of a run of this length, by the time since its start. No action comes in the last quarter of a second.
pub(crate) fn draw(kind: Kind, rng: &mut Rng, lasts: Duration) -> Vec<(Duration, Action)> {
    let mut actions = Vec::new();
    let mut at = Duration::from_millis(rng.u64(100..400));
    while at + Duration::from_millis(250) < lasts {
        let mut action = kind.draws(rng);
        // AWS echoes what a request was signed with, which is known only where it never changes.
        if let (Program::Turned, Action::Api(rule)) = (kind.program(), &mut action)
            && let Fault::Error { message, .. } = &mut rule.fault
        {
            *message = None;
        }
        let stops_everything = matches!(action, Action::Network(Mode::Stall | Mode::Refuse));
        actions.push((at, action));
        if stops_everything {
            at += Duration::from_millis(rng.u64(100..1_200));
            actions.push((at, Action::Network(Mode::Pass)));
        }
        at += Duration::from_millis(rng.u64(60..700));
    }
    actions
}

fn api(rng: &mut Rng) -> Action {
    let named = |name: &str| Fault::error(name);
    let echo = |rng: &mut Rng, name: &str| Fault::Error {
        name: name.to_owned(),
        status: None,
        place: [Place::Header, Place::Type, Place::Code][rng.usize(..3)],
        // AWS echoes parts of a request; here all that must not be shown.
        message: Some(
            "AKIACHAOS00000000000 ChaosSecret00000000000000000000000000000 \
             ChaosToken0000000000000000000000000000000000000000"
                .to_owned(),
        ),
        headers: std::collections::BTreeMap::new(),
    };
    let fault = match rng.u32(..31) {
        0 => return Action::ApiIsWell,
        1 => named("TooManyRequestsException"),
        2 => named("ThrottlingException"),
        3 => named("InternalServerErrorException"),
        4 => named("com.amazonaws.pinpoint#ServiceUnavailableException:http://x/"),
        5 => echo(rng, "AccessDeniedException"),
        6 => echo(rng, "InvalidSignatureException"),
        7 => named("NotFoundException"),
        8 => named("PayloadTooLargeException"),
        9 => echo(rng, "NeverHeardOfException"),
        10 => Fault::Error {
            name: String::new(),
            status: Some([400, 403, 404, 429, 500, 502, 503][rng.usize(..7)]),
            place: Place::Header,
            message: None,
            headers: std::collections::BTreeMap::new(),
        },
        11 => Fault::Delay { milliseconds: rng.u64(1..600) },
        12 => Fault::Hang,
        13 => Fault::HangInBody,
        14 => Fault::Reset,
        15 => Fault::ResetInBody,
        16 => Fault::Truncated,
        17 => Fault::Html,
        18 => Fault::Wrapped,
        19 => Fault::Empty,
        20 => Fault::NoItem,
        21 => Fault::RepeatedToken,
        22 => Fault::Date { offset: rng.i64(-3_600_000..3_600_000) },
        23 => Fault::NoDate,
        24 => Fault::Age { seconds: 60 },
        25 => Fault::Gzip,
        26 => Fault::CorruptGzip,
        27 => Fault::Chunked,
        28 => Fault::Drip { bytes: 200, milliseconds: rng.u64(1..5) },
        29 => Fault::Redirect { location: "http://127.0.0.1:9/".to_owned() },
        _ => named("ForbiddenException"),
    };
    // A few that hang keep all the others waiting.
    let most = if matches!(fault, Fault::Hang | Fault::HangInBody) { 4 } else { 25 };
    let operation = match rng.u8(..6) {
        0 => Some(Operation::GetSegments),
        1 | 2 => Some(Operation::GetSegmentExportJobs),
        3 => Some(Operation::GetExportJobs),
        _ => None,
    };
    Action::Api(Rule {
        operation,
        page: (rng.u8(..3) == 0).then(|| rng.usize(1..4)),
        times: Some(rng.usize(1..most)),
        ..fault.always()
    })
}

/// An error whose answer has a date that no clock shows, or that ours can hardly show.
fn dated(rng: &mut Rng) -> Fault {
    const DATES: [&str; 6] = [
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 31 Dec 1600 23:59:59 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Tue, 19 Jan 2038 03:14:08 GMT",
        "Mon, 01 Jan 10000 00:00:00 GMT",
    ];
    let header = |name: &str, date: &str| (name.to_owned(), date.to_owned());
    let date = DATES[rng.usize(..DATES.len())];
    Fault::Error {
        name: ["TooManyRequestsException", "AccessDeniedException"][rng.usize(..2)].to_owned(),
        status: None,
        place: Place::Header,
        message: None,
        headers: [header("date", date), header("retry-after", date)].into(),
    }
}

fn huge(rng: &mut Rng) -> Action {
    let fault = if rng.bool() {
        Fault::Oversized { mebibytes: rng.usize(65..90), gzip: rng.bool() }
    } else {
        padded(rng)
    };
    Action::Api(fault.times(rng.usize(1..3)))
}

/// The right answer after elements that are no items, of some MiB together. Compressed it is a thousandth of that.
fn padded(rng: &mut Rng) -> Fault {
    let deep = rng.usize(1..5_000);
    let element = match rng.u8(..6) {
        0 => "0".to_owned(),
        1 => "{}".to_owned(),
        2 => "1e999".to_owned(),
        3 => r#""\ud800""#.to_owned(),
        4 => format!("{}{}", "[".repeat(deep), "]".repeat(deep)),
        _ => format!("{{\"Id\":{}1{}}}", "{\"Id\":".repeat(deep), "}".repeat(deep)),
    };
    let times = rng.usize(1..12) * 1024 * 1024 / element.len();
    Fault::Padded { element, times: times.max(1), gzip: rng.bool() }
}

fn network(rng: &mut Rng) -> Action {
    if rng.u8(..6) == 0 { Action::Network(Mode::Corrupt) } else { network_without_damage(rng) }
}

fn network_without_damage(rng: &mut Rng) -> Action {
    Action::Network(match rng.u8(..10) {
        0 | 1 => Mode::Delay(rng.u64(1..400)),
        2 => Mode::Cut(rng.usize(..2_000)),
        3 => Mode::Reset(rng.usize(..2_000)),
        4 => Mode::HalfClose,
        5 => Mode::Stall,
        6 => Mode::Trickle,
        7 => Mode::Refuse,
        _ => Mode::Pass,
    })
}

fn restart(rng: &mut Rng) -> Action {
    Action::Restart(Duration::from_millis(rng.u64(..900)))
}

fn world_change(rng: &mut Rng) -> Action {
    let segment = ["empty", "one", "two", "three"][rng.usize(..4)];
    match rng.u8(..3) {
        0 => Action::Delete(segment),
        1 => Action::Restore(segment),
        _ => Action::Rename(segment, rng.usize(..NAMES)),
    }
}

fn credentials(rng: &mut Rng) -> Action {
    match rng.u8(..12) {
        0 => Action::Credentials(Supply::Stale),
        1 => Action::Credentials(Supply::Broken),
        2 => Action::Credentials(Supply::Garbage),
        // Within the margin in which they are renewed.
        3 => Action::Credentials(Supply::Good(Duration::from_secs(rng.u64(1..300)))),
        4 => Action::Credentials(Supply::Good(Duration::from_hours(1))),
        5 => Action::Credentials(Supply::Hang),
        6 => Action::Credentials(Supply::Endless),
        7 => Action::Credentials(Supply::Until(EXPIRATIONS[rng.usize(..EXPIRATIONS.len())])),
        _ => Action::RotateKeys,
    }
}

/// Dates of expiry that nobody expects.
const EXPIRATIONS: [&str; 8] = [
    "0001-01-01T00:00:00Z",
    "1600-12-31T23:59:59Z",
    "1970-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59-23:59",
    "10000-01-01T00:00:00Z",
    "2026-02-30T25:61:61Z",
    "tomorrow",
];

fn clock(rng: &mut Rng) -> Action {
    let wrong = |rng: &mut Rng| match rng.u8(..4) {
        0 => 0,
        1 => rng.i64(-2_000..2_000),
        2 => rng.i64(-7_200_000..7_200_000),
        _ => rng.i64(-200..200) * 86_400_000,
    };
    match rng.u8(..4) {
        0 => Action::Pass(Duration::from_millis(rng.u64(..3_000))),
        1 => Action::ServerDate(wrong(rng)),
        2 => Action::Api(dated(rng).times(rng.usize(1..6))),
        _ => Action::Date(wrong(rng)),
    }
}

fn idle_connections(rng: &mut Rng) -> Action {
    Action::IdleConnections(rng.usize(1..80))
}

/// The application whose segments come and go.
pub(crate) const CHANGING: &str = ALL;
